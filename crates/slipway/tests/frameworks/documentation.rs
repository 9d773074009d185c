//! Generators of pages: Docusaurus, VitePress, Eleventy, Gatsby and Hugo.

use crate::BINARY;
use crate::project::Project;
use crate::tool::{self, CREATE_DOCUSAURUS};
use slipway_testing::TestServer;

#[test]
fn docusaurus() {
    let server = TestServer::start(BINARY);
    let args = ["@", "classic", "--skip-install", "--javascript", "--package-manager", "npm"];
    let project = Project::scaffold("docusaurus", CREATE_DOCUSAURUS, &args);
    // The search's newest release names a package that not every registry mirror has.
    project.replace(
        "package.json",
        "\"private\": true,",
        "\"private\": true,\n  \"overrides\": { \"@docsearch/react\": \"4.6.3\" },",
    );
    let site = project.deploy(&server);
    site.shows("/", "Dinosaurs are cool");
    site.shows("/docs/intro/", "Tutorial Intro");
    site.has_asset("/", "/assets/js/main.", ".js", "text/javascript");
    site.has_asset("/", "/assets/css/styles.", ".css", "text/css");
    site.misses("/nothing-here", "Page Not Found");
    site.is_a_site("/");
}

/// `vitepress init` only asks questions: these are the files that it writes when all are answered with Enter.
#[test]
fn vitepress() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("vitepress")
        .with(
            "package.json",
            r#"{
  "scripts": {
    "docs:dev": "vitepress dev docs",
    "docs:build": "vitepress build docs",
    "docs:preview": "vitepress preview docs"
  },
  "devDependencies": { "vitepress": "^1.6.4" }
}
"#,
        )
        .with(
            "docs/.vitepress/config.mts",
            "import { defineConfig } from 'vitepress'

// https://vitepress.dev/reference/site-config
export default defineConfig({
  title: \"My Awesome Project\",
  description: \"A VitePress Site\",
  themeConfig: {
    nav: [{ text: 'Home', link: '/' }, { text: 'Examples', link: '/markdown-examples' }]
  }
})
",
        )
        .with(
            "docs/index.md",
            "---
layout: home

hero:
  name: \"My Awesome Project\"
  text: \"A VitePress Site\"
  tagline: My great project tagline
---
",
        )
        .with("docs/markdown-examples.md", "# Markdown Extension Examples\n\nThis page demonstrates Markdown.\n");
    let site = project.deploy(&server);
    site.shows("/", "My great project tagline");
    site.shows("/markdown-examples", "Markdown Extension Examples");
    site.has_asset("/", "/assets/app.", ".js", "text/javascript");
    site.misses("/nothing-here", "404");
    site.is_a_site("/");
}

/// Eleventy has no scaffold: `npm init`, `npm install @11ty/eleventy` and one page, as its documentation begins. The newest
/// releases of it name a package that not every registry mirror has.
#[test]
fn eleventy() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("eleventy");
    for args in [&["init", "--yes"][..], &["pkg", "set", "type=module"]] {
        let mut npm = tool::node("npm", &project.path());
        npm.args(args);
        tool::run(npm);
    }
    project.replace(
        "package.json",
        "\"type\": \"module\"",
        "\"type\": \"module\",\n  \"dependencies\": { \"@11ty/eleventy\": \"3.1.2\" }",
    );
    let project = project
        .with(
            "index.html",
            "<!doctype html>\n<html>\n  <head><title>Page title</title></head>\n  <body><p>Hi</p></body>\n</html>\n",
        )
        .with("README.md", "# Page header\n")
        .with("docs/deep.md", "# A deeper page\n");
    let site = project.deploy(&server);
    site.shows("/", "<p>Hi</p>");
    site.shows("/README/", "<h1>Page header</h1>");
    site.shows("/docs/deep/", "<h1>A deeper page</h1>");
    site.misses("/nothing-here", "");
    site.misses("/package.json", "");
    site.is_a_site("/");
}

/// create-gatsby clones its template with git: these are that template's files. The `sharp` that Gatsby asks for downloads
/// a library from a place that is no package registry; newer ones have it in packages.
#[test]
fn gatsby() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("gatsby")
        .with(
            "package.json",
            r#"{
  "name": "my-gatsby-site",
  "version": "1.0.0",
  "private": true,
  "keywords": ["gatsby"],
  "scripts": {
    "develop": "gatsby develop",
    "start": "gatsby develop",
    "build": "gatsby build",
    "serve": "gatsby serve",
    "clean": "gatsby clean"
  },
  "dependencies": { "gatsby": "^5.16.1", "react": "^18.2.0", "react-dom": "^18.2.0" },
  "overrides": { "sharp": "^0.34.5" }
}
"#,
        )
        .with(
            "gatsby-config.js",
            "module.exports = {
  siteMetadata: { title: `My Gatsby Site`, siteUrl: `https://www.yourdomain.tld` },
  plugins: [],
}
",
        )
        .with(
            "src/pages/index.js",
            "import * as React from \"react\"

const IndexPage = () => <main><h1>Congratulations, you just made a Gatsby site!</h1></main>

export default IndexPage

export const Head = () => <title>Home Page</title>
",
        )
        .with(
            "src/pages/about.js",
            "import * as React from \"react\"\n\nexport default () => <h1>About this site</h1>\n",
        )
        .with("src/pages/404.js", "import * as React from \"react\"\n\nexport default () => <h1>Page not found</h1>\n");
    let site = project.deploy(&server);
    site.shows("/", "you just made a Gatsby site");
    site.shows("/about/", "About this site");
    site.has_asset("/", "/app-", ".js", "text/javascript");
    site.misses("/nothing-here", "Page not found");
    site.is_a_site("/");
}

#[test]
fn hugo() {
    let server = TestServer::start(BINARY);
    let project = Project::empty("hugo");
    let mut hugo = tool::hugo(project.parent());
    hugo.args(["new", "site", "hugo", "--force"]);
    tool::run(hugo);
    let project = project
        .with("layouts/home.html", &page("<h1>{{ .Site.Title }}</h1>"))
        .with("layouts/page.html", &page("<h1>{{ .Title }}</h1>{{ .Content }}"))
        .with("layouts/404.html", &page("<h1>Nothing blooms here</h1>"))
        .with("assets/main.css", "h1 { color: hotpink; }\n")
        .with("content/about.md", "+++\ntitle = 'About this site'\n+++\n\nWritten in *Markdown*.\n");
    let site = project.deploy(&server);
    site.shows("/", "My New Hugo");
    site.shows("/about/", "<em>Markdown</em>");
    site.has_asset("/", "/main.", ".css", "text/css");
    site.misses("/nothing-here", "Nothing blooms here");
    site.is_a_site("/");
}

/// A layout of Hugo with a fingerprinted style sheet.
fn page(body: &str) -> String {
    format!(
        "<!doctype html>
<html>
  <head>
    <title>{{{{ .Title }}}}</title>
    {{{{ with resources.Get \"main.css\" | fingerprint }}}}<link rel=\"stylesheet\" href=\"{{{{ .RelPermalink }}}}\">{{{{ end }}}}
  </head>
  <body>{body}</body>
</html>
"
    )
}
