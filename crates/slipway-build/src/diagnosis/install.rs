//! What npm, pnpm, yarn and bun say when an install fails.

use super::Rule;
use super::case::Case;
use super::entry::{
    ENGINE_MISMATCH, INSTALL_SCRIPT_FAILED, LOCKFILE_MISSING, LOCKFILE_OUT_OF_STEP, PACKAGE_DAMAGED, PACKAGE_NOT_FOUND,
    PACKAGE_VERSION_NOT_FOUND, PEER_CONFLICT, REGISTRY_AUTHENTICATION, REGISTRY_UNREACHABLE,
};
use super::output::first_quoted;
use slipway_types::Diagnosis;
use slipway_types::plan::PackageManagerName;

pub(super) const RULES: &[Rule] = &[
    lockfile_out_of_step,
    lockfile_missing,
    authentication,
    package_not_found,
    version_not_found,
    peer_conflict,
    engine_mismatch,
    damaged,
    unreachable_registry,
    script_failed,
];

/// Differences between lockfile and manifest that a diagnosis names.
const DIFFERENCES_NAMED_MAX: usize = 4;

fn lockfile_out_of_step(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "are in sync. Please update your lock file",
        "ERR_PNPM_OUTDATED_LOCKFILE",
        "ERR_PNPM_LOCKFILE_CONFIG_MISMATCH",
        "Your lockfile needs to be updated",
        "The lockfile would have been modified by this install",
        "lockfile had changes, but lockfile is frozen",
    ];
    let line = case.output.lines().find(|line| said.iter().any(|text| line.contains(text)))?;
    let differences: Vec<String> = case.output.lines().filter_map(difference).take(DIFFERENCES_NAMED_MAX).collect();
    let why = if differences.is_empty() { without_prefix(line).to_owned() } else { differences.join("; ") };
    let (lockfile, command) = lockfile_of(case);
    Some(
        LOCKFILE_OUT_OF_STEP
            .diagnosis(format!("`{lockfile}` and `package.json` do not agree"))
            .at(lockfile.clone())
            .because(why)
            .hint(format!("run `{command}` where you develop and commit the changed `{lockfile}`")),
    )
}

/// `Missing: left-pad@1.3.0 from lock file`, `Invalid: lock file's a@1 does not satisfy a@2`.
fn difference(line: &str) -> Option<String> {
    let line = without_prefix(line);
    let is_npm = line.starts_with("Missing: ") || line.starts_with("Invalid: ");
    let is_pnpm = line.starts_with("- ") && line.contains("(lockfile: ");
    (is_npm || is_pnpm).then(|| line.trim_start_matches("Invalid: ").trim_start_matches("- ").to_owned())
}

/// The lockfile by its path, and the command that brings it up to date.
fn lockfile_of(case: &Case<'_>) -> (String, String) {
    let manager = case.plan.and_then(|plan| plan.package_manager.as_ref()).map(|manager| manager.name);
    let manager = manager.unwrap_or_else(|| manager_of(case.command().unwrap_or_default()));
    let names: &[&str] = match manager {
        PackageManagerName::Npm => &["package-lock.json", "npm-shrinkwrap.json"],
        PackageManagerName::Pnpm => &["pnpm-lock.yaml"],
        PackageManagerName::Yarn => &["yarn.lock"],
        PackageManagerName::Bun => &["bun.lock", "bun.lockb"],
        PackageManagerName::Pip => &["requirements.txt"],
        PackageManagerName::Uv => &["uv.lock"],
        PackageManagerName::Poetry => &["poetry.lock"],
    };
    let key_files = case.plan.and_then(|plan| plan.install.as_ref()).map(|install| install.key_files.as_slice());
    let known =
        key_files.unwrap_or_default().iter().find(|path| names.contains(&path.rsplit('/').next().unwrap_or_default()));
    (known.cloned().unwrap_or_else(|| names[0].to_owned()), format!("{} install", manager.as_str()))
}

fn manager_of(command: &str) -> PackageManagerName {
    match command.split_whitespace().next() {
        Some("pnpm") => PackageManagerName::Pnpm,
        Some("yarn") => PackageManagerName::Yarn,
        Some("bun") => PackageManagerName::Bun,
        _ => PackageManagerName::Npm,
    }
}

