//! The server dies and comes back; a shim dies.

use crate::machine::{Machine, assert_nothing_left, ended, init_pid, named, next, shim_pid, tag, task, until, wrote};
use slipway_sandbox::{SandboxEvent, Sandboxes};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

#[tokio::test]
async fn a_sandbox_outlives_the_server_and_its_output_goes_on() {
    let Machine { sandboxes, config, dir } = Machine::new(50).await;
    let machine = Machine { sandboxes, config, dir };
    let sandbox = machine.boot("restart-50").await;
    let script = "echo before; while [ ! -e /app/go ]; do sleep 0.05; done; echo meanwhile; sleep 0.2; echo after";
    sandbox.start_task(task(1, script)).await.unwrap();
    wrote(&mut sandbox.events(), "before").await;
    let (config, address) = (machine.config.clone(), sandbox.address());
    let Machine { sandboxes, dir, .. } = machine;
    drop((sandbox, sandboxes));

    // Nobody is connected: the task goes on.
    let init = init_pid(&config, "restart-50");
    std::fs::write(format!("/proc/{init}/root/app/go"), "").unwrap();
    until("the task ends", || task_count(init) == 0).await;

    let sandboxes = Sandboxes::open(config.clone()).await.unwrap();
    let adopted = sandboxes.adopt().await.unwrap();
    assert_eq!(adopted.len(), 1);
    let sandbox = &adopted[0];
    assert_eq!((sandbox.id(), sandbox.address()), ("restart-50", address));
    let facts = sandbox.tasks()[0].exit.expect("the exit is known at once");
    assert_eq!((sandbox.tasks()[0].task, facts.code), (1, Some(0)));
    let rest = ended(&mut sandbox.events(), 1).await;
    assert!(rest.stdout.ends_with("meanwhile\nafter\n"), "{rest:?}");
    // It can be used on, network and all.
    assert_eq!(crate::machine::run(sandbox, "echo again").await.stdout, "again\n");
    Machine { sandboxes, config, dir }.end(&[sandbox]).await;
}

/// Processes of the sandbox other than its first.
fn task_count(init: i32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
    children.split_ascii_whitespace().count()
}

#[tokio::test]
async fn what_is_written_without_a_supervisor_is_held_within_a_bound() {
    let machine = Machine::new(51).await;
    let sandbox = machine.boot("restart-51").await;
    let config = machine.config.clone();
    let Machine { sandboxes, dir, .. } = machine;
    let script = "echo ready; while [ ! -e /app/go ]; do sleep 0.05; done; exec perl -e 'printf(\"%015d\\n\", $_) for 1..1000000'";
    sandbox.start_task(task(1, script)).await.unwrap();
    wrote(&mut sandbox.events(), "ready").await;
    drop((sandbox, sandboxes));
    let init = init_pid(&config, "restart-51");
    std::fs::write(format!("/proc/{init}/root/app/go"), "").unwrap();
    // 16 MB, twice what is held, and nobody reads: the writer is never made to wait.
    until("the task ends", || task_count(init) == 0).await;

    let sandboxes = Sandboxes::open(config.clone()).await.unwrap();
    let sandbox = sandboxes.adopt().await.unwrap().remove(0);
    let mut events = sandbox.events();
    let (mut lost, mut held) = (0, Vec::new());
    loop {
        match next(&mut events).await {
            SandboxEvent::Dropped { bytes } => {
                assert!(held.is_empty() || held.ends_with(b"ready\n"), "the gap comes before what is held");
                held.clear();
                lost += bytes;
            }
            SandboxEvent::Output { bytes, .. } => held.extend(bytes),
            SandboxEvent::Exited { facts, .. } => {
                assert_eq!(facts.code, Some(0));
                break;
            }
            _ => {}
        }
    }
    assert!(lost > 0 && held.len() > 6 << 20, "{lost} lost, {} held", held.len());
    assert!(held.ends_with(b"000000001000000\n"));
    assert!((16_000_000..16_000_000 + 16).contains(&(lost + held.len() as u64)), "{lost} + {}", held.len());
    Machine { sandboxes, config, dir }.end(&[&sandbox]).await;
}

#[tokio::test]
async fn a_killed_shim_takes_everything_with_it() {
    let machine = Machine::new(52).await;
    let sandbox = machine.boot("restart-52").await;
    sandbox.start_task(task(1, "trap '' TERM; echo up; while :; do sleep 1; done")).await.unwrap();
    let mut events = sandbox.events();
    wrote(&mut events, "up").await;
    let pids = [shim_pid(&machine.config, "restart-52"), init_pid(&machine.config, "restart-52")];
    kill(pids[0]);
    loop {
        if let SandboxEvent::Gone { reason } = next(&mut events).await {
            assert_eq!(reason, "the process that held the sandbox died");
            break;
        }
    }
    assert_nothing_left(&machine.config, "restart-52", &pids).await;
    assert_eq!(events.next().await, None);
    sandbox.stop(Duration::ZERO).await.unwrap();
    machine.end(&[]).await;
}

#[tokio::test]
async fn what_a_shim_left_that_died_without_a_server_is_removed_at_the_next_start() {
    let machine = Machine::new(53).await;
    let sandbox = machine.boot("restart-53").await;
    let config = machine.config.clone();
    let Machine { sandboxes, dir, .. } = machine;
    let pids = [shim_pid(&config, "restart-53"), init_pid(&config, "restart-53")];
    drop((sandbox, sandboxes));
    kill(pids[0]);
    until("the shim is dead", || !Path::new(&format!("/proc/{}", pids[0])).exists()).await;
    let before = named("/run/netns", &format!("slipway-{}", tag(&config)));
    assert!(!before.is_empty());
    let sandboxes = Sandboxes::open(config.clone()).await.unwrap();
    assert!(sandboxes.adopt().await.unwrap().is_empty());
    assert_nothing_left(&config, "restart-53", &pids).await;
    assert!(!dir.path().join("restart-53.img").exists());
    Machine { sandboxes, config, dir }.end(&[]).await;
}

#[tokio::test]
async fn a_shim_that_does_not_answer_is_removed_at_adoption() {
    let machine = Machine::new(55).await;
    let sandbox = machine.boot("restart-55").await;
    let config = machine.config.clone();
    let Machine { sandboxes, dir, .. } = machine;
    let pids = [shim_pid(&config, "restart-55"), init_pid(&config, "restart-55")];
    drop((sandbox, sandboxes));
    // As if the server had died before the shim listened.
    std::fs::remove_file(config.sandboxes_dir.join("restart-55/shim.sock")).unwrap();
    let sandboxes = Sandboxes::open(config.clone()).await.unwrap();
    assert!(sandboxes.adopt().await.unwrap().is_empty());
    assert_nothing_left(&config, "restart-55", &pids).await;
    Machine { sandboxes, config, dir }.end(&[]).await;
}

#[tokio::test]
async fn an_agent_that_dies_ends_the_sandbox() {
    let machine = Machine::new(54).await;
    let sandbox = machine.boot("restart-54").await;
    let pids = [shim_pid(&machine.config, "restart-54"), init_pid(&machine.config, "restart-54")];
    kill(pids[1]);
    let mut events = sandbox.events();
    loop {
        if let SandboxEvent::Gone { reason } = next(&mut events).await {
            assert_eq!(reason, "its agent ended");
            break;
        }
    }
    assert_nothing_left(&machine.config, "restart-54", &pids).await;
    machine.end(&[]).await;
}

fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}
