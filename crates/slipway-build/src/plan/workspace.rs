//! Workspaces: the directory above whose manifest lists the service, and the packages that belong to it.

use crate::package_json::{PACKAGE_JSON, PackageJson};
use crate::tree::Tree;
use slipway_types::Diagnosis;

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

/// Whether packages of a workspace are installed from `directory`.
pub(super) fn is_workspace(directory: &Tree<'_>, package: &PackageJson) -> bool {
    directory.has("pnpm-workspace.yaml") || !package.workspaces().is_empty()
}

/// Paths of the `package.json` of all packages below `directory`. All of them, not only those that the globs name: one
/// too many costs at worst an install, one too few a wrong result.
pub(super) fn manifests<'t>(directory: &Tree<'t>) -> impl Iterator<Item = &'t str> + use<'t> {
    directory.files().filter(|path| path.rsplit('/').next() == Some(PACKAGE_JSON))
}
