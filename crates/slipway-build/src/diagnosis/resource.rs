//! Limits that were reached: memory, disk, time.

use super::case::Case;
use super::entry::{
    BUILD_MEMORY_OVER_BUDGET, DISK_FULL, HEAP_OUT_OF_MEMORY, OUT_OF_MEMORY, TIMED_OUT, TOO_MANY_OPEN_FILES,
    TOO_MANY_PROCESSES, WATCH_LIMIT,
};
use slipway_types::settings::{ByteSize, DurationMs};
use slipway_types::{Diagnosis, Phase};

/// The kernel killed something for memory.
pub(super) fn out_of_memory(case: &Case<'_>) -> Option<Diagnosis> {
    case.evidence.exit.filter(|exit| exit.out_of_memory)?;
    let limit = case.evidence.limits.map(|limits| format!(" of {}", ByteSize(limits.memory_bytes)));
    Some(
        OUT_OF_MEMORY
            .diagnosis(format!("{} ran out of memory", case.command_words()))
            .at(case.place())
            .because(format!(
                "the kernel killed a process when the sandbox reached its memory limit{}",
                limit.unwrap_or_default()
            ))
            .hint(format!("raise `{}` in `slipway.toml`", memory_key(case)))
            .hint("or make the work smaller: fewer parallel workers, no source maps, a lower `--max-old-space-size`"),
    )
}

/// The key of the limit that applies in the phase. The pre-deploy command runs with the app's limits.
fn memory_key(case: &Case<'_>) -> &'static str {
    if is_build(case) { "build.memory" } else { "resources.memory" }
}

fn is_build(case: &Case<'_>) -> bool {
    case.evidence.phase.is_some_and(|phase| phase < Phase::PreDeploy)
}

/// V8 gave up before the kernel did.
pub(super) fn heap_out_of_memory(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.lines().find(|line| line.contains("JavaScript heap out of memory"))?;
    let limit = case.evidence.limits.map(|limits| limits.memory_bytes >> 20);
    let heap = limit.map_or(2048, |mebibytes| mebibytes * 3 / 4);
    Some(
        HEAP_OUT_OF_MEMORY
            .diagnosis(format!("{} ran out of JavaScript heap", case.command_words()))
            .at(case.place())
            .because(line.trim().trim_start_matches("FATAL ERROR: ").to_owned())
            .hint(format!(
                "set the variable `NODE_OPTIONS=--max-old-space-size={heap}`, a part of the sandbox's memory in MB"
            ))
            .hint(format!("raise `{}` in `slipway.toml` with it", memory_key(case))),
    )
}

/// The writable layer is full: measured, or said by a program.
pub(super) fn disk_full(case: &Case<'_>) -> Option<Diagnosis> {
    let said = || {
        case.output.lines().find(|line| line.contains("ENOSPC: no space") || line.contains("No space left on device"))
    };
    let line = said().filter(|_| !case.output.contains("file watchers"));
    if !case.evidence.disk_full && line.is_none() {
        return None;
    }
    let limit = case.evidence.limits.map(|limits| format!(" of {}", ByteSize(limits.disk_bytes)));
    let said = line.map(|line| format!(": {}", line.trim())).unwrap_or_default();
    let key = if is_build(case) { "build.disk" } else { "resources.disk" };
    Some(
        DISK_FULL
            .diagnosis(format!("{} filled the disk of the sandbox", case.command_words()))
            .at(case.place())
            .because(format!("the writable layer reached its limit{}{said}", limit.unwrap_or_default()))
            .hint(format!("raise `{key}` in `slipway.toml`"))
            .hint("or write less: old caches, source maps and downloaded browsers are the usual bulk"),
    )
}

/// Its limit is larger than what the server gives to all builds together.
pub fn build_memory_over_budget(wanted: ByteSize, max: ByteSize) -> Diagnosis {
    BUILD_MEMORY_OVER_BUDGET
        .diagnosis(format!("the build may take {wanted} of memory, and all builds together may take {max}"))
        .at("`build.memory`")
        .because("a build begins only when its whole limit is free, which it never would be")
        .hint(format!("set `build.memory` in `slipway.toml` to {max} or less"))
        .hint("or raise `build.memory` in the server's `slipway-server.toml`, where the machine has more")
}

/// inotify has a limit of its own, which Node.js reports as a full disk or as too many open files.
pub(super) fn watch_limit(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "System limit for number of file watchers reached",
        "EMFILE: too many open files, watch",
        "inotify watch limit reached",
    ];
    let line = case.output.find(&said)?;
    Some(
        WATCH_LIMIT
            .diagnosis("the program watches more files than it may")
            .at(case.place())
            .because(line.trim().trim_start_matches("Error: ").to_owned())
            .hint("start it for production: `next start` instead of `next dev`, `node` instead of `nodemon`, no `--watch`"),
    )
}

pub(super) fn too_many_open_files(case: &Case<'_>) -> Option<Diagnosis> {
    let said = ["EMFILE: too many open files", "[Errno 24] Too many open files", "accept: too many open files"];
    let line = case.output.find(&said)?;
    Some(
        TOO_MANY_OPEN_FILES
            .diagnosis(format!("{} has too many files open", case.command_words()))
            .at(case.place())
            .because(line.trim().trim_start_matches("Error: ").to_owned())
            .hint("close what is opened: streams, connections and watchers; a number that only grows is a leak")
            .hint("open fewer at a time, by a queue with a bound instead of `Promise.all` over everything"),
    )
}

pub(super) fn too_many_processes(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "fork: retry: Resource temporarily unavailable",
        "Cannot fork",
        "pthread_create: Resource temporarily unavailable",
        "RuntimeError: can't start new thread",
    ];
    let spawned = |line: &&str| line.contains("spawn ") && line.trim_end().ends_with(" EAGAIN");
    let line = case.output.find(&said).or_else(|| case.output.lines().find(spawned))?;
    let key = if is_build(case) { "build.processes_max" } else { "resources.processes_max" };
    Some(
        TOO_MANY_PROCESSES
            .diagnosis(format!("{} may not start another process or thread", case.command_words()))
            .at(case.place())
            .because(line.trim().trim_start_matches("Error: ").to_owned())
            .hint("start fewer workers: many tools take the number of processors of the whole machine")
            .hint(format!("or raise `{key}` in `slipway.toml`")),
    )
}

/// The time of a command was over.
pub(super) fn timed_out(case: &Case<'_>) -> Option<Diagnosis> {
    let after = DurationMs(case.evidence.timed_out_after?);
    let key = if case.evidence.phase == Some(Phase::PreDeploy) { "pre_deploy_timeout" } else { "build.timeout" };
    Some(
        TIMED_OUT
            .diagnosis(format!("{} took longer than {after}", case.command_words()))
            .at(case.place())
            .because(case.with_last_lines(&format!("it was ended after {after}")))
            .hint("check that the command ends by itself: a watcher, a server or a question on the terminal never does")
            .hint(format!("raise `{key}` in `slipway.toml`")),
    )
}
