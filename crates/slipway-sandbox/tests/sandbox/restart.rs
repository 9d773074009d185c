//! The server dies and comes back; a shim dies; the sandbox's first process dies.

use crate::drivers::Place;
use crate::machine::{
    assert_nothing_left, ended, gone, init_pid, kill, named, next, run, shim_pid, tag, task, until, wrote,
};
use slipway_sandbox::SandboxEvent;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

/// Waits until somebody connects: a test that has no supervisor can still give a sign.
const UNTIL_CONNECTED: &str = "perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 7000, \
                               Listen => 1) or die; $| = 1; print \"before\\n\"; $l->accept'";

/// Connects; answers when the task has closed its port, which it does as it goes on.
async fn connect(address: Ipv4Addr) {
    until("the task is connected to", || TcpStream::connect((address, 7000)).is_ok()).await;
    until("the task goes on", || TcpStream::connect((address, 7000)).is_err()).await;
}

pub(crate) async fn a_sandbox_outlives_the_server_and_its_output_goes_on(place: Place) {
    let machine = place.machine().await;
    let sandbox = machine.boot("restart-1").await;
    let script = format!("{UNTIL_CONNECTED}; echo meanwhile; sleep 0.2; echo after; exit 3");
    sandbox.start_task(task(1, &script)).await.unwrap();
    sandbox.start_task(task(2, "sleep 1000")).await.unwrap();
    wrote(&mut sandbox.events(), "before").await;
    let address = sandbox.address();
    drop(sandbox);
    let machine = machine.restarted_after(async || connect(address).await).await;
    let adopted = machine.sandboxes.adopt().await.unwrap();
    assert_eq!(adopted.len(), 1);
    let sandbox = &adopted[0];
    assert_eq!((sandbox.id(), sandbox.address()), ("restart-1", address));
    let rest = ended(&mut sandbox.events(), 1).await;
    assert!(rest.stdout.ends_with("meanwhile\nafter\n") && rest.facts.code == Some(3), "{rest:?}");
    // It can be used on, network and all.
    assert_eq!(run(sandbox, "echo again").await.stdout, "again\n");

    // Once more: what ran and what ended is known at once.
    drop(adopted);
    let machine = machine.restarted_after(async || {}).await;
    let adopted = machine.sandboxes.adopt().await.unwrap();
    let exits: Vec<_> =
        adopted[0].tasks().iter().map(|task| (task.task, task.exit.and_then(|facts| facts.code))).collect();
    assert!(exits.starts_with(&[(1, Some(3)), (2, None)]), "{exits:?}");

    // A shim that does not answer, as if the server had died before the shim listened.
    let pids = [shim_pid(&machine.config, "restart-1"), init_pid(&machine.config, "restart-1")];
    drop(adopted);
    std::fs::remove_file(machine.config.sandboxes_dir.join("restart-1/shim.sock")).unwrap();
    let machine = machine.restarted_after(async || {}).await;
    assert!(machine.sandboxes.adopt().await.unwrap().is_empty());
    assert_nothing_left(&machine.config, "restart-1", &pids).await;
    machine.end(&[]).await;
}

pub(crate) async fn what_is_written_without_a_supervisor_is_held_within_a_bound(place: Place) {
    /// Half as much again as is held.
    const LINES: u64 = 750_000;
    let machine = place.machine().await;
    let sandbox = machine.boot("restart-2").await;
    let script = format!("{UNTIL_CONNECTED}; exec perl -e 'printf(\"%015d\\n\", $_) for 1..{LINES}'");
    sandbox.start_task(task(1, &script)).await.unwrap();
    let other = "perl -MIO::Socket::INET -e '$l = IO::Socket::INET->new(LocalAddr => \"0.0.0.0\", LocalPort => 7001, \
                 Listen => 1) or die; $l->accept while 1'";
    sandbox.start_task(task(2, other)).await.unwrap();
    wrote(&mut sandbox.events(), "before").await;
    let address = sandbox.address();
    drop(sandbox);
    // 12 MB, and nobody reads: the writer is never made to wait.
    let machine = machine.restarted_after(async || connect(address).await).await;
    let sandbox = machine.sandboxes.adopt().await.unwrap().remove(0);
    let exited = || sandbox.tasks().iter().any(|task| task.task == 1 && task.exit.is_some());
    let mut events = sandbox.events();
    let (mut lost, mut held) = (0, Vec::new());
    loop {
        match next(&mut events).await {
            // Before what is held; and, where the writer is faster than this reader on a busy machine, once more.
            SandboxEvent::Dropped { bytes } => lost += bytes,
            SandboxEvent::Output { task: 1, bytes, .. } => held.extend(bytes),
            SandboxEvent::Exited { task: 1, facts, .. } => {
                assert_eq!(facts.code, Some(0));
                break;
            }
            _ => {}
        }
    }
    assert!(held.ends_with(format!("{LINES:015}\n").as_bytes()));
    let total = LINES * 16;
    assert!((total..total + 16).contains(&(lost + held.len() as u64)), "{lost} + {}", held.len());
    // A machine may still write when the supervisor is back: then less had to go.
    assert!(!exited() || (lost > 0 && held.len() > 6 << 20), "{lost} lost, {} held", held.len());
    machine.end(&[&sandbox]).await;
}

pub(crate) async fn a_killed_shim_takes_everything_with_it(place: Place) {
    let machine = place.machine().await;
    let sandbox = machine.boot("restart-3").await;
    sandbox.start_task(task(1, "trap '' TERM; echo up; while :; do sleep 1; done")).await.unwrap();
    let mut events = sandbox.events();
    wrote(&mut events, "up").await;
    let pids = [shim_pid(&machine.config, "restart-3"), init_pid(&machine.config, "restart-3")];
    kill(pids[0]);
    assert_eq!(gone(&mut events).await, "the process that held the sandbox died");
    assert_nothing_left(&machine.config, "restart-3", &pids).await;
    assert_eq!(events.next().await, None);
    sandbox.stop(Duration::ZERO).await.unwrap();
    machine.end(&[]).await;
}

pub(crate) async fn what_a_dead_shim_left_is_removed_at_the_next_start(place: Place) {
    let machine = place.machine().await;
    let sandbox = machine.boot("restart-4").await;
    let pids = [shim_pid(&machine.config, "restart-4"), init_pid(&machine.config, "restart-4")];
    drop(sandbox);
    let config = machine.config.clone();
    let killed = async || {
        kill(pids[0]);
        until("the shim is dead", || !Path::new(&format!("/proc/{}", pids[0])).exists()).await;
        assert!(!named("/run/netns", &format!("slipway-{}", tag(&config))).is_empty());
    };
    let machine = machine.restarted_after(killed).await;
    assert!(machine.sandboxes.adopt().await.unwrap().is_empty());
    assert_nothing_left(&machine.config, "restart-4", &pids).await;
    assert!(!machine.dir.path().join("restart-4.img").exists());
    machine.end(&[]).await;
}

/// The agent of a container, the VMM of a virtual machine.
pub(crate) async fn a_sandbox_whose_first_process_dies_is_gone(place: Place) {
    let machine = place.machine().await;
    let sandbox = machine.boot("restart-5").await;
    let pids = [shim_pid(&machine.config, "restart-5"), init_pid(&machine.config, "restart-5")];
    kill(pids[1]);
    assert_eq!(gone(&mut sandbox.events()).await, "its agent ended");
    assert_nothing_left(&machine.config, "restart-5", &pids).await;
    machine.end(&[]).await;
}
