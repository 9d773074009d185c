//! Scripts that a package runs when it is installed.

use super::without_prefix;
use crate::diagnosis::case::Case;
use crate::diagnosis::entry::INSTALL_SCRIPT_FAILED;
use slipway_types::Diagnosis;

/// A script that failed for a reason that nobody knows but its output.
pub(in crate::diagnosis) fn script_failed(case: &Case<'_>) -> Option<Diagnosis> {
    let (package, command) = npm_script(case).or_else(|| pnpm_script(case))?;
    let what = match package {
        Some(package) => format!("the install script of `{package}` failed"),
        None => "an install script of the project failed".to_owned(),
    };
    Some(
        INSTALL_SCRIPT_FAILED
            .diagnosis(what)
            .at(format!("`{command}`"))
            .because(case.with_last_lines("the script ended with an error"))
            .hint("run the same on a clean checkout: files that git ignores are not here")
            .hint("if it needs a variable, set it for builds: `slipway env set --build NAME=…`"),
    )
}

/// The package, none for the project itself, and the command: `npm error path …`, `npm error command sh -c …`.
fn npm_script<'c>(case: &'c Case<'_>) -> Option<(Option<&'c str>, &'c str)> {
    let path = case.output.lines().map(without_prefix).find_map(|line| line.strip_prefix("path "))?;
    let command = case.output.lines().map(without_prefix).find_map(|line| line.strip_prefix("command sh -c "))?;
    Some((path.rsplit_once("node_modules/").map(|(_, package)| package), command))
}

/// `ELIFECYCLE  Command failed with exit code 7.` below `. postinstall$ node setup.js`.
fn pnpm_script<'c>(case: &'c Case<'_>) -> Option<(Option<&'c str>, &'c str)> {
    case.output.find(&["ELIFECYCLE"])?;
    let line = case.output.lines().rev().find(|line| line.contains("install$ ") || line.contains("prepare$ "))?;
    let (place, command) = line.split_once("$ ")?;
    let package = place.split_once("node_modules/").map(|(_, rest)| rest).and_then(|rest| rest.rsplit_once(' '));
    Some((package.map(|(package, _)| package), command.trim()))
}
