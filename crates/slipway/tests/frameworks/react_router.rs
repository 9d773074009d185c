//! React Router 7 and later as a server and, without server rendering, as files. create-remix only says that Remix is
//! React Router now, so that there is no scaffold of it to test.
//!
//! The templates of create-react-router lie where no package registry is, so that it is given one: the files that "Manual
//! installation" of its documentation describes. The tool copies them and sets the versions of its packages.

use crate::BINARY;
use crate::project::Project;
use crate::tool::CREATE_REACT_ROUTER;
use slipway_testing::TestServer;

const TEMPLATE: [(&str, &str); 7] = [
    (
        "package.json",
        r#"{
  "name": "react-router-template",
  "private": true,
  "type": "module",
  "scripts": {
    "build": "react-router build",
    "dev": "react-router dev",
    "start": "react-router-serve ./build/server/index.js"
  },
  "dependencies": {
    "@react-router/node": "8.4.0",
    "@react-router/serve": "8.4.0",
    "isbot": "^5.2.3",
    "react": "^19.2.7",
    "react-dom": "^19.2.7",
    "react-router": "8.4.0"
  },
  "devDependencies": {
    "@react-router/dev": "8.4.0",
    "@types/node": "^24.0.0",
    "@types/react": "^19.2.0",
    "@types/react-dom": "^19.2.0",
    "typescript": "^6.0.2",
    "vite": "^8.0.0"
  }
}
"#,
    ),
    (
        "vite.config.ts",
        "import { reactRouter } from \"@react-router/dev/vite\";
import { defineConfig } from \"vite\";

export default defineConfig({ plugins: [reactRouter()] });
",
    ),
    (
        "react-router.config.ts",
        "import type { Config } from \"@react-router/dev/config\";

export default {
  ssr: true,
} satisfies Config;
",
    ),
    (
        "app/routes.ts",
        "import { type RouteConfig, index, route } from \"@react-router/dev/routes\";

export default [index(\"routes/home.tsx\"), route(\"say\", \"routes/say.tsx\")] satisfies RouteConfig;
",
    ),
    (
        "app/root.tsx",
        "import { Links, Meta, Outlet, Scripts, ScrollRestoration } from \"react-router\";
import \"./app.css\";

export function Layout({ children }: { children: React.ReactNode }) {
  return (
    <html lang=\"en\">
      <head>
        <meta charSet=\"utf-8\" />
        <Meta />
        <Links />
      </head>
      <body>
        {children}
        <ScrollRestoration />
        <Scripts />
      </body>
    </html>
  );
}

export default function App() {
  return <Outlet />;
}

export function HydrateFallback() {
  return <p>Loading the app</p>;
}
",
    ),
    ("app/app.css", "body { font-family: sans-serif; }\n"),
    ("app/routes/home.tsx", "export default function Home() {\n  return <h1>Welcome to React Router</h1>;\n}\n"),
];

const SAY: &str = "import { useSearchParams } from \"react-router\";

export default function Say() {
  return <p>{useSearchParams()[0].get(\"say\")}</p>;
}
";

#[test]
fn react_router_as_a_server_and_as_files() {
    let server = TestServer::start(BINARY);
    let template = TEMPLATE.iter().fold(Project::empty("template"), |template, (path, text)| template.with(path, text));
    let template = template.with("app/routes/say.tsx", SAY);
    let from = template.path();
    let args =
        ["@", "--template", from.to_str().unwrap(), "--no-install", "--no-git-init", "--no-agent-skills", "--yes"];
    let project = Project::scaffold("react-router", CREATE_REACT_ROUTER, &args);

    let served = project.deploy(&server);
    served.shows("/", "Welcome to React Router");
    served.has_file("/", "/assets/", ".js", "text/javascript");
    served.echoes("/say");
    served.misses("/nothing-here", "404");

    project.replace("react-router.config.ts", "ssr: true", "ssr: false");
    let site = project.deploy(&server);
    site.shows("/", "Loading the app");
    site.has_asset("/", "/assets/", ".js", "text/javascript");
    site.shows("/users/42", "Loading the app");
    site.is_a_site("/");
}
