//! Astro as files and as a Node.js server.
//!
//! create-astro fetches its templates from a place that is no package registry: this is what "Install Astro manually" of
//! its documentation describes.

use crate::BINARY;
use crate::project::Project;
use slipway_testing::TestServer;

const PACKAGE_JSON: &str = r#"{
  "name": "astro",
  "type": "module",
  "version": "0.0.1",
  "engines": { "node": ">=22.12.0" },
  "scripts": {
    "dev": "astro dev",
    "build": "astro build",
    "preview": "astro preview",
    "astro": "astro"
  },
  "dependencies": { "@astrojs/node": "^11.1.6", "astro": "^7.3.5" }
}
"#;

/// Small style sheets would be put into the page; the test wants to see a file.
const STATIC_CONFIG: &str = "import { defineConfig } from 'astro/config';

export default defineConfig({ build: { inlineStylesheets: 'never' } });
";

const SERVER_CONFIG: &str = "import { defineConfig } from 'astro/config';
import node from '@astrojs/node';

export default defineConfig({
  output: 'server',
  adapter: node({ mode: 'standalone' }),
  build: { inlineStylesheets: 'never' },
});
";

const PAGE: &str = "---
---
<html lang=\"en\">
  <head><meta charset=\"utf-8\" /><title>Astro</title></head>
  <body><h1>My Astro Site</h1></body>
</html>
<style>h1 { color: rebeccapurple; }</style>
";

#[test]
fn astro_as_files_and_as_a_server() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("astro")
        .with("package.json", PACKAGE_JSON)
        .with("tsconfig.json", "{ \"extends\": \"astro/tsconfigs/strict\" }\n")
        .with("astro.config.mjs", STATIC_CONFIG)
        .with("src/pages/index.astro", PAGE)
        .with("src/pages/about.astro", "<h1>About this site</h1>\n")
        .with("src/pages/404.astro", "<h1>Lost in space</h1>\n")
        .with("public/robots.txt", "User-agent: *\n");
    project.replace("package.json", "\"@astrojs/node\": \"^11.1.6\", ", "");

    let site = project.deploy(&server);
    site.shows("/", "My Astro Site");
    site.shows("/about/", "About this site");
    site.has_asset("/", "/_astro/", ".css", "text/css");
    site.answers("/robots.txt", "User-agent");
    site.misses("/nothing-here", "Lost in space");
    site.is_a_site("/");

    project.write("package.json", PACKAGE_JSON);
    project.write("astro.config.mjs", SERVER_CONFIG);
    project.write("src/pages/say.astro", "<p>{Astro.url.searchParams.get('say')}</p>\n");
    let served = project.deploy(&server);
    served.shows("/", "My Astro Site");
    served.has_file("/", "/_astro/", ".css", "text/css");
    served.answers("/robots.txt", "User-agent");
    served.echoes("/say");
    served.misses("/nothing-here", "Lost in space");
}
