//! Plain files: a site that nothing has to build.

use super::site;
use crate::tree::Tree;
use slipway_types::plan::Plan;
use slipway_types::settings::ServiceSettings;

/// Directories in which a finished site is looked for, best first; the empty one is the service's own.
const DIRECTORIES: [&str; 5] = ["", "public", "dist", "site", "www"];

const FRONT_PAGE: &str = "index.html";

/// The directory with the front page.
pub(super) fn directory(tree: &Tree<'_>) -> Option<&'static str> {
    DIRECTORIES.into_iter().find(|directory| match *directory {
        "" => tree.has(FRONT_PAGE),
        directory => tree.has(&format!("{directory}/{FRONT_PAGE}")),
    })
}

/// The plan of a directory that is published as it is.
pub(super) fn plan(tree: &Tree<'_>, directory: &str, settings: &ServiceSettings) -> Plan {
    let mut reasons = Vec::new();
    let build = site::build_command(settings, None, &mut reasons);
    let page = if directory.is_empty() { FRONT_PAGE.to_owned() } else { format!("{directory}/{FRONT_PAGE}") };
    let from = format!("`{}`, and nothing that would have to be built", tree.path(&page));
    let site = site::decide(settings, directory, None, &from, &mut reasons);
    site::plan(tree, site, build, reasons)
}
