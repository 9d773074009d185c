//! Servers for Node.js: what their generators make, and a program without any dependency.

use crate::BINARY;
use crate::project::Project;
use crate::tool::{EXPRESS_GENERATOR, FASTIFY_CLI, NEST_CLI};
use slipway_testing::TestServer;

#[test]
fn express() {
    let server = TestServer::start(BINARY);
    let project = Project::scaffold("express", EXPRESS_GENERATOR, &["--no-view", "@"]);
    project.replace("routes/users.js", "res.send('respond with a resource')", "res.send(`user ${req.query.say}`)");
    let served = project.deploy(&server);
    served.shows("/", "Welcome to Express");
    served.answers("/stylesheets/style.css", "body");
    served.echoes("/users");
    served.misses("/nothing-here", "");
}

#[test]
fn fastify() {
    let server = TestServer::start(BINARY);
    let project = Project::scaffold("fastify", FASTIFY_CLI, &["generate", "@"]);
    project.replace("routes/example/index.js", "return 'this is an example'", "return `say ${request.query.say}`");
    let served = project.deploy(&server);
    served.answers("/", "{\"root\":true}");
    served.echoes("/example");
    served.misses("/nothing-here", "Not Found");
}

/// create-hono fetches its templates from a place that is no package registry: this is its template `nodejs`, by hand.
#[test]
fn hono() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("hono")
        .with(
            "package.json",
            r#"{
  "name": "hono",
  "type": "module",
  "scripts": { "dev": "tsx watch src/index.ts", "build": "tsc", "start": "node dist/index.js" },
  "dependencies": { "@hono/node-server": "^2.1.8", "hono": "^4.13.19" },
  "devDependencies": { "@types/node": "^24.0.0", "tsx": "^4.23.15", "typescript": "^6.0.2" }
}
"#,
        )
        .with(
            "tsconfig.json",
            r#"{
  "compilerOptions": {
    "target": "ESNext",
    "module": "NodeNext",
    "strict": true,
    "verbatimModuleSyntax": true,
    "skipLibCheck": true,
    "types": ["node"],
    "jsx": "react-jsx",
    "jsxImportSource": "hono/jsx",
    "rootDir": "./src",
    "outDir": "./dist"
  },
  "exclude": ["node_modules"]
}
"#,
        )
        .with(
            "src/index.ts",
            "import { serve } from '@hono/node-server'
import { Hono } from 'hono'

const app = new Hono()

app.get('/', (c) => {
  return c.text('Hello Hono!')
})

app.get('/say', (c) => {
  return c.text(`say ${c.req.query('say')}`)
})

serve({
  fetch: app.fetch,
  port: 3000
}, (info) => {
  console.log(`Server is running on http://localhost:${info.port}`)
})
",
        );
    let served = project.deploy(&server);
    served.answers("/", "Hello Hono!");
    served.echoes("/say");
    served.misses("/nothing-here", "404 Not Found");
}

#[test]
fn nest_js() {
    let server = TestServer::start(BINARY);
    let args = ["new", "@", "--skip-install", "--skip-git", "--package-manager", "npm"];
    let project = Project::scaffold("nest", NEST_CLI, &args);
    project.replace("src/app.controller.ts", "import { Controller, Get }", "import { Controller, Get, Query }");
    project.replace(
        "src/app.controller.ts",
        "  @Get()\n",
        "  @Get('say')\n  say(@Query('say') say: string): string {\n    return say;\n  }\n\n  @Get()\n",
    );
    let served = project.deploy(&server);
    served.answers("/", "Hello World!");
    served.echoes("/say");
    served.misses("/nothing-here", "Cannot GET");
}

#[test]
fn plain_node() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("plain-node")
        .with("package.json", r#"{ "name": "plain-node", "version": "1.0.0", "main": "index.js" }"#)
        .with(
            "index.js",
            "const http = require('node:http');
http
  .createServer((request, response) => {
    const url = new URL(request.url, 'http://localhost');
    response.end(`Hello from plain Node, ${url.searchParams.get('say')}\\n`);
  })
  .listen(process.env.PORT ?? 3000);
",
        );
    let served = project.deploy(&server);
    served.answers("/", "Hello from plain Node");
    served.echoes("/");
}
