//! What packages and projects require: of each other, of the runtime, of the system, of the package manager.

use super::{manifest, name_of, without_prefix};
use crate::diagnosis::case::Case;
use crate::diagnosis::entry::{
    BUILD_SCRIPTS_IGNORED, ENGINE_MISMATCH, PACKAGE_MANAGER_MISMATCH, PEER_CONFLICT, PLATFORM_MISMATCH,
    UNDECLARED_DEPENDENCY, WORKSPACE_DEPENDENCY,
};
use crate::diagnosis::python;
use slipway_types::Diagnosis;

pub(super) fn peer_conflict(case: &Case<'_>) -> Option<Diagnosis> {
    let why = npm_conflict(case).or_else(|| pnpm_conflict(case)).or_else(|| python::conflict(case))?;
    let diagnosis = PEER_CONFLICT
        .diagnosis("two packages need different versions of a third")
        .at(manifest(case))
        .because(why)
        .hint("choose versions that fit together, install where you develop, and commit the lockfile");
    Some(if python::is_of(case) {
        diagnosis
    } else if case.output.contains("ERR_PNPM_PEER_DEP_ISSUES") {
        diagnosis.hint("to accept the conflict, remove `strict-peer-dependencies` from `.npmrc` or `strictPeerDependencies` from `pnpm-workspace.yaml`")
    } else {
        diagnosis.hint("to accept the conflict, write `legacy-peer-deps=true` into `.npmrc`")
    })
}

fn npm_conflict(case: &Case<'_>) -> Option<String> {
    case.output.find(&["ERESOLVE unable to resolve dependency tree", "ERESOLVE could not resolve"])?;
    let found = case.output.after("Found: ");
    let wanted = case.output.lines().map(without_prefix).find_map(|line| line.strip_prefix("peer "));
    Some(match (wanted, found) {
        (Some(wanted), Some(found)) => format!("a peer dependency is {wanted}, but {found} is installed"),
        _ => case.with_last_lines("peer dependencies can't be satisfied together"),
    })
}

/// `└─┬ react-dom 18.2.0` and `  └── ✕ unmet peer react@^18.2.0: found 19.0.0`.
fn pnpm_conflict(case: &Case<'_>) -> Option<String> {
    case.output.find(&["ERR_PNPM_PEER_DEP_ISSUES"])?;
    let unmet = case.output.pairs().find_map(|(package, line)| Some((package, line.split_once('✕')?.1.trim())));
    Some(match unmet {
        Some((package, unmet)) => {
            format!("{unmet}, for {}", package.trim_start_matches(['└', '├', '─', '┬', ' ', '│']))
        }
        None => case.with_last_lines("peer dependencies can't be satisfied together"),
    })
}

pub(super) fn engine_mismatch(case: &Case<'_>) -> Option<Diagnosis> {
    if let Some(why) = python::version_refused(case) {
        return Some(
            ENGINE_MISMATCH
                .diagnosis("a package refuses this version of Python")
                .at(manifest(case))
                .because(why)
                .hint("set `requires-python` in `pyproject.toml`, `.python-version`, or `build.python_version` in `slipway.toml`, to a version that fits")
                .hint("or choose a version of the package that fits this Python"),
        );
    }
    let said =
        ["code EBADENGINE", "ERR_PNPM_UNSUPPORTED_ENGINE", " is incompatible with this module. Expected version"];
    let line = case.output.find(&said)?;
    let required = case.output.after("Required: ").or_else(|| case.output.after("Expected version"));
    let required = required.map(|text| text.trim_start_matches([':', ' ']).split(". Got").next().unwrap_or(text));
    let actual = case.output.after("Actual: ").or_else(|| case.output.after("Got"));
    let actual = actual.map(|text| text.trim_start_matches([':', ' ']));
    let why = match (required, actual) {
        (Some(required), Some(actual)) => format!("required is {required}, but there is {}", actual.trim()),
        _ => without_prefix(line).to_owned(),
    };
    let of_node = required.is_none_or(|text| !text.contains("\"npm\"")) && !case.output.contains("engines.pnpm");
    let diagnosis = if of_node {
        ENGINE_MISMATCH.diagnosis("a package refuses this version of Node.js").hint(
            "set `engines.node` in `package.json`, or `build.node_version` in `slipway.toml`, to a version that fits",
        )
    } else {
        ENGINE_MISMATCH
            .diagnosis("the project refuses this version of the package manager")
            .hint("name a version that fits by `packageManager` in `package.json`, such as `\"npm@11.6.0\"`, or correct `engines`")
    };
    let strict = case.output.contains("EBADENGINE");
    let diagnosis = if strict { diagnosis.hint("or remove `engine-strict` from `.npmrc`") } else { diagnosis };
    Some(diagnosis.at(manifest(case)).because(why))
}

