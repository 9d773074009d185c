//! Vite by itself: a site of one page, or of several.

use super::{Found, Shape};
use crate::package_json::PackageJson;
use crate::plan::config::{Config, Value};
use crate::plan::node::Project;
use crate::plan::script::option_value;
use crate::tree::{self, Tree};

/// Vite is in many packages that only test with it: there is a page, or a script that builds one.
pub(super) fn makes_a_site(tree: &Tree<'_>, package: &PackageJson) -> bool {
    let page = format!("{}/index.html", root(&Config::of(tree, "vite.config")));
    tree::resolve("", &page).is_some_and(|page| tree.has(&page))
        || package.scripts().any(|(_, script)| script.contains("vite build"))
}

/// Where the page lies, and what the output directory is relative to.
fn root(config: &Config<'_>) -> String {
    config.directory(&["root"]).map(|directory| directory.path).unwrap_or_default()
}

pub(super) fn found(project: &Project<'_>) -> Found {
    let config = project.config("vite.config");
    if config.value(&["build", "lib"]) != Value::Absent {
        return Found::new(Shape::Unsaid).from(format!("`build.lib` in `{}` makes a library", config.path));
    }
    let text = project.build_text();
    let fallback = (!config.value(&["appType"]).is("mpa")).then_some("index.html");
    let site = |path: String| match tree::resolve("", &path) {
        Some(directory) => Found::site(directory, fallback),
        None => Found::new(Shape::Unsaid).from(format!("the output directory `{path}` lies outside of the service")),
    };
    let below_root = |directory: &str| format!("{}/{directory}", root(&config));
    if let Some(directory) = option_value(&text, &["--outDir"]) {
        return site(below_root(directory)).or_from("`--outDir` in the build script");
    }
    if let Some(directory) = config.directory(&["build", "outDir"]) {
        let path = if directory.is_absolute { directory.path } else { below_root(&directory.path) };
        return site(path).or_from(format!("`build.outDir` in `{}`", config.path));
    }
    let usual = site(below_root("dist"));
    match config.value(&["build", "outDir"]) {
        Value::Computed => usual.or_from(format!(
            "`build.outDir` in `{}` is computed: taken for `dist`, unless the setting `site.directory` says another",
            config.path
        )),
        Value::Literal(_) | Value::Absent => usual,
    }
}
