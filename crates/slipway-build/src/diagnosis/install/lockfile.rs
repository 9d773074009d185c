//! Lockfiles that are missing, unreadable, of another time or of another package manager.

use super::without_prefix;
use crate::diagnosis::case::Case;
use crate::diagnosis::entry::{
    LOCKFILE_INVALID, LOCKFILE_MISSING, LOCKFILE_OUT_OF_STEP, MULTIPLE_LOCKFILES, OUTDATED_LOCKFILE,
};
use slipway_types::Diagnosis;
use slipway_types::plan::PackageManagerName;

/// Differences between lockfile and manifest that a diagnosis names.
const DIFFERENCES_NAMED_MAX: usize = 4;

const OUT_OF_STEP: [&str; 9] = [
    "are in sync. Please update your lock file",
    "ERR_PNPM_OUTDATED_LOCKFILE",
    "ERR_PNPM_LOCKFILE_CONFIG_MISMATCH",
    "Your lockfile needs to be updated",
    "The lockfile would have been modified by this install",
    "The lockfile would have been created by this install",
    "lockfile had changes, but lockfile is frozen",
    "needs to be updated, but `--locked` was provided",
    "changed significantly since poetry.lock was last generated",
];

/// Lockfiles of JavaScript, with their package managers.
const LOCKFILES: [(&str, PackageManagerName); 6] = [
    ("package-lock.json", PackageManagerName::Npm),
    ("npm-shrinkwrap.json", PackageManagerName::Npm),
    ("pnpm-lock.yaml", PackageManagerName::Pnpm),
    ("yarn.lock", PackageManagerName::Yarn),
    ("bun.lock", PackageManagerName::Bun),
    ("bun.lockb", PackageManagerName::Bun),
];

pub(super) fn out_of_step(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.find(&OUT_OF_STEP)?;
    let differences: Vec<String> = case.output.lines().filter_map(difference).take(DIFFERENCES_NAMED_MAX).collect();
    let why = if differences.is_empty() { without_prefix(line).to_owned() } else { differences.join("; ") };
    let (lockfile, command) = lockfile_of(case);
    let manifest = super::manifest(case);
    if !differences.is_empty() && differences.iter().all(|difference| is_left_out(difference)) {
        return Some(left_out(&lockfile, &why));
    }
    Some(
        LOCKFILE_OUT_OF_STEP
            .diagnosis(format!("`{lockfile}` and `{manifest}` do not agree"))
            .at(lockfile.clone())
            .because(why)
            .hint(format!("run `{command}` where you develop and commit the changed `{lockfile}`")),
    )
}

/// `Missing: left-pad@ from lock file`: npm knows no version of it.
fn is_left_out(difference: &str) -> bool {
    difference.starts_with("Missing: ") && difference.contains("@ from lock file")
}

/// npm leaves an optional package out of the lockfile when the registry does not have it, and then refuses that lockfile. Another
/// `npm install` changes nothing about it.
fn left_out(lockfile: &str, why: &str) -> Diagnosis {
    LOCKFILE_OUT_OF_STEP
        .diagnosis(format!("`{lockfile}` leaves out optional packages"))
        .at(lockfile)
        .because(format!("the registry did not have them when npm wrote the file: {why}"))
        .hint(format!(
            "remove `{lockfile}` and `node_modules`, run `npm install` when the registry has them, and commit the file"
        ))
        .hint("or do without them: `install_command = \"npm install\"` under `[build]` in `slipway.toml`")
}

/// Out of step, and the lockfile of another package manager lies beside it: which one is kept up is the question.
pub(super) fn multiple(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.find(&OUT_OF_STEP)?;
    let (lockfile, _) = lockfile_of(case);
    let used = LOCKFILES.iter().find(|(name, _)| lockfile.ends_with(name))?;
    let directory = lockfile.strip_suffix(used.0)?;
    let other = LOCKFILES
        .iter()
        .filter(|(_, manager)| *manager != used.1)
        .find(|(name, _)| case.has_path(&format!("{directory}{name}")))?;
    let other_path = format!("{directory}{}", other.0);
    Some(
        MULTIPLE_LOCKFILES
            .diagnosis(format!("`{lockfile}` is out of step, and `{other_path}` lies beside it"))
            .at(lockfile.clone())
            .because(format!("{}: {}", used.1.as_str(), without_prefix(line)))
            .hint(format!("if the project uses {}, remove the stale lockfile: `git rm {lockfile}`", other.1.as_str()))
            .hint(format!(
                "if it uses {}, run `{} install`, then `git rm {other_path}`",
                used.1.as_str(),
                used.1.as_str()
            ))
            .hint("name the one that counts by `packageManager` in `package.json`"),
    )
}

/// `Missing: left-pad@1.3.0 from lock file`, `Invalid: lock file's a@1 does not satisfy a@2`, `* 1 dependencies were
/// added: x@1`.
fn difference(line: &str) -> Option<String> {
    let line = without_prefix(line);
    let is_npm = line.starts_with("Missing: ") || line.starts_with("Invalid: ");
    let is_pnpm = (line.starts_with("- ") && line.contains("(lockfile: "))
        || (line.starts_with("* ") && line.contains(" dependencies "));
    (is_npm || is_pnpm)
        .then(|| line.trim_start_matches("Invalid: ").trim_start_matches("- ").trim_start_matches("* ").to_owned())
}

