//! Nuxt.
//!
//! create-nuxt fetches its templates from a place that is no package registry: this is its template `minimal`, by hand.

use crate::BINARY;
use crate::project::Project;
use slipway_testing::TestServer;

const PACKAGE_JSON: &str = r#"{
  "name": "nuxt-app",
  "type": "module",
  "private": true,
  "scripts": {
    "build": "nuxt build",
    "dev": "nuxt dev",
    "generate": "nuxt generate",
    "preview": "nuxt preview",
    "postinstall": "nuxt prepare"
  },
  "dependencies": { "nuxt": "^4.5.2", "vue": "^3.5.45", "vue-router": "^5.5.1" }
}
"#;

const CONFIG: &str = "// https://nuxt.com/docs/api/configuration/nuxt-config
export default defineNuxtConfig({
  compatibilityDate: '2025-07-15',
  devtools: { enabled: true }
})
";

const APP: &str = "<template>
  <div>
    <NuxtRouteAnnouncer />
    <h1>Welcome to Nuxt</h1>
    <p>{{ $route.query.say }}</p>
  </div>
</template>
";

const TSCONFIG: &str = r#"{
  "files": [],
  "references": [
    { "path": "./.nuxt/tsconfig.app.json" },
    { "path": "./.nuxt/tsconfig.server.json" },
    { "path": "./.nuxt/tsconfig.shared.json" },
    { "path": "./.nuxt/tsconfig.node.json" }
  ]
}
"#;

#[test]
fn nuxt() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("nuxt")
        .with("package.json", PACKAGE_JSON)
        .with("nuxt.config.ts", CONFIG)
        .with("tsconfig.json", TSCONFIG)
        .with("app/app.vue", APP)
        .with("app/pages/index.vue", "<template><p>page</p></template>\n")
        .with("server/api/say.ts", "export default defineEventHandler((event) => getQuery(event))\n")
        .with("public/robots.txt", "User-Agent: *\nDisallow:\n");
    let served = project.deploy(&server);
    served.shows("/", "Welcome to Nuxt");
    served.echoes("/");
    served.echoes("/api/say");
    served.has_file("/", "/_nuxt/", ".js", "text/javascript");
    served.answers("/robots.txt", "User-Agent");
}
