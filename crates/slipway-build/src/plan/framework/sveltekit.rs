//! SvelteKit: the adapter in its configuration decides what is built.

use super::{Found, Shape};
use crate::plan::config::Config;
use crate::plan::node::Project;

/// Adapters for platforms that are not this one.
const FOREIGN: [&str; 4] =
    ["@sveltejs/adapter-vercel", "@sveltejs/adapter-netlify", "@sveltejs/adapter-cloudflare", "svelte-kit-sst"];

pub(super) fn found(project: &Project<'_>) -> Found {
    let svelte = project.config("svelte.config");
    let vite = project.config("vite.config");
    let config = [&svelte, &vite].into_iter().find(|config| names_adapter(config)).unwrap_or(&svelte);
    let uses = |adapter: &str| match names_adapter(config) {
        true => config.has_string(adapter),
        false => project.depends(adapter),
    };
    let said = |adapter: &str| match config.has_string(adapter) {
        true => format!("`{adapter}` in `{}`", config.path),
        false => format!("the dependency `{adapter}`"),
    };
    if uses("@sveltejs/adapter-static") {
        let directory = config.anywhere("pages").literal().unwrap_or("build");
        // A page for paths that are not found is served with their status anyway.
        let fallback = config.anywhere("fallback").literal().filter(|page| *page != "404.html");
        return Found::site(directory, fallback).from(said("@sveltejs/adapter-static"));
    }
    if uses("@sveltejs/adapter-node") {
        let out = config.anywhere("out").literal().unwrap_or("build");
        return Found::server(format!("node {out}")).from(said("@sveltejs/adapter-node"));
    }
    if let Some(adapter) = FOREIGN.into_iter().find(|adapter| uses(adapter)) {
        let why = format!("{}, which makes output for another platform", said(adapter));
        let hint = format!(
            "`npm install --save-dev @sveltejs/adapter-node` and import that one instead of `{adapter}`, or `@sveltejs/adapter-static` for a site without a server"
        );
        return Found::new(Shape::Foreign { why, hint });
    }
    let from = "`@sveltejs/adapter-auto`, which takes the adapter for Node.js here: install `@sveltejs/adapter-node` to spare the build its download";
    Found::server("node build").from(from)
}

fn names_adapter(config: &Config<'_>) -> bool {
    ["@sveltejs/adapter-static", "@sveltejs/adapter-node", "@sveltejs/adapter-auto"]
        .iter()
        .chain(&FOREIGN)
        .any(|adapter| config.has_string(adapter))
}
