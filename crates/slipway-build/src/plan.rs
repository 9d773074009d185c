//! Tree and settings to [`Plan`]: which runtime, which package manager, which commands, what is kept.
//!
//! What the owner set comes first, then what the source says, then what its framework is known to need. Every
//! decision leaves a reason behind; where nothing sensible can be decided there is a diagnosis and no plan. This module
//! decides which language the service is written in; each language makes its own plan.

mod framework;
mod install;
mod missing;
mod next;
mod node;
mod node_version;
mod package_manager;
mod python;
mod start;
mod workspace;

use crate::package_json::PACKAGE_JSON;
use crate::tree::{self, Tree};
use slipway_types::plan::Plan;
use slipway_types::settings::ServiceSettings;
use slipway_types::{Diagnosis, TreeListing};
use std::borrow::Cow;

/// Where the source tree stands in a sandbox.
const SOURCE_DIRECTORY: &str = "/app";

/// Decides how the tree becomes an image and how that starts.
///
/// # Errors
/// `root-missing`, `no-package-json`, `invalid-package-json`, `invalid-node-version` or `no-start-command`.
pub fn plan(listing: &TreeListing, settings: &ServiceSettings) -> Result<Plan, Diagnosis> {
    let listing = sorted(listing);
    let root = tree::resolve("", &settings.root).unwrap_or_default();
    let tree = Tree::new(&listing, &root);
    if !root.is_empty() && tree.is_empty() {
        return Err(missing::root(&tree));
    }
    match language(&tree) {
        Some(Language::Node) => node::plan(tree, settings),
        Some(Language::Python) => python::plan(tree, settings),
        None => Err(missing::package_json(&tree)),
    }
}

/// What a service is written in.
enum Language {
    Node,
    Python,
}

fn language(tree: &Tree<'_>) -> Option<Language> {
    if python::is_service(tree) {
        return Some(Language::Python);
    }
    tree.has(PACKAGE_JSON).then_some(Language::Node)
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
