//! TanStack Start and SolidStart: a server by Nitro, or a handler that needs one.

use super::Found;
use crate::plan::node::Project;

/// With the package `nitro` the build holds a server. Without it, it is a handler that `srvx` serves: a dependency of
/// the framework, whose program pnpm keeps in a directory of its own.
const SRVX: &str = "PATH=\"$PWD/node_modules/.bin:$PWD/node_modules/.pnpm/node_modules/.bin:$PATH\" srvx serve --prod -s ../client dist/server/server.js";

pub(super) fn found(project: &Project<'_>) -> Found {
    let vite = project.config("vite.config");
    if vite.value(&["spa", "enabled"]).is("true") {
        return Found::site("dist/client", Some("_shell.html")).from(format!("`spa.enabled` in `{}`", vite.path));
    }
    let old = project.depends("vinxi");
    if old || ["nitro/vite", "@tanstack/nitro-v2-vite-plugin"].iter().any(|plugin| vite.has_string(plugin)) {
        return found_by_nitro(project);
    }
    Found::server(SRVX).from("its build is a handler, which `srvx` serves")
}

pub(super) fn found_by_nitro(project: &Project<'_>) -> Found {
    let app = project.config("app.config");
    if ["preset"].iter().any(|key| app.value(&["server", key]).is("static")) {
        return Found::site(".output/public", None).from(format!("`server.preset: \"static\"` in `{}`", app.path));
    }
    Found::server("node .output/server/index.mjs")
}
