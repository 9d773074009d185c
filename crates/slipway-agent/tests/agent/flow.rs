//! Output: flow control, back-pressure, and a connection that breaks in the middle.

use crate::host::{Agent, decode, spec, wait_for};
use slipway_types::agent::{AgentEvent, OUTPUT_CREDIT_BYTES, OutputRate, Stream};

/// Writes numbered lines, so that anything lost, doubled or out of order shows.
const NUMBERS: &str = "seq 1 2000000";

fn numbers() -> Vec<u8> {
    use std::fmt::Write;
    let mut text = String::new();
    (1..=2_000_000).for_each(|n| writeln!(text, "{n}").unwrap());
    text.into_bytes()
}

#[test]
fn large_output_arrives_byte_for_byte() {
    const BYTES: usize = 64 * 1024 * 1024;
    let agent = Agent::start();
    let mut host = agent.connect();
    // A block of random bytes, again and again: not text, and easy to compare.
    let script = "head -c 65536 /dev/urandom > block; for i in $(seq 1024); do cat block; done";
    let mut wanted = spec(1, &["/bin/sh", "-c", script]);
    wanted.cwd = agent.directory.path().to_str().unwrap().to_owned();
    host.start(wanted);
    let outcome = host.outcome(1);
    let block = std::fs::read(agent.directory.path().join("block")).unwrap();
    assert_eq!((outcome.code, outcome.stdout.len()), (Some(0), BYTES));
    assert!(outcome.stdout.chunks(block.len()).all(|chunk| chunk == block));
    assert!(agent.resident_bytes() < 16 * 1024 * 1024, "{}", agent.resident_bytes());
}

#[test]
fn without_credit_the_task_waits_and_the_agent_does_not_grow() {
    let agent = Agent::start();
    let mut host = agent.connect();
    let pid = host.shell(1, NUMBERS);
    let window = usize::try_from(OUTPUT_CREDIT_BYTES).unwrap();
    let mut got = Vec::new();
    while got.len() < window {
        got.extend(host.output().1);
    }
    assert_eq!(got.len(), window, "exactly the window");
    let wchan = || std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    wait_for("the task to block", || (stat().contains(") S ") || wchan().contains("pipe")).then_some(()));
    assert!(agent.resident_bytes() < 16 * 1024 * 1024);
    // The host speaks and is heard meanwhile.
    host.send(&slipway_types::agent::AgentCommand::Stats);
    assert!(matches!(host.next(), AgentEvent::Stats { .. }));
    host.credit(got.len());
    let rest = host.outcome(1);
    got.extend(rest.stdout);
    assert!(got == numbers());
}

#[test]
fn a_break_in_the_middle_loses_nothing() {
    let agent = Agent::start();
    let mut host = agent.connect();
    host.shell(1, NUMBERS);
    let mut got = Vec::new();
    let mut connections = 1;
    let mut uncredited = 0_usize;
    'connected: loop {
        // How much of what comes now was had before.
        let mut skip = std::mem::take(&mut uncredited);
        for turn in 0.. {
            match host.next() {
                AgentEvent::Output { base64, .. } => {
                    let bytes = decode(&base64);
                    let old = skip.min(bytes.len());
                    skip -= old;
                    got.extend_from_slice(&bytes[old..]);
                    // The last ones before the break are not credited.
                    if turn < 20 { host.credit(bytes.len()) } else { uncredited += bytes.len() }
                }
                AgentEvent::Exited { code, .. } => {
                    assert_eq!(code, Some(0));
                    break 'connected;
                }
                AgentEvent::Started { task: 1, .. } => {}
                other => panic!("{other:?}"),
            }
            if turn == 25 {
                uncredited += skip;
                host = agent.connect();
                connections += 1;
                break;
            }
        }
    }
    assert!(connections > 5, "{connections}");
    assert!(got == numbers(), "{} bytes", got.len());
}

#[test]
fn an_exit_that_nobody_took_is_told_again() {
    let agent = Agent::start();
    let mut host = agent.connect();
    let pid = host.shell(1, "read line < go; echo done; exit 5");
    drop(host);
    // The task fails to open `go` and ends while nobody is connected.
    wait_for("the end of the task", || (!crate::host::is_alive(pid)).then_some(()));
    for _ in 0..2 {
        let mut host = agent.connect();
        let mut event = host.next();
        while !matches!(event, AgentEvent::Exited { .. }) {
            event = host.next();
        }
        assert!(matches!(event, AgentEvent::Exited { task: 1, code: Some(5), .. }));
    }
}

#[test]
fn a_grandchild_that_keeps_the_pipe_does_not_keep_the_task() {
    let agent = Agent::start();
    let mut host = agent.connect();
    host.shell(1, "sleep 1000 & echo last words");
    let started = std::time::Instant::now();
    let outcome = host.outcome(1);
    assert_eq!((outcome.stdout(), outcome.code), ("last words\n", Some(0)));
    assert!(started.elapsed().as_secs() < 60, "not as long as the grandchild");
}

#[test]
fn what_a_task_writes_too_fast_is_dropped_counted_and_its_last_words_are_kept() {
    let agent = Agent::start();
    let mut host = agent.connect();
    // After its end the last words are held for some seconds only: it ends once there is room for them.
    let script =
        format!("{NUMBERS}; echo the last words; echo > written; while [ ! -e go ]; do sleep 0.05; done; exit 7");
    let mut wanted = spec(1, &["/bin/sh", "-c", &script]);
    wanted.output_rate = Some(OutputRate::default());
    wanted.cwd = agent.directory.path().to_str().unwrap().to_owned();
    host.start(wanted);
    // Nobody gives credit, and it gets rid of its output all the same.
    let mut got = Vec::new();
    while got.len() < usize::try_from(OUTPUT_CREDIT_BYTES).unwrap() {
        got.extend(host.output().1);
    }
    let file = |name: &str| agent.directory.path().join(name);
    wait_for("the task to have written all", || file("written").exists().then_some(()));
    host.credit(got.len());
    std::fs::write(file("go"), "").unwrap();
    let (mut dropped, mut dropped_lines) = (0, 0);
    loop {
        match host.next() {
            AgentEvent::Output { base64, .. } => got.extend(decode(&base64)),
            AgentEvent::Dropped { task: 1, stream: Stream::Stdout, bytes, lines } => {
                (dropped, dropped_lines) = (dropped + bytes, dropped_lines + lines);
            }
            AgentEvent::Exited { code, .. } => {
                assert_eq!(code, Some(7));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    let all = [numbers(), b"the last words\n".to_vec()].concat();
    assert!(got.ends_with(b"2000000\nthe last words\n"), "{}", String::from_utf8_lossy(&got[got.len() - 100..]));
    assert_eq!(got.len() as u64 + dropped, all.len() as u64);
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(lines(&got) + dropped_lines, lines(&all));
    assert!(dropped > 0 && agent.resident_bytes() < 16 * 1024 * 1024);
}
