//! Orphans and shutdown.

use crate::host::{Agent, is_alive, number, wait_for};
use slipway_types::agent::{AgentCommand, AgentEvent, Stream};
use std::time::{Duration, Instant};

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

    // The polite one has all the time that it needs; a second request hurries the others.
    host.send(&AgentCommand::Shutdown { grace_ms: 600_000 });
    host.send(&AgentCommand::StartTask(crate::host::spec(9, &["/bin/true"])));
    let (mut exits, mut said, mut refused) = (Vec::new(), Vec::new(), false);
    while exits.len() < 3 {
        match host.next() {
            AgentEvent::Exited { task, code, signal, .. } => {
                exits.push((task, code, signal));
                if task == 1 {
                    host.send(&AgentCommand::Shutdown { grace_ms: 0 });
                }
            }
            AgentEvent::Output { stream: Stream::Stdout, base64, .. } => said.extend(crate::host::decode(&base64)),
            // A shell tells of its killed child.
            AgentEvent::Output { .. } => {}
            AgentEvent::Refused { .. } => refused = true,
            other => panic!("{other:?}"),
        }
    }
    exits.sort_unstable();
    assert_eq!(exits[..2], [(1, Some(0), None), (2, None, Some(libc::SIGKILL))]);
    assert_eq!(said, b"bye\n");
    assert!(refused, "nothing starts in a shutdown");
    assert_eq!(agent.wait().code(), Some(0));
    assert!([polite, stubborn, escaped].into_iter().all(|pid| !is_alive(pid)));
    a_grace_runs_out();
}

fn a_grace_runs_out() {
    let mut agent = Agent::start();
    let mut host = agent.connect();
    host.shell(1, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
    assert_eq!(host.output().1, b"ready\n");
    let begun = Instant::now();
    host.send(&AgentCommand::Shutdown { grace_ms: 500 });
    assert!(matches!(host.next(), AgentEvent::Exited { task: 1, signal: Some(libc::SIGKILL), .. }));
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(agent.wait().code(), Some(0));
}

#[test]
fn sigterm_is_a_shutdown_and_an_idle_agent_ends_at_once() {
    let mut agent = Agent::start();
    let mut host = agent.connect();
    let pid = host.shell(1, "echo ready; exec sleep 1000");
    assert_eq!(host.output().1, b"ready\n");
    agent.terminate();
    // Sooner than the time that it gives tasks: after that it would be another signal.
    assert!(matches!(host.next(), AgentEvent::Exited { signal: Some(libc::SIGTERM), .. }));
    assert_eq!(agent.wait().code(), Some(0));
    assert!(!is_alive(pid));
}

#[test]
fn the_socket_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let agent = Agent::start();
    drop(agent.connect());
    assert_eq!(std::fs::metadata(agent.socket()).unwrap().permissions().mode() & 0o777, 0o600);
}

/// In its own PID, host-name and mount namespaces, as in a sandbox.
#[test]
fn as_pid_1() {
    if !rustix::process::getuid().is_root() {
        eprintln!("SKIPPED as_pid_1: new namespaces need root");
        return;
    }
    let mut agent = Agent::start_as_pid_1();
    let mut host = agent.connect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let unix_time_ms = i64::try_from(now.as_millis()).unwrap();
    host.send(&AgentCommand::Configure { hostname: "sandbox-test".to_owned(), unix_time_ms, machine: None });
    assert_eq!(host.next(), AgentEvent::Ready);
    host.shell(1, "uname -n; cat /proc/1/comm; (sleep 0.2 > /dev/null 2>&1 &)");
    assert_eq!(host.outcome(1).stdout(), "sandbox-test\nslipway-agent\n");
    wait_for("the orphan to be reaped", || {
        host.send(&AgentCommand::Stats);
        matches!(host.next(), AgentEvent::Stats { processes: 1, .. }).then_some(())
    });

    // Signals without a handler do not reach a PID 1; this one does. The task ignores it, the second request hurries.
    host.shell(2, "trap 'echo heard' TERM; echo ready; while :; do sleep 0.05; done");
    assert_eq!(host.output().1, b"ready\n");
    agent.terminate();
    while !matches!(host.next(), AgentEvent::Output { stream: Stream::Stdout, base64, .. } if crate::host::decode(&base64) == b"heard\n")
    {
    }
    host.send(&AgentCommand::Shutdown { grace_ms: 0 });
    while !matches!(host.next(), AgentEvent::Exited { task: 2, signal: Some(libc::SIGKILL), .. }) {}
    assert_eq!(agent.wait().code(), Some(0));
}
