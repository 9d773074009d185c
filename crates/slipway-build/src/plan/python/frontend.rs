//! A `package.json` beside a Python app whose build makes styles or scripts for it: Node.js comes along for the build.

use crate::package_json::{PACKAGE_JSON, PackageJson};
use crate::plan::{node_version, package_manager};
use crate::tree::Tree;
use slipway_types::Diagnosis;
use slipway_types::plan::{PackageManagerName, Reason, Toolchain};
use slipway_types::settings::ServiceSettings;

/// What the build of the frontend needs.
#[derive(Debug)]
pub(super) struct Frontend {
    pub(super) toolchain: Toolchain,
    pub(super) reason: Reason,
    pub(super) install: String,
    pub(super) build: String,
    pub(super) build_from: String,
    /// Relative to the top.
    pub(super) key_files: Vec<String>,
}

/// None: there is no script `build`.
///
/// # Errors
/// `invalid-package-json` or `invalid-node-version`.
pub(super) fn find(tree: &Tree<'_>, settings: &ServiceSettings) -> Result<Option<Frontend>, Diagnosis> {
    let Some(package) = PackageJson::read(tree)? else { return Ok(None) };
    if package.script("build").is_none() {
        return Ok(None);
    }
    let (toolchain, reason) = node_version::choose(tree, &package, settings)?;
    let choice = package_manager::choose(tree, &package, None);
    let own_lockfile = choice.lockfile.filter(|_| choice.directory.directory() == tree.directory());
    // The plan has one package manager, and that is Python's: others of Node.js than npm come through npm.
    let version = choice.manager.version.as_deref().filter(|version| !version.contains(char::is_whitespace));
    let runner = |name: &str| format!("npx --yes {name}@{}", version.unwrap_or("latest"));
    let (install, run) = match (choice.manager.name, own_lockfile.is_some()) {
        (PackageManagerName::Pnpm, true) => (
            format!("{} install --frozen-lockfile --prod=false", runner("pnpm")),
            format!("{} run build", runner("pnpm")),
        ),
        (PackageManagerName::Yarn, true) => {
            (format!("{} install --production=false", runner("yarn")), format!("{} run build", runner("yarn")))
        }
        (PackageManagerName::Npm, true) => ("npm ci --include=dev".to_owned(), "npm run build".to_owned()),
        _ => ("npm install --include=dev".to_owned(), "npm run build".to_owned()),
    };
    let names = [PACKAGE_JSON, ".npmrc"].into_iter().chain(own_lockfile);
    let key_files = names.filter(|name| tree.has(name)).map(|name| tree.path(name)).collect();
    let build_from = format!("the script `build` in `{}`", tree.path(PACKAGE_JSON));
    Ok(Some(Frontend { toolchain, reason, install, build: run, build_from, key_files }))
}
