//! Starting tasks: what they see, how they end, what can't be started.

use crate::host::{Agent, is_alive, number, spec, wait_for};
use slipway_types::Secret;
use slipway_types::agent::{AgentCommand, AgentEvent, ListeningSocket};
use std::io::Write;

#[test]
fn output_and_exit_code() {
    let agent = Agent::start();
    let mut host = agent.connect();
    host.shell(1, "echo out; echo err >&2; exit 3");
    let outcome = host.outcome(1);
    assert_eq!((outcome.stdout.as_slice(), outcome.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!((outcome.code, outcome.signal), (Some(3), None));
}

#[test]
fn a_task_gets_exactly_what_the_host_says() {
    let agent = Agent::start();
    let mut host = agent.connect();
    let script = "pwd; ulimit -n; readlink /proc/self/fd/0; /bin/ls /proc/self/fd | /usr/bin/tr '\\n' ' '; echo; \
                  /bin/grep -E 'NoNewPrivs|SigBlk|SigIgn|Groups|Uid|Gid' /proc/self/status; \
                  /usr/bin/cut -d' ' -f1,5,6 /proc/self/stat; echo $$";
    let mut wanted = spec(1, &["sh", "-c", script]);
    wanted.cwd = "/usr".to_owned();
    wanted.open_files_max = 321;
    (wanted.uid, wanted.gid) = if wanted.uid == 0 { (10001, 10002) } else { (wanted.uid, wanted.gid) };
    let (uid, gid) = (wanted.uid, wanted.gid);
    host.start(wanted);
    let outcome = host.outcome(1);
    let text = outcome.stdout();
    assert!(text.starts_with("/usr\n321\n/dev/null\n0 1 2 3 \n"), "{text}");
    let status = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(status("NoNewPrivs:"), "1");
    assert_eq!(
        (status("SigBlk:"), status("SigIgn:")),
        ("0".repeat(16), "0".repeat(16)),
        "no signal is blocked or ignored"
    );
    assert_eq!(status("Uid:"), [uid.to_string().as_str(); 4].join("\t"));
    assert_eq!(status("Gid:"), [gid.to_string().as_str(); 4].join("\t"));
    if rustix::process::getuid().is_root() {
        assert_eq!(status("Groups:"), "");
    }
    let mut ends = text.lines().rev();
    let shell = ends.next().unwrap();
    assert!(ends.next().unwrap().ends_with(&format!("{shell} {shell}")), "own group and session: {text}");

    let mut wanted = spec(2, &["/usr/bin/env"]);
    wanted.env = [("B".to_owned(), Secret::new("two words\nand a line")), ("A".to_owned(), Secret::new(""))].into();
    host.start(wanted);
    assert_eq!(host.outcome(2).stdout(), "A=\nB=two words\nand a line\n", "nothing of the agent's own environment");
}

#[test]
fn what_cannot_start_says_why() {
    let agent = Agent::start();
    let mut host = agent.connect();
    let mut check = |change: &dyn Fn(&mut slipway_types::agent::TaskSpec), wanted: i32, text: &str| {
        let mut spec = spec(7, &["/bin/true"]);
        change(&mut spec);
        host.send(&AgentCommand::StartTask(spec));
        match host.next() {
            AgentEvent::StartFailed { task: 7, errno, message } => {
                assert_eq!(errno, wanted, "{message}");
                assert!(message.contains(text), "{message}");
            }
            other => panic!("{other:?}"),
        }
    };
    check(&|spec| spec.argv = vec!["/no/such".into()], libc::ENOENT, "run `/no/such`");
    check(&|spec| spec.argv = vec!["no-such-program".into()], libc::ENOENT, "run `no-such-program`");
    check(&|spec| spec.argv = vec!["/etc/passwd".into()], libc::EACCES, "run `/etc/passwd`");
    check(&|spec| spec.cwd = "/no/such".into(), libc::ENOENT, "enter `/no/such`");
    check(&|spec| spec.argv.clear(), libc::EINVAL, "");
    check(&|spec| spec.argv.push("a\0b".into()), libc::EINVAL, "");
    check(&|spec| drop(spec.env.insert("A=B".into(), Secret::new("x"))), libc::EINVAL, "");
    host.shell(7, "echo fine");
    assert_eq!(host.outcome(7).stdout(), "fine\n", "the id is free again, and nothing hangs");
}

#[test]
fn a_signal_reaches_the_whole_group() {
    let agent = Agent::start();
    let mut host = agent.connect();
    host.shell(1, "sleep 1000 & echo $!; wait");
    let child = number(&host.output().1);
    host.send(&AgentCommand::Signal { task: 1, signal: libc::SIGTERM });
    let outcome = host.outcome(1);
    assert_eq!((outcome.code, outcome.signal), (None, Some(libc::SIGTERM)));
    wait_for("the end of the sleep: it was signalled too", || (!is_alive(child)).then_some(()));

    host.send(&AgentCommand::Signal { task: 1, signal: libc::SIGTERM });
    assert!(matches!(host.next(), AgentEvent::Refused { message } if message.contains("task 1")));
}

#[test]
fn garbage_is_refused_and_harms_nothing() {
    let agent = Agent::start();
    let mut host = agent.connect();
    let long = vec![b'x'; 300 * 1024];
    let lines: [&[u8]; 5] =
        [b"garbage", b"{\"command\":\"no_such\"}", b"\xff\xfe", b"{\"command\":\"signal\",\"task\":\"secret\"}", &long];
    for line in lines {
        host.reader.get_mut().write_all(&[line, b"\n"].concat()).unwrap();
        match host.next() {
            AgentEvent::Refused { message } => assert!(!message.contains("secret") && message.len() < 200, "{message}"),
            other => panic!("{other:?}"),
        }
    }
    host.shell(1, "echo fine");
    host.send(&AgentCommand::StartTask(spec(1, &["/bin/true"])));
    let mut seen = (false, false);
    while seen != (true, true) {
        match host.next() {
            AgentEvent::Exited { code, .. } => seen.0 = code == Some(0),
            // Either the first still runs, and this is refused, or it is over, and this runs: both end well.
            AgentEvent::Refused { .. } | AgentEvent::Started { .. } => seen.1 = true,
            AgentEvent::Output { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn configure_and_statistics() {
    let agent = Agent::start();
    let mut host = agent.connect();
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    host.send(&AgentCommand::Configure { hostname: "sandbox-test".to_owned(), unix_time_ms: 0, machine: None });
    assert_eq!(host.next(), AgentEvent::Ready);
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before, "not PID 1: not its to change");
    host.send(&AgentCommand::Stats);
    match host.next() {
        AgentEvent::Stats { memory_bytes, processes, cpu_us } => {
            assert!(memory_bytes > 100_000 && processes >= 2 && cpu_us > 0);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_listening_socket_is_reported_and_its_end_too() {
    let agent = Agent::start();
    let mut host = agent.connect();
    let program = "import socket,sys; s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); \
                   print(s.getsockname()[1], flush=True); sys.stdin.read(); import time; time.sleep(1000)";
    host.start(spec(1, &["python3", "-c", program]));
    let port = std::str::from_utf8(&host.output().1).unwrap().trim().parse().unwrap();
    let wanted = ListeningSocket { address: "127.0.0.1".parse().unwrap(), port };
    // The news may have come before the task's own word.
    let sees = |host: &mut crate::host::Host, wanted_there: bool| {
        while host.listening.contains(&wanted) != wanted_there {
            host.next_any();
        }
    };
    sees(&mut host, true);
    let mut second = agent.connect();
    sees(&mut second, true);
    second.send(&AgentCommand::Signal { task: 1, signal: libc::SIGKILL });
    sees(&mut second, false);
}
