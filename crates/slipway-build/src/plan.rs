//! Tree and settings to [`Plan`]: which runtime, which package manager, which commands, what is kept.
//!
//! What the owner set comes first, then what the source says, then what its framework is known to need. Every
//! decision leaves a reason behind; where nothing sensible can be decided there is a diagnosis and no plan. This module
//! decides what the service is written in; each language makes its own plan.

mod build;
mod config;
mod files;
mod framework;
mod hugo;
mod install;
mod missing;
mod node;
mod node_version;
mod older_tree;
mod package_manager;
mod procfile;
mod prune;
mod python;
mod refusal;
mod script;
mod site;
mod start;
mod staticfile;
mod tool_version;
mod workspace;

pub use older_tree::on_older_tree;

use crate::package_json::PackageJson;
use crate::tree::{self, Tree};
use procfile::Procfile;
use slipway_types::plan::{Plan, Reason, Start};
use slipway_types::settings::{ServiceKind, ServiceSettings};
use slipway_types::{Diagnosis, TreeListing};
use std::borrow::Cow;

/// Where the source tree stands in a sandbox.
const SOURCE_DIRECTORY: &str = "/app";

/// Decides how the tree becomes an image and how that starts.
///
/// # Errors
/// A diagnosis such as `root-missing`, `nothing-recognised` or `no-start-command` when nothing sensible can be decided.
pub fn plan(listing: &TreeListing, settings: &ServiceSettings) -> Result<Plan, Diagnosis> {
    let listing = sorted(listing);
    let root = tree::resolve("", &settings.root).unwrap_or_default();
    let tree = Tree::new(&listing, &root);
    if !root.is_empty() && tree.is_empty() {
        return Err(missing::root(&tree));
    }
    let only_app = workspace::only_app(&tree, settings);
    let tree = only_app.map_or(tree, |directory| Tree::new(&listing, directory));
    let (settings, of_file) = match staticfile::applied(&tree, settings) {
        Some((settings, reason)) => (Cow::Owned(settings), Some(reason)),
        None => (Cow::Borrowed(settings), None),
    };
    let settings = settings.as_ref();
    let mut plan = match language(&tree, settings)? {
        Language::Node => node::plan(tree, settings)?,
        Language::Python => python::plan(tree, settings)?,
        Language::Hugo => hugo::plan(&tree, settings),
        Language::Files(directory) => files::plan(&tree, directory, settings),
    };
    apply_procfile(&mut plan, &Procfile::read(&tree));
    plan.reasons.extend(of_file.filter(|_| matches!(plan.start, Start::Site(_))));
    if let Some(directory) = only_app {
        let decided = format!("the service's directory: `{directory}`");
        plan.reasons.insert(0, Reason { decided, from: "the only app of the workspace".to_owned() });
    }
    Ok(plan)
}

/// What a service is written in.
enum Language<'t> {
    Node,
    Python,
    Hugo,
    /// Nothing: files that are published as they are, from this directory.
    Files(&'t str),
}

/// The first that fits. A `package.json` often lies beside another language's files, as a list of tools: it decides
/// only where it has dependencies or scripts.
fn language<'t>(tree: &Tree<'_>, settings: &'t ServiceSettings) -> Result<Language<'t>, Diagnosis> {
    if python::is_service(tree, settings) {
        return Ok(Language::Python);
    }
    let package = PackageJson::read(tree)?;
    let says_something =
        |package: &PackageJson| package.dependencies().next().is_some() || package.scripts().next().is_some();
    if package.as_ref().is_some_and(says_something) {
        return Ok(Language::Node);
    }
    if settings.kind != ServiceKind::Worker && hugo::is_one(tree) {
        return Ok(Language::Hugo);
    }
    if package.is_some() {
        return Ok(Language::Node);
    }
    if let Some(directory) = site::directory_set(settings) {
        return Ok(Language::Files(directory));
    }
    let page =
        files::directory(tree).filter(|_| missing::other_language(tree).is_none_or(|(file, _)| file == "Dockerfile"));
    match (settings.kind, page.or_else(|| files::directory(tree).filter(|_| settings.kind == ServiceKind::Static))) {
        (ServiceKind::Web | ServiceKind::Static, Some(directory)) => Ok(Language::Files(directory)),
        (ServiceKind::Static, None) => Err(refusal::no_site(tree)),
        _ => Err(missing::nothing_recognised(tree)),
    }
}

/// What every language takes from a `Procfile` alike; commands that need more were put in by the language itself.
fn apply_procfile(plan: &mut Plan, procfile: &Procfile<'_>) {
    if matches!(plan.start, Start::Site(_)) {
        return;
    }
    if let Some((command, from)) = procfile.release().filter(|_| plan.pre_deploy_command.is_none()) {
        plan.reasons.push(Reason { decided: format!("before a release goes live: `{command}`"), from });
        plan.pre_deploy_command = Some(command.to_owned());
    }
    plan.reasons.extend(procfile.left_out(plan.kind));
}

/// Lookups in a tree need its paths in order; a listing is made so, but a plan must not hang on it.
fn sorted(listing: &TreeListing) -> Cow<'_, TreeListing> {
    if listing.paths.is_sorted() {
        return Cow::Borrowed(listing);
    }
    let mut listing = listing.clone();
    listing.paths.sort_unstable();
    Cow::Owned(listing)
}

#[cfg(test)]
mod tests;
