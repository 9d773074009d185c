//! Astro: a site, or a server when an adapter is configured.

use super::{Found, Shape};
use crate::plan::node::Project;

/// Adapters for platforms that are not this one.
const FOREIGN: [&str; 3] = ["@astrojs/vercel", "@astrojs/netlify", "@astrojs/cloudflare"];

/// The first version in which an adapter alone makes a server; before, `output` had to say so too.
const ADAPTER_DECIDES_MAJOR: u32 = 5;

pub(super) fn found(project: &Project<'_>) -> Found {
    let config = project.config("astro.config");
    let directory =
        config.value(&["outDir"]).literal().unwrap_or("dist").trim_start_matches("./").trim_end_matches('/');
    let output = config.value(&["output"]);
    let old = project.major("astro").is_some_and(|major| major < ADAPTER_DECIDES_MAJOR);
    let renders = !old || output.is("server") || output.is("hybrid");
    if renders && config.has_string("@astrojs/node") {
        let from = format!("the adapter `@astrojs/node` in `{}`", config.path);
        if config.anywhere("mode").is("middleware") {
            return Found::new(Shape::Unsaid).from(format!("{from}, in the mode `middleware`"));
        }
        return Found::server(format!("node ./{directory}/server/entry.mjs")).from(from);
    }
    let foreign = FOREIGN
        .into_iter()
        .find(|adapter| FOREIGN_ENDINGS.iter().any(|end| config.has_string(&format!("{adapter}{end}"))));
    if let Some(adapter) = foreign.filter(|_| renders) {
        let why = format!("the adapter `{adapter}` in `{}` makes output for another platform", config.path);
        let hint =
            "`npx astro add node` takes the adapter for Node.js; a site without pages rendered on demand needs none"
                .to_owned();
        return Found::new(Shape::Foreign { why, hint });
    }
    Found::site(directory, None)
}

/// Older adapters were imported for one of two targets.
const FOREIGN_ENDINGS: [&str; 5] = ["", "/serverless", "/static", "/functions", "/edge"];
