//! Nuxt: a server by Nitro, or a site when it is generated.

use super::Found;
use crate::plan::node::Project;

/// The first version whose server is Nitro's.
const NITRO_MAJOR: u32 = 3;

pub(super) fn found(project: &Project<'_>) -> Found {
    let config = project.config("nuxt.config");
    if project.major("nuxt").is_some_and(|major| major < NITRO_MAJOR) {
        return second(project);
    }
    // Without rendering on a server, every path that is no file is the app's.
    let fallback = config.value(&["ssr"]).is("false").then_some("200.html");
    if project.build_text().contains("generate") {
        return Found::site(".output/public", fallback).from("the build script runs `nuxt generate`");
    }
    match config.value(&["nitro", "preset"]).literal().map(|preset| preset.replace('_', "-")) {
        Some(preset) if preset == "static" || preset == "github-pages" => {
            Found::site(".output/public", fallback).from(format!("`nitro.preset: \"{preset}\"` in `{}`", config.path))
        }
        _ => Found::server("node .output/server/index.mjs"),
    }
}

/// Nuxt 2.
fn second(project: &Project<'_>) -> Found {
    if project.build_text().contains("generate") {
        return Found::site("dist", Some("200.html")).from("the build script runs `nuxt generate`");
    }
    Found::server("nuxt start")
}
