//! Vite by itself: a site of one page, or of several.

use super::{Found, Shape};
use crate::package_json::PackageJson;
use crate::plan::config::Config;
use crate::plan::node::Project;
use crate::plan::script::option_value;
use crate::tree::{self, Tree};

/// Vite is in many packages that only test with it: there is a page, or a script that builds one.
pub(super) fn makes_a_site(tree: &Tree<'_>, package: &PackageJson) -> bool {
    let config = Config::of(tree, "vite.config");
    let root = config.value(&["root"]).literal().unwrap_or("");
    let page = tree::resolve("", &format!("{root}/index.html")).is_some_and(|page| tree.has(&page));
    page || package.scripts().any(|(_, script)| script.contains("vite build"))
}

pub(super) fn found(project: &Project<'_>) -> Found {
    let config = project.config("vite.config");
    if config.exists() && config.value(&["build", "lib"]) != crate::plan::config::Value::Absent {
        return Found::new(Shape::Unsaid).from(format!("`build.lib` in `{}` makes a library", config.path));
    }
    let text = project.build_text();
    let root = config.value(&["root"]).literal().unwrap_or("");
    let by_script = option_value(&text, &["--outDir"]);
    let by_config = config.value(&["build", "outDir"]).literal();
    let said = by_script.or(by_config);
    let directory = tree::resolve("", &format!("{root}/{}", said.unwrap_or("dist")));
    let fallback = (!config.value(&["appType"]).is("mpa")).then_some("index.html");
    let found = match directory {
        Some(directory) => Found::site(directory, fallback),
        None => Found::new(Shape::Unsaid).from(format!("`build.outDir` in `{}` leads out of the source", config.path)),
    };
    match (by_script, by_config) {
        (Some(_), _) => found.from("`--outDir` in the build script"),
        (None, Some(_)) => found.from(format!("`build.outDir` in `{}`", config.path)),
        _ => found,
    }
}
