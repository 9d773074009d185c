//! Hugo: a site made by one program, without packages.

use super::site;
use super::tool_version;
use crate::tree::Tree;
use slipway_types::plan::{Plan, Reason, Toolchain, ToolchainName};
use slipway_types::settings::ServiceSettings;

/// Its configuration, where nothing else is called so.
const OWN_FILES: [&str; 3] = ["hugo.toml", "hugo.yaml", "hugo.json"];
/// Its configuration of old, which other tools have too.
const SHARED_FILES: [&str; 3] = ["config.toml", "config.yaml", "config.json"];
const DIRECTORIES: [&str; 4] = ["content", "themes", "layouts", "archetypes"];

pub(super) const BUILD: &str = "hugo --gc --minify";

/// Whether the tree's directory is a Hugo site.
pub(super) fn is_one(tree: &Tree<'_>) -> bool {
    config_file(tree).is_some()
}

fn config_file(tree: &Tree<'_>) -> Option<String> {
    let own = OWN_FILES.iter().find(|name| tree.has(name)).map(|name| (*name).to_owned());
    own.or_else(|| OWN_FILES.iter().map(|name| format!("config/_default/{name}")).find(|name| tree.has(name))).or_else(
        || {
            let has_pages = DIRECTORIES[..2].iter().any(|directory| tree.has_directory(directory))
                || DIRECTORIES.iter().all(|directory| tree.has_directory(directory));
            let mut shared = SHARED_FILES.iter().map(|name| (*name).to_owned());
            shared.find(|name| has_pages && (tree.has(name) || tree.has(&format!("config/_default/{name}"))))
        },
    )
}

/// Where its files land.
pub(super) fn output(tree: &Tree<'_>) -> String {
    let said = ["hugo.toml", "config.toml"].iter().find_map(|name| {
        let table: toml::Table = tree.text(name)?.parse().ok()?;
        table.iter().find(|(key, _)| key.eq_ignore_ascii_case("publishDir"))?.1.as_str().map(str::to_owned)
    });
    said.unwrap_or_else(|| "public".to_owned())
}

/// The version that a tool's file asks for, else any.
pub(super) fn toolchain(tree: &Tree<'_>) -> (Toolchain, Reason) {
    let asked = tree.upwards().find_map(|directory| tool_version::of(&directory, &["hugo", "hugo-extended"]));
    let (version_range, from) = match asked {
        Some((version, path)) => (version.trim_start_matches("extended_").to_owned(), format!("`{path}`")),
        None => ("*".to_owned(), "nothing asks for a version".to_owned()),
    };
    let decided = if version_range == "*" { "Hugo, the newest".to_owned() } else { format!("Hugo {version_range}") };
    (Toolchain { name: ToolchainName::Hugo, version_range }, Reason { decided, from })
}

/// The plan of a site that needs nothing but Hugo.
pub(super) fn plan(tree: &Tree<'_>, settings: &ServiceSettings) -> Plan {
    let config = config_file(tree).unwrap_or_default();
    let (toolchain, version) = toolchain(tree);
    let mut reasons = vec![Reason { decided: "Hugo".to_owned(), from: format!("`{}`", tree.path(&config)) }, version];
    let build = site::build_command(settings, Some((BUILD, "what Hugo needs")), &mut reasons);
    let site = site::decide(settings, &output(tree), None, "where Hugo writes it", &mut reasons);
    let mut plan = site::plan(tree, site, build, reasons);
    plan.framework = Some("Hugo".to_owned());
    plan.toolchains = vec![toolchain];
    plan.build_env.insert("HUGO_ENVIRONMENT".to_owned(), "production".to_owned());
    plan.cache_dirs = vec!["resources/_gen".to_owned()];
    plan
}