fn lockfile_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let said = ["can only install with an existing package-lock.json", "ERR_PNPM_NO_LOCKFILE"];
    said.iter().find(|text| case.output.contains(text))?;
    let (lockfile, command) = lockfile_of(case);
    Some(
        LOCKFILE_MISSING
            .diagnosis(format!("{} needs a lockfile and there is none", case.command_words()))
            .at(case.place())
            .because(format!(
                "the command installs exactly what `{lockfile}` says, and the file is missing or too old to be read"
            ))
            .hint(format!("run `{command}` where you develop and commit `{lockfile}`"))
            .hint("or remove `build.install_command` from `slipway.toml`, then the fitting command is chosen"),
    )
}

fn authentication(case: &Case<'_>) -> Option<Diagnosis> {
    let said = ["code E401", "code E403", "code ENEEDAUTH", "ERR_PNPM_FETCH_401", "ERR_PNPM_FETCH_403", "YN0041"];
    let at = case.output.lines().position(|line| said.iter().any(|text| line.contains(text)))?;
    let line = case.output.lines().skip(at).find(|line| !line.contains(" code E"))?;
    Some(
        REGISTRY_AUTHENTICATION
            .diagnosis("the package registry refused the credentials")
            .at(case.place())
            .because(without_prefix(line).to_owned())
            .hint("let `.npmrc` read the token from a variable: `//HOST/:_authToken=${NPM_TOKEN}`")
            .hint("set the variable for builds: `slipway env set --build --secret NPM_TOKEN=…`"),
    )
}

fn package_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let npm = || {
        case.output
            .lines()
            .find(|line| line.contains("404") && line.contains("'"))
            .and_then(first_quoted)
            .map(str::to_owned)
    };
    let e404 = case.output.contains("code E404").then(npm).flatten();
    let pnpm = || case.output.after("ERR_PNPM_FETCH_404").map(str::to_owned);
    let yarn =
        || case.output.after("Couldn't find package \"").and_then(|rest| rest.split('"').next()).map(str::to_owned);
    let package = e404.or_else(pnpm).or_else(yarn)?;
    Some(
        PACKAGE_NOT_FOUND
            .diagnosis(format!("the package `{package}` does not exist"))
            .at(case.package_json())
            .because(
                "the registry answers 404: there is no package of that name, or it is private and no token was sent",
            )
            .hint("check the spelling of the name")
            .hint("for a private package add its registry and token to `.npmrc`, the token by a variable"),
    )
}

fn version_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let npm = || case.output.after("No matching version found for ").map(|rest| rest.trim_end_matches('.').to_owned());
    let yarn = || {
        case.output
            .after("Couldn't find any versions for ")
            .map(|rest| rest.replace('"', "").replace(" that matches ", "@"))
    };
    let wanted = npm().or_else(yarn)?;
    let wanted = wanted.split(" while fetching").next().unwrap_or_default().trim();
    Some(
        PACKAGE_VERSION_NOT_FOUND
            .diagnosis(format!("no version matches `{wanted}`"))
            .at(case.package_json())
            .because("the package exists, but none of its versions matches")
            .hint(format!("`npm view {} versions` lists those there are", name_of(wanted))),
    )
}

/// The name in `@scope/name@1.0.0`.
fn name_of(package: &str) -> &str {
    package.char_indices().skip(1).find(|(_, c)| *c == '@').map_or(package, |(at, _)| &package[..at])
}

fn peer_conflict(case: &Case<'_>) -> Option<Diagnosis> {
    let said = ["ERESOLVE unable to resolve dependency tree", "ERESOLVE could not resolve", "ERR_PNPM_PEER_DEP_ISSUES"];
    said.iter().find(|text| case.output.contains(text))?;
    let found = case.output.after("Found: ");
    let wanted = case.output.lines().map(without_prefix).find_map(|line| line.strip_prefix("peer "));
    let why = match (wanted, found) {
        (Some(wanted), Some(found)) => format!("a peer dependency is {wanted}, but {found} is installed"),
        _ => case.with_last_lines("peer dependencies can't be satisfied together"),
    };
    Some(
        PEER_CONFLICT
            .diagnosis("two packages need different versions of a third")
            .at(case.package_json())
            .because(why)
            .hint("choose versions that fit together, install where you develop, and commit the lockfile")
            .hint("to accept the conflict, write `legacy-peer-deps=true` into `.npmrc`"),
    )
}

