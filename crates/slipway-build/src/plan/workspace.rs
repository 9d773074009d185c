//! Workspaces: the directory above whose manifest lists the service, and the packages that belong to it.

use super::{framework, start};
use crate::package_json::{PACKAGE_JSON, PackageJson};
use crate::tree::{Tree, parent};
use slipway_types::Diagnosis;
use slipway_types::settings::{ServiceKind, ServiceSettings};
use std::collections::{BTreeMap, BTreeSet};

/// The nearest directory above that declares workspaces.
///
/// # Errors
/// A diagnosis when a `package.json` on the way up is broken.
pub(super) fn top<'t>(tree: &Tree<'t>) -> Result<Option<Tree<'t>>, Diagnosis> {
    for directory in tree.upwards() {
        if directory.has("pnpm-workspace.yaml") {
            return Ok(Some(directory));
        }
        if PackageJson::read(&directory)?.is_some_and(|package| !package.workspaces().is_empty()) {
            return Ok(Some(directory));
        }
    }
    Ok(None)
}

/// The directory of a workspace's only app, where the top is no app itself and nothing was set that belongs to the top.
pub(super) fn only_app<'t>(tree: &Tree<'t>, settings: &ServiceSettings) -> Option<&'t str> {
    let is_set = settings.build_command.is_some()
        || settings.start_command.is_some()
        || settings.site_directory.is_some()
        || settings.kind == ServiceKind::Worker;
    let package = PackageJson::read(tree).ok().flatten()?;
    let starts = ["Procfile", "index.html"].iter().chain(&start::ENTRY_FILES).any(|file| tree.has(file));
    let says_start = package.script("start").is_some() || package.text(&["main"]).is_some() || starts;
    if is_set || says_start || !tree.directory().is_empty() || !is_workspace(tree, &package) {
        return None;
    }
    // At the top of an Nx workspace stand the dependencies of all its apps: they say nothing of the top itself.
    let is_nx = tree.has("nx.json") && package.script("build").is_none();
    if !is_nx && framework::detect(tree, &package).is_some() {
        return None;
    }
    let mut apps = manifests(tree).filter_map(parent).filter(|directory| !directory.is_empty()).filter(|directory| {
        let member = Tree::new(tree.listing(), directory);
        let package = PackageJson::read(&member).ok().flatten();
        package
            .is_some_and(|package| package.script("start").is_some() || framework::detect(&member, &package).is_some())
    });
    apps.next().filter(|_| apps.next().is_none())
}

/// Whether packages of a workspace are installed from `directory`.
pub(super) fn is_workspace(directory: &Tree<'_>, package: &PackageJson) -> bool {
    directory.has("pnpm-workspace.yaml") || !package.workspaces().is_empty()
}

/// Paths of the `package.json` of all packages below `directory`. All of them, not only those that the globs name: one
/// too many costs at worst an install, one too few a wrong result.
pub(super) fn manifests<'t>(directory: &Tree<'t>) -> impl Iterator<Item = &'t str> + use<'t> {
    directory.files().filter(|path| path.rsplit('/').next() == Some(PACKAGE_JSON))
}

/// Whether `turbo run <script>` works here: Turborepo is configured for that script, and installed.
pub(super) fn has_turborepo(top: &Tree<'_>, script: &str) -> bool {
    let configured = top.text("turbo.json").is_some_and(|text| text.contains(&format!("\"{script}\"")));
    configured && depends(top, "turbo")
}

/// The name that Nx knows this package by, where Nx is configured and installed.
pub(super) fn nx_project(top: &Tree<'_>, tree: &Tree<'_>, package_name: Option<&str>) -> Option<String> {
    if !top.has("nx.json") || !depends(top, "nx") {
        return None;
    }
    let own: Option<serde_json::Value> = tree.text("project.json").and_then(|text| serde_json::from_str(text).ok());
    let named = own.as_ref().and_then(|project| project.get("name")?.as_str());
    named.or(package_name).map(str::to_owned)
}

fn depends(directory: &Tree<'_>, name: &str) -> bool {
    PackageJson::read(directory).ok().flatten().is_some_and(|package| package.dependency(name).is_some())
}

/// A package of the workspace.
struct Member<'t> {
    directory: &'t str,
    package: PackageJson,
}

/// Directories of the packages that `package` depends on, within the workspace, and that have the script too: each
/// after those that it depends on itself.
pub(super) fn built_before(top: &Tree<'_>, tree: &Tree<'_>, package: &PackageJson, script: &str) -> Vec<String> {
    let mut members: BTreeMap<String, Member<'_>> = BTreeMap::new();
    for directory in manifests(top).filter_map(parent).filter(|directory| *directory != tree.directory()) {
        let Ok(Some(package)) = PackageJson::read(&Tree::new(top.listing(), directory)) else { continue };
        let Some(name) = package.text(&["name"]).map(str::to_owned) else { continue };
        members.entry(name).or_insert(Member { directory, package });
    }
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    // Depth first without recursion: a package is done when it is met for the second time.
    let mut open: Vec<(&str, bool)> = names_of(package).into_iter().rev().map(|name| (name, false)).collect();
    while let Some((name, done)) = open.pop() {
        let Some(member) = members.get(name) else { continue };
        if done {
            if member.package.script(script).is_some() {
                order.push(member.directory.to_owned());
            }
        } else if seen.insert(name) {
            open.push((name, true));
            open.extend(names_of(&member.package).into_iter().rev().map(|name| (name, false)));
        }
    }
    order
}

fn names_of(package: &PackageJson) -> Vec<&str> {
    package.dependencies().map(|(name, _)| name).collect()
}