/// EBADPLATFORM of npm, and what Yarn and pnpm say instead.
pub(super) fn platform_mismatch(case: &Case<'_>) -> Option<Diagnosis> {
    let npm = || case.output.find(&["Unsupported platform for "]);
    let yarn =
        || case.output.lines().find(|line| line.contains("The platform \"") && line.contains("\" is incompatible"));
    let pnpm = || case.output.find(&["ERR_PNPM_UNSUPPORTED_PLATFORM"]);
    let line = npm().or_else(yarn).or_else(pnpm)?;
    let line = without_prefix(line);
    let package = line.strip_prefix("Unsupported platform for ").unwrap_or(line).split(": ").next().unwrap_or_default();
    let name = name_of(package).to_owned();
    Some(
        PLATFORM_MISMATCH
            .diagnosis(format!("the package `{package}` is for another operating system or processor"))
            .at(manifest(case))
            .because(line.to_owned())
            .hint(format!("move `{name}` from `dependencies` to `optionalDependencies`, and commit the lockfile"))
            .hint("or remove it, if nothing needs it on Linux"),
    )
}

/// `workspace:` where there is no workspace, or not that package.
pub(super) fn workspace_dependency(case: &Case<'_>) -> Option<Diagnosis> {
    let npm = || case.output.find(&["Unsupported URL Type \"workspace:\""]);
    let pnpm = || case.output.find(&["ERR_PNPM_WORKSPACE_PKG_NOT_FOUND"]);
    let others = || {
        case.output.lines().find(|line| {
            line.contains("Workspace not found")
                || (line.contains("Workspace dependency \"") && line.contains("not found"))
        })
    };
    let is_npm = npm().is_some();
    let line = npm().or_else(pnpm).or_else(others)?;
    let diagnosis = WORKSPACE_DEPENDENCY
        .diagnosis("a dependency on a package of the workspace can't be satisfied")
        .at(case.package_json())
        .because(without_prefix(line).trim_start_matches("In : ").to_owned());
    let diagnosis = if is_npm {
        diagnosis.hint("npm knows no `workspace:`: write `\"*\"`, or use the package manager that the project is made for, by `packageManager` in `package.json`")
    } else {
        diagnosis
    };
    Some(
        diagnosis
            .hint("deploy the whole repository and set `root` to the directory of the app: a part of it has not the other packages")
            .hint("check that the workspace's configuration covers the package's directory"),
    )
}

pub(super) fn build_scripts_ignored(case: &Case<'_>) -> Option<Diagnosis> {
    let packages = case.output.after("ERR_PNPM_IGNORED_BUILDS")?;
    let names = packages.rsplit(": ").next().unwrap_or(packages).trim_end_matches('.');
    Some(
        BUILD_SCRIPTS_IGNORED
            .diagnosis(format!("pnpm may not run the install scripts of {names}"))
            .at(case.package_json())
            .because(packages.to_owned())
            .hint("run `pnpm approve-builds` where you develop and commit what it writes: `onlyBuiltDependencies` or `allowBuilds` in `pnpm-workspace.yaml`")
            .hint("or remove `strictDepBuilds`, if the packages work without their scripts"),
    )
}

/// `packageManager` or `devEngines` says another one than the command runs.
pub(super) fn package_manager_mismatch(case: &Case<'_>) -> Option<Diagnosis> {
    let dev_engines =
        || case.output.lines().find(|line| line.contains("EBADDEVENGINES") && line.contains("\"packageManager\""));
    let said = [
        "This project is configured to use ",
        "ERR_PNPM_OTHER_PM_EXPECTED",
        "ERR_PNPM_BAD_PM_VERSION",
        "This project's package.json defines \"packageManager\"",
        "for installation in this project",
    ];
    let line = dev_engines().or_else(|| case.output.find(&said))?;
    Some(
        PACKAGE_MANAGER_MISMATCH
            .diagnosis(format!("the project wants another package manager than {} runs", case.command_words()))
            .at(case.package_json())
            .because(without_prefix(line).to_owned())
            .hint("remove `build.install_command` from `slipway.toml`: the package manager that `package.json` names is then chosen")
            .hint("or correct `packageManager` or `devEngines` in `package.json`"),
    )
}

/// Plug'n'Play tells what is there by accident from what is declared.
pub(in crate::diagnosis) fn undeclared_dependency(case: &Case<'_>) -> Option<Diagnosis> {
    let said = ["but it isn't declared in your dependencies", "but it isn't declared in its dependencies"];
    let line = case.output.find(&said)?;
    let package = line.split_once("tried to access ").and_then(|(_, rest)| rest.split([',', ' ']).next())?;
    Some(
        UNDECLARED_DEPENDENCY
            .diagnosis(format!("`{package}` is used but not declared"))
            .at(case.package_json())
            .because(line.trim().trim_start_matches("Error: ").to_owned())
            .hint(format!("declare it: `yarn add {package}`, and commit `package.json` and `yarn.lock`"))
            .hint("if a dependency forgot to declare it, add `packageExtensions` to `.yarnrc.yml`"),
    )
}