fn engine_mismatch(case: &Case<'_>) -> Option<Diagnosis> {
    let said = ["code EBADENGINE", "ERR_PNPM_UNSUPPORTED_ENGINE", "The engine \"node\" is incompatible"];
    let line = case.output.lines().find(|line| said.iter().any(|text| line.contains(text)))?;
    let required = case.output.after("Required: ").or_else(|| case.output.after("Expected version: "));
    let actual = case.output.after("Actual: ").or_else(|| case.output.after("Got: "));
    let why = match (required, actual) {
        (Some(required), Some(actual)) => format!("required is {required}, but there is {actual}"),
        _ => without_prefix(line).to_owned(),
    };
    Some(
        ENGINE_MISMATCH
            .diagnosis("a package refuses this version of Node.js")
            .at(case.package_json())
            .because(why)
            .hint("set `engines.node` in `package.json`, or `build.node_version` in `slipway.toml`, to a version that fits")
            .hint("or remove `engine-strict` from `.npmrc`"),
    )
}

fn damaged(case: &Case<'_>) -> Option<Diagnosis> {
    let said = ["code EINTEGRITY", "ERR_PNPM_TARBALL_INTEGRITY", "Integrity check failed", "YN0018"];
    let at = case.output.lines().position(|line| said.iter().any(|text| line.contains(text)))?;
    let detail = case.output.lines().skip(at).map(without_prefix).find(|line| line.contains("sha"));
    Some(
        PACKAGE_DAMAGED
            .diagnosis("a package is not the one that the lockfile names")
            .at(lockfile_of(case).0)
            .because(detail.unwrap_or("its digest differs from the lockfile's").to_owned())
            .hint("remove `node_modules` and the lockfile's entry, install again where you develop, and commit the lockfile"),
    )
}

fn unreachable_registry(case: &Case<'_>) -> Option<Diagnosis> {
    let codes =
        ["ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ERR_SOCKET_TIMEOUT", "EHOSTUNREACH"];
    let is_install = |line: &&str| {
        line.starts_with("npm error")
            || line.starts_with("npm ERR!")
            || line.contains("ERR_PNPM_META_FETCH_FAIL")
            || line.starts_with("error An unexpected error")
    };
    let line = case.output.lines().filter(is_install).find(|line| codes.iter().any(|code| line.contains(code)))?;
    let detail = case.output.after("reason: ").map(|reason| format!("; {reason}")).unwrap_or_default();
    Some(
        REGISTRY_UNREACHABLE
            .diagnosis("the package registry could not be reached")
            .at(case.place())
            .because(format!("{}{detail}", without_prefix(line)))
            .hint("deploy again: a network may fail once")
            .hint("check the registry's URL in `.npmrc`, and that the machine may reach it; private addresses must be allowed by the server's configuration"),
    )
}

fn script_failed(case: &Case<'_>) -> Option<Diagnosis> {
    let path = case.output.lines().map(without_prefix).find_map(|line| line.strip_prefix("path "))?;
    let command = case.output.lines().map(without_prefix).find_map(|line| line.strip_prefix("command sh -c "))?;
    let package = path.rsplit_once("node_modules/").map(|(_, package)| package);
    let what = match package {
        Some(package) => format!("the install script of `{package}` failed"),
        None => "an install script of the project failed".to_owned(),
    };
    Some(
        INSTALL_SCRIPT_FAILED
            .diagnosis(what)
            .at(format!("`{command}`"))
            .because(case.with_last_lines("the script ended with an error"))
            .hint("if it compiles native code, a version with a binary for this Node.js may exist: update the package")
            .hint("if it needs a program or a variable, the log of the phase says which"),
    )
}

/// A line of npm without `npm error` and its kind (`code`, `404`, `notsup` …).
fn without_prefix(line: &str) -> &str {
    let line = line.trim();
    let line = line.strip_prefix("npm error").or_else(|| line.strip_prefix("npm ERR!")).unwrap_or(line).trim();
    ["404 ", "notsup ", "notarget ", "ERESOLVE ", "ERR_PNPM_OUTDATED_LOCKFILE"]
        .iter()
        .find_map(|kind| line.strip_prefix(kind))
        .unwrap_or(line)
        .trim()
}