/// The lockfile by its path, and the command that brings it up to date.
pub(super) fn lockfile_of(case: &Case<'_>) -> (String, String) {
    let manager = case.package_manager();
    let names: &[&str] = match manager {
        PackageManagerName::Npm => &["package-lock.json", "npm-shrinkwrap.json"],
        PackageManagerName::Pnpm => &["pnpm-lock.yaml"],
        PackageManagerName::Yarn => &["yarn.lock"],
        PackageManagerName::Bun => &["bun.lock", "bun.lockb"],
        PackageManagerName::Pip => &["requirements.txt"],
        PackageManagerName::Uv => &["uv.lock"],
        PackageManagerName::Poetry => &["poetry.lock"],
    };
    let command = match manager {
        PackageManagerName::Pip => "pip-compile --generate-hashes".to_owned(),
        PackageManagerName::Uv => "uv lock".to_owned(),
        PackageManagerName::Poetry => "poetry lock".to_owned(),
        other => format!("{} install", other.as_str()),
    };
    let key_files = case.plan.and_then(|plan| plan.install.as_ref()).map(|install| install.key_files.as_slice());
    let known =
        key_files.unwrap_or_default().iter().find(|path| names.contains(&path.rsplit('/').next().unwrap_or_default()));
    (known.cloned().unwrap_or_else(|| names[0].to_owned()), command)
}

pub(super) fn missing(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "can only install with an existing package-lock.json",
        "ERR_PNPM_NO_LOCKFILE",
        "Unable to find lockfile at",
        "poetry.lock not found",
    ];
    case.output.find(&said)?;
    let (lockfile, command) = lockfile_of(case);
    Some(
        LOCKFILE_MISSING
            .diagnosis(format!("{} needs a lockfile and there is none", case.command_words()))
            .at(case.place())
            .because(format!("the command installs exactly what `{lockfile}` says, and the source has no such file"))
            .hint(format!(
                "run `{command}` where you develop and commit `{lockfile}`; check that git does not ignore it"
            ))
            .hint("or remove `build.install_command` from `slipway.toml`, then the fitting command is chosen"),
    )
}

/// Older formats: pnpm ignores the file, Yarn of today would write it anew, Bun says so.
pub(super) fn outdated(case: &Case<'_>) -> Option<Diagnosis> {
    let pnpm = || case.output.find(&["Ignoring not compatible lockfile", "ERR_PNPM_LOCKFILE_BREAKING_CHANGE"]);
    let migrated = || {
        // Yarn shows the old text as removed lines: entries of version 1 have no `resolution`.
        let old = case.output.lines().any(|line| line.contains("│ -  version \""));
        let refused = case.output.find(&["The lockfile would have been modified by this install"]);
        refused.filter(|_| old)
    };
    let bun = || case.output.find(&["Outdated lockfile version", "Unknown lockfile version"]);
    let line = pnpm().or_else(migrated).or_else(bun)?;
    let (lockfile, command) = lockfile_of(case);
    let manager = case.package_manager();
    let version = case.plan.and_then(|plan| plan.package_manager.as_ref()).and_then(|found| found.version.clone());
    let reader =
        version.map_or_else(|| manager.as_str().to_owned(), |version| format!("{} {version}", manager.as_str()));
    Some(
        OUTDATED_LOCKFILE
            .diagnosis(format!("`{lockfile}` is of a format that {reader} does not take"))
            .at(lockfile.clone())
            .because(match manager {
                PackageManagerName::Yarn => format!("its entries are those of Yarn 1: {}", without_prefix(line)),
                _ => without_prefix(line).to_owned(),
            })
            .hint(format!("run `{command}` with {reader} where you develop and commit the changed `{lockfile}`"))
            .hint("or name the version that wrote the file: `packageManager` in `package.json`"),
    )
}

/// What no package manager could have written.
pub(super) fn invalid(case: &Case<'_>) -> Option<Diagnosis> {
    let (lockfile, command) = lockfile_of(case);
    let why = broken_by_pnpm(case).or_else(|| broken_by_npm(case)).or_else(|| broken_by_others(case))?;
    Some(
        LOCKFILE_INVALID
            .diagnosis(format!("`{lockfile}` can't be read"))
            .at(lockfile.clone())
            .because(why)
            .hint("find the marks of a merge conflict: `git grep -n '^<<<<<<<'`")
            .hint(format!("take the file of one side, run `{command}` where you develop and commit it")),
    )
}

fn broken_by_pnpm(case: &Case<'_>) -> Option<String> {
    if let Some(line) = case.output.find(&["ERR_PNPM_BROKEN_LOCKFILE"]) {
        return Some(without_prefix(line).to_owned());
    }
    // pnpm takes out conflict marks itself; what is left may still be no YAML.
    case.output.find(&["at autofixMergeConflicts"])?;
    case.output.after("pnpm: ").map(|message| format!("the text with conflict marks is no YAML: {message}"))
}

/// npm takes a file that is no JSON for none at all.
fn broken_by_npm(case: &Case<'_>) -> Option<String> {
    case.output.find(&["can only install with an existing package-lock.json"])?;
    let lockfile = lockfile_of(case).0;
    case.has_path(&lockfile).then(|| format!("npm finds no lockfile, although there is `{lockfile}`: it is no JSON that npm could read, or has no `lockfileVersion`"))
}

fn broken_by_others(case: &Case<'_>) -> Option<String> {
    let said = [
        "Failed to parse lockfile",
        "failed to parse lockfile",
        "Failed to parse `uv.lock`",
        "Unable to read the lock file",
        "Invalid value type 1:",
    ];
    case.output.find(&said).map(|line| without_prefix(line).to_owned())
}
