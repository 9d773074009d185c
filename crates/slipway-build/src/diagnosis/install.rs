//! What npm, pnpm, Yarn, Bun, pip, uv and Poetry say when an install fails.

mod lockfile;
mod registry;
mod requirement;
mod script;

pub(super) use requirement::undeclared_dependency;
pub(super) use script::script_failed;

use super::case::Case;
use super::{Rule, native, python};

/// Most telling first: what a package manager says of its own files before what a network or a script says.
pub(super) const RULES: &[Rule] = &[
    requirement::package_manager_mismatch,
    lockfile::invalid,
    lockfile::outdated,
    lockfile::multiple,
    lockfile::out_of_step,
    lockfile::missing,
    registry::private_git_dependency,
    registry::certificate_untrusted,
    registry::authentication,
    registry::forbidden,
    requirement::workspace_dependency,
    requirement::platform_mismatch,
    requirement::engine_mismatch,
    registry::package_not_found,
    registry::version_not_found,
    requirement::peer_conflict,
    requirement::build_scripts_ignored,
    registry::damaged,
    native::build_failed,
    registry::unreachable,
];

/// A line of a package manager without its own prefix: `npm error 404 …`, `error …` of Yarn 1, `➤ YN0028: │ …`.
fn without_prefix(line: &str) -> &str {
    let line = line.trim();
    let line = line.strip_prefix("npm error").or_else(|| line.strip_prefix("npm ERR!")).unwrap_or(line).trim();
    if line.starts_with('➤') {
        return line.split_once(['│', '·']).map_or(line, |(_, text)| text.trim());
    }
    // pnpm sets its codes off with spaces of other widths.
    let is_code = line.starts_with("ERR_PNPM_") || line.starts_with("ERROR") || line.starts_with("WARN");
    let line = match line.split_once(|c: char| c.is_whitespace() && c != ' ').filter(|_| is_code) {
        Some((_, text)) => text,
        None => line.strip_prefix("ERR_PNPM_").and_then(|rest| rest.split_once(' ')).map_or(line, |(_, text)| text),
    };
    ["404 ", "403 ", "401 ", "notsup ", "notarget ", "ERESOLVE ", "EBADDEVENGINES ", "error ", "error: ", "ERROR: "]
        .iter()
        .fold(line.trim(), |line, kind| line.strip_prefix(kind).unwrap_or(line).trim_start())
}

/// The manifest that names the dependencies.
fn manifest(case: &Case<'_>) -> String {
    if python::is_of(case) { python::manifest(case) } else { case.package_json() }
}

/// The name in `@scope/name@1.0.0`, `name==1.0`, `name>=2`.
fn name_of(package: &str) -> &str {
    let end = package.char_indices().skip(1).find(|(_, c)| matches!(c, '@' | '=' | '<' | '>' | '~' | '!' | ' ' | '['));
    end.map_or(package, |(at, _)| &package[..at])
}
