//! Tools whose output directory stands in their build script or their own configuration.

use super::Found;
use crate::plan::hugo;
use crate::plan::node::Project;
use crate::plan::script::{assignment, operand, option_value};
use crate::tree;

pub(super) fn vitepress(project: &Project<'_>) -> Found {
    below_sources(project, "vitepress", ".vitepress/dist")
}

pub(super) fn vuepress(project: &Project<'_>) -> Found {
    below_sources(project, "vuepress", ".vuepress/dist")
}

/// The output lies in the directory of the pages, which the build command names.
fn below_sources(project: &Project<'_>, program: &str, output: &str) -> Found {
    let text = project.build_text();
    if let Some(directory) = option_value(&text, &["--outDir", "--dest", "-d"]) {
        return Found::site(directory, None).from("the output directory in the build script");
    }
    let named = operand(&text, program, "build").and_then(|directory| tree::resolve("", directory));
    let sources = named.or_else(|| {
        // Without a name in a script: where its configuration lies.
        let hidden = output.split('/').next().unwrap_or_default();
        let inside =
            project.tree.files().find_map(|path| path.split_once(&format!("{hidden}/")).map(|(before, _)| before));
        inside
            .map(|before| before.trim_end_matches('/'))
            .and_then(|before| project.tree.relative(before))
            .map(str::to_owned)
    });
    match sources.filter(|directory| !directory.is_empty()) {
        Some(directory) => Found::site(format!("{directory}/{output}"), None),
        None => Found::site(output, None),
    }
}

pub(super) fn eleventy(project: &Project<'_>) -> Found {
    if let Some(directory) = option_value(&project.build_text(), &["--output"]) {
        return Found::site(directory, None).from("`--output` in the build script");
    }
    for stem in [".eleventy", "eleventy.config"] {
        let config = project.config(stem);
        let set = config.value(&["dir", "output"]).literal().or(config.argument("setOutputDirectory").literal());
        if let Some(directory) = set {
            return Found::site(directory, None).from(format!("the output directory in `{}`", config.path));
        }
    }
    Found::site("_site", None)
}

pub(super) fn hugo(project: &Project<'_>) -> Found {
    Found::site(hugo::output(&project.tree), None)
}

pub(super) fn create_react_app(project: &Project<'_>) -> Found {
    match assignment(&project.build_text(), "BUILD_PATH") {
        Some(directory) => Found::site(directory, Some("index.html")).from("`BUILD_PATH` in the build script"),
        None => Found::site("build", Some("index.html")),
    }
}

pub(super) fn vue_cli(project: &Project<'_>) -> Found {
    let config = project.config("vue.config");
    if let Some(directory) = option_value(&project.build_text(), &["--dest"]) {
        return Found::site(directory, Some("index.html")).from("`--dest` in the build script");
    }
    match config.value(&["outputDir"]).literal() {
        Some(directory) => Found::site(directory, Some("index.html")).from(format!("`outputDir` in `{}`", config.path)),
        None => Found::site("dist", Some("index.html")),
    }
}

pub(super) fn parcel(project: &Project<'_>) -> Found {
    match option_value(&project.build_text(), &["--dist-dir", "--out-dir", "-d"]) {
        Some(directory) => Found::site(directory, Some("index.html")).from("the output directory in the build script"),
        None => Found::site("dist", Some("index.html")),
    }
}

pub(super) fn webpack(project: &Project<'_>) -> Found {
    let config = project.config("webpack.config");
    let said = option_value(&project.build_text(), &["--output-path", "-o"]).map(str::to_owned);
    if let Some(directory) = said {
        return Found::site(directory, Some("index.html")).from("the output directory in the build script");
    }
    match config.directory(&["output", "path"]) {
        Some(directory) => {
            Found::site(directory.path, Some("index.html")).from(format!("`output.path` in `{}`", config.path))
        }
        None => Found::site("dist", Some("index.html")),
    }
}
