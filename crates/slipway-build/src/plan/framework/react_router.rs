//! React Router as a framework, and Remix, which it was before.

use super::{Found, Shape};
use crate::plan::config::{Config, Value};
use crate::plan::node::Project;

/// Beside the front page, when that page is prerendered and so can't stand for other paths.
const FALLBACK_OF_PRERENDERED: &str = "__spa-fallback.html";

pub(super) fn found(project: &Project<'_>) -> Found {
    let config = project.config("react-router.config");
    let build = config.value(&["buildDirectory"]).literal().unwrap_or("build");
    if config.value(&["ssr"]).is("false") {
        let site = if renders_front_page(&config) {
            Found::site(format!("{build}/client"), Some(FALLBACK_OF_PRERENDERED)).with_fallback_made()
        } else {
            Found::site(format!("{build}/client"), Some("index.html"))
        };
        return site.from(format!("`ssr: false` in `{}`", config.path));
    }
    if project.depends("@react-router/serve") {
        return Found::server(format!("react-router-serve ./{build}/server/index.js"));
    }
    Found::new(Shape::Unsaid)
}

/// Whether `prerender` may name the front page.
fn renders_front_page(config: &Config<'_>) -> bool {
    match (config.value(&["prerender"]), config.list("prerender")) {
        (Value::Absent | Value::Literal("false"), _) => false,
        (_, Some(paths)) => paths.contains(&"/"),
        _ => true,
    }
}

pub(super) fn found_of_remix(project: &Project<'_>) -> Found {
    let vite = project.config("vite.config");
    if vite.exists() && vite.anywhere("ssr").is("false") {
        return Found::site("build/client", Some("index.html")).from(format!("`ssr: false` in `{}`", vite.path));
    }
    if !project.depends("@remix-run/serve") {
        return Found::new(Shape::Unsaid);
    }
    let server = if vite.exists() { "./build/server/index.js" } else { "./build/index.js" };
    Found::server(format!("remix-serve {server}"))
}
