//! A guest that was taken over, its agent too. It can end itself; it can neither stall the host, nor fill it, nor be believed.

use crate::drivers::Place;
use crate::machine::{Machine, assert_nothing_left, gone, init_pid, programs, shim_pid, start, task, until};
use slipway_sandbox::{Sandbox, SandboxError, SandboxSpec};
use std::path::Path;
use std::time::{Duration, Instant};

/// What the shim may hold of a guest's words, with all else that it has. The bound on events alone is 8 MiB.
const SHIM_BYTES_MAX: u64 = 64 << 20;
/// Of this process: the supervisor's part of it.
const SUPERVISOR_GROWTH_MAX: u64 = 96 << 20;

async fn hostile(place: &Place) -> Machine {
    place.machine_of(programs().hostile_agent, |_| {}).await
}

fn spec(machine: &Machine, manner: &str) -> SandboxSpec {
    SandboxSpec { hostname: manner.to_owned(), ..machine.spec(manner) }
}

async fn boot(machine: &Machine, manner: &str) -> Sandbox {
    machine.sandboxes.boot(spec(machine, manner)).await.unwrap()
}

async fn boot_fails(place: Place, manner: &str, why_part: &str) {
    let machine = hostile(&place).await;
    let error = machine.sandboxes.boot(spec(&machine, manner)).await.unwrap_err();
    assert!(matches!(&error, SandboxError::Boot { why, .. } if why.contains(why_part)), "{error}");
    assert_nothing_left(&machine.config, manner, &[]).await;
    machine.end(&[]).await;
}

pub(crate) async fn an_agent_that_speaks_no_protocol_does_not_boot(place: Place) {
    boot_fails(place, "garbage", "what is no event").await;
}

pub(crate) async fn an_agent_that_says_nothing_does_not_boot(place: Place) {
    boot_fails(place, "silent", "the agent fell silent while it was configured").await;
}

/// Starts a task, whereupon the agent misbehaves: the sandbox ends for that reason, and nothing is left of it.
async fn ends(machine: &Machine, manner: &str, why_part: &str) {
    let sandbox = boot(machine, manner).await;
    let pids = [shim_pid(&machine.config, manner), init_pid(&machine.config, manner)];
    start(&sandbox, "true").await;
    // Nothing is read before: a guest that is slower than its reader never has too much on the way.
    until("the sandbox ends", || !Path::new(&format!("/proc/{}", pids[1])).exists()).await;
    let reason = gone(&mut sandbox.events()).await;
    assert!(reason.contains(why_part), "{manner}: {reason}");
    assert_nothing_left(&machine.config, manner, &pids).await;
}

pub(crate) async fn an_agent_that_lies_ends_its_sandbox(place: Place) {
    let machine = hostile(&place).await;
    ends(&machine, "liar", "which was not started").await;
    ends(&machine, "twice", "said twice").await;
    ends(&machine, "again", "said twice").await;
    ends(&machine, "sockets", "20000 listening sockets").await;
    machine.end(&[]).await;
}

pub(crate) async fn a_line_without_end_ends_its_sandbox(place: Place) {
    let machine = hostile(&place).await;
    ends(&machine, "endless", "a line of more than").await;
    ends(&machine, "greedy", "without credit").await;
    machine.end(&[]).await;
}

pub(crate) async fn a_flood_is_held_within_a_bound_and_stops_nobody(place: Place) {
    let machine = hostile(&place).await;
    let sandbox = boot(&machine, "flood").await;
    let shim = shim_pid(&machine.config, "flood");
    let before = resident_bytes(std::process::id().cast_signed());
    sandbox.start_task(task(1, "true")).await.unwrap();
    // Nobody reads. Meanwhile many times the bound comes in.
    let deadline = Instant::now() + Duration::from_secs(4);
    while Instant::now() < deadline {
        assert!(resident_bytes(shim) < SHIM_BYTES_MAX, "the shim has {} bytes", resident_bytes(shim));
        let grown = resident_bytes(std::process::id().cast_signed()).saturating_sub(before);
        assert!(grown < SUPERVISOR_GROWTH_MAX, "the supervisor has {grown} bytes more");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let pids = [shim, init_pid(&machine.config, "flood")];
    sandbox.stop(Duration::ZERO).await.unwrap();
    drop(sandbox);
    assert_nothing_left(&machine.config, "flood", &pids).await;
    machine.end(&[]).await;
}

pub(crate) async fn an_agent_that_ignores_a_stop_is_killed(place: Place) {
    let machine = hostile(&place).await;
    let sandbox = boot(&machine, "deaf").await;
    let pids = [shim_pid(&machine.config, "deaf"), init_pid(&machine.config, "deaf")];
    sandbox.stop(Duration::ZERO).await.unwrap();
    drop(sandbox);
    assert_nothing_left(&machine.config, "deaf", &pids).await;
    machine.end(&[]).await;
}

fn resident_bytes(pid: i32) -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE_BYTES
}
