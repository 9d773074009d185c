//! What shells and package managers say about commands, whatever the phase.

use super::case::Case;
use super::entry::{COMMAND_FAILED, COMMAND_NOT_FOUND, MISSING_SCRIPT, PERMISSION_DENIED};
use super::module;
use super::output::first_quoted;
use slipway_types::Diagnosis;

/// Exit status with which a shell says that there is no such program (POSIX, 2.8.2).
const NOT_FOUND: i32 = 127;
/// Exit status with which a shell says that a file can't be executed (POSIX, 2.8.2).
const NOT_EXECUTABLE: i32 = 126;

/// `Missing script: "build"` of npm, and the same of pnpm, yarn and bun.
pub(super) fn missing_script(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.lines().find(|line| {
        line.contains("Missing script: ")
            || line.contains("ERR_PNPM_NO_SCRIPT")
            || line.contains("Couldn't find a script named")
            || (line.contains("error Command \"") && line.contains("\" not found"))
            || line.contains("error: Script not found")
    })?;
    let script = first_quoted(line).or_else(|| line.rsplit(": ").next()).unwrap_or_default().trim();
    let file = case.package_json();
    Some(
        MISSING_SCRIPT
            .diagnosis(format!("there is no script `{script}`"))
            .at(file.clone())
            .because(format!("{} runs the script `{script}`, which `{file}` does not define", case.command_words()))
            .hint(format!("add `\"{script}\"` to `scripts` in `{file}`"))
            .hint("or set another command in `slipway.toml`"),
    )
}

/// `sh: 1: next: not found` of dash, `bash: line 1: next: command not found` of bash.
pub(super) fn command_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    if case.exit_code() != Some(NOT_FOUND) {
        return None;
    }
    let name = case.output.lines().rev().find_map(|line| {
        let rest =
            line.trim().strip_suffix(": not found").or_else(|| line.trim().strip_suffix(": command not found"))?;
        rest.rsplit(": ").next()
    })?;
    if let Some(diagnosis) = module::case_only(case, "", name.trim_start_matches("./")).filter(|_| name.contains('/')) {
        return Some(diagnosis);
    }
    let hint = match name.contains('/') {
        true => format!("check that `{name}` is in the source: case matters, and files that git ignores are not sent"),
        false => format!(
            "if a package brings `{name}`, add it to the dependencies of `{}` and commit the lockfile",
            case.package_json()
        ),
    };
    Some(
        COMMAND_NOT_FOUND
            .diagnosis(format!("there is no command `{name}`"))
            .at(case.place())
            .because(format!("the shell found no program `{name}` (exit status {NOT_FOUND})"))
            .hint(hint)
            .hint("programs of the operating system are only those of the base image"),
    )
}

/// `sh: 1: ./x.sh: Permission denied`.
pub(super) fn permission_denied(case: &Case<'_>) -> Option<Diagnosis> {
    if case.exit_code() != Some(NOT_EXECUTABLE) {
        return None;
    }
    let name = case.output.lines().rev().find_map(|line| {
        let rest = line
            .trim()
            .strip_suffix(": Permission denied")
            .or_else(|| line.trim().strip_suffix(": permission denied"))?;
        rest.rsplit(": ").next()
    })?;
    Some(
        PERMISSION_DENIED
            .diagnosis(format!("`{name}` may not be executed"))
            .at(case.place())
            .because(format!("the shell found `{name}` but has no permission to run it (exit status {NOT_EXECUTABLE})"))
            .hint(format!(
                "make it executable and commit that: `git update-index --chmod=+x {}`",
                name.trim_start_matches("./")
            ))
            .hint(format!("or call its interpreter: `sh {name}`")),
    )
}

/// A line of a log without what loggers put in front: `ERROR:    `, `error: `, `  × `.
pub(super) fn plain(line: &str) -> &str {
    ["ERROR: ", "error: ", "Error: ", "× "]
        .iter()
        .fold(line.trim(), |line, kind| line.strip_prefix(kind).unwrap_or(line).trim())
}

/// A command that failed for a reason that nobody knows but its output.
pub(super) fn failed(case: &Case<'_>) -> Option<Diagnosis> {
    let exit = case.exit_words()?;
    Some(
        COMMAND_FAILED
            .diagnosis(format!("{} {exit}", case.command_words()))
            .at(case.place())
            .because(case.with_last_lines(&format!("it {exit}")))
            .hint("the log of the phase holds the whole output")
            .hint("run the same command on a clean checkout: files that git ignores are not here"),
    )
}
