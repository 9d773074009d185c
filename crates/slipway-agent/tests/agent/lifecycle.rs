//! Orphans and shutdown.

use crate::host::{Agent, is_alive, wait_for};
use slipway_types::agent::{AgentCommand, AgentEvent};
use std::time::{Duration, Instant};

fn number(bytes: &[u8]) -> i32 {
    std::str::from_utf8(bytes).unwrap().trim().parse().unwrap()
}

#[test]
fn orphans_are_reaped() {
    let agent = Agent::start();
    let mut host = agent.connect();
    host.shell(1, "(sleep 0.3 > /dev/null 2>&1 & echo $!)");
    let orphan = number(&host.output().1);
    assert_eq!(host.outcome(1).code, Some(0));
    wait_for("the orphan to be reaped, not left a zombie", || {
        (!std::path::Path::new(&format!("/proc/{orphan}")).exists()).then_some(())
    });
}

#[test]
fn shutdown_asks_first_and_then_kills() {
    let mut agent = Agent::start();
    let mut host = agent.connect();
    let polite = host.shell(1, "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done");
    assert_eq!(host.output().1, b"ready\n");
    let stubborn = host.shell(2, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    assert_eq!(host.output().1, b"ready\n");
    // In its own session, out of every task's group.
    host.shell(3, "setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & wait");
    let escaped = number(&host.output().1);

    let begun = Instant::now();
    host.send(&AgentCommand::Shutdown { grace_ms: 500 });
    host.send(&AgentCommand::StartTask(crate::host::spec(9, &["/bin/true"])));
    let (mut exits, mut said, mut refused) = (Vec::new(), Vec::new(), false);
    while exits.len() < 3 {
        match host.next() {
            AgentEvent::Exited { task, code, signal, .. } => exits.push((task, code, signal)),
            AgentEvent::Output { base64, .. } => said.extend(crate::host::decode(&base64)),
            AgentEvent::Refused { .. } => refused = true,
            other => panic!("{other:?}"),
        }
    }
    exits.sort_unstable();
    assert_eq!(exits[..2], [(1, Some(0), None), (2, None, Some(libc::SIGKILL))]);
    assert_eq!(said, b"bye\n");
    assert!(refused, "nothing starts in a shutdown");
    assert_eq!(agent.wait().code(), Some(0));
    let elapsed = begun.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(4)).contains(&elapsed), "{elapsed:?}");
    assert!([polite, stubborn, escaped].into_iter().all(|pid| !is_alive(pid)));
}

#[test]
fn sigterm_is_a_shutdown_and_an_idle_agent_ends_at_once() {
    let mut agent = Agent::start();
    let mut host = agent.connect();
    let pid = host.shell(1, "echo ready; exec sleep 1000");
    assert_eq!(host.output().1, b"ready\n");
    let begun = Instant::now();
    agent.terminate();
    assert!(matches!(host.next(), AgentEvent::Exited { signal: Some(libc::SIGTERM), .. }));
    assert_eq!(agent.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5) && !is_alive(pid));
}

#[test]
fn the_socket_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let agent = Agent::start();
    drop(agent.connect());
    assert_eq!(std::fs::metadata(agent.socket()).unwrap().permissions().mode() & 0o777, 0o600);
}
