//! What a task is given, and what comes back of it.

use super::Here;
use crate::machine::{PATIENCE, ended, fresh, kill_task, next, run, start, task, wrote};
use slipway_sandbox::{Events, SandboxEvent};
use slipway_types::Secret;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) async fn a_task_runs_as_the_app_user_and_its_output_and_exit_code_come_back(here: &Here<'_>) {
    let done =
        run(here.sandbox, "id -u; id -g; echo to-stderr >&2; pwd; cat; uname -n; cat /etc/hostname; exit 7").await;
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("10001\n10001\n/\nbox\nbox\n", "to-stderr\n"));
    assert_eq!((done.facts.code, done.facts.signal, done.facts.out_of_memory), (Some(7), None, false));
    assert!(!done.disk_full);
}

pub(super) async fn a_signal_is_no_exit_code(here: &Here<'_>) {
    let killed = run(here.sandbox, "kill -SEGV $$").await;
    assert_eq!((killed.facts.code, killed.facts.signal), (None, Some(11)));
}

pub(super) async fn a_task_has_the_environment_that_it_was_given_and_no_other(here: &Here<'_>) {
    let mut spec = task(fresh(), "");
    spec.argv = ["/usr/bin/env", "-0"].map(str::to_owned).to_vec();
    spec.env =
        [("PATH", "/usr/bin"), ("TOKEN", "a\nb=\u{fc} \"$x\"")].map(|(k, v)| (k.to_owned(), Secret::new(v))).into();
    let number = spec.task;
    here.sandbox.start_task(spec).await.unwrap();
    let seen = ended(&mut here.sandbox.events(), number).await.stdout;
    assert_eq!(seen, "PATH=/usr/bin\0TOKEN=a\nb=\u{fc} \"$x\"\0");
    let mut limited = task(fresh(), "ulimit -n; ulimit -c; pwd");
    (limited.open_files_max, limited.cwd) = (333, "/tmp".to_owned());
    let number = limited.task;
    here.sandbox.start_task(limited).await.unwrap();
    assert_eq!(ended(&mut here.sandbox.events(), number).await.stdout, "333\n0\n/tmp\n");
}

pub(super) async fn what_cannot_start_is_said(here: &Here<'_>) {
    for (program, cwd, expect) in
        [("/no/such/program", "/", 2), ("/bin/sh", "/no/such/directory", 2), ("/etc/passwd", "/", 13)]
    {
        let mut spec = task(fresh(), "");
        (spec.argv, spec.cwd) = (vec![program.to_owned()], cwd.to_owned());
        let number = spec.task;
        here.sandbox.start_task(spec).await.unwrap();
        let mut events = here.sandbox.events();
        let errno = loop {
            match next(&mut events).await {
                SandboxEvent::StartFailed { task, errno, .. } if task == number => break errno,
                SandboxEvent::Listening { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(errno, expect, "{program} in {cwd}");
    }
}

pub(super) async fn a_signal_reaches_the_whole_group_of_a_task(here: &Here<'_>) {
    let script = "trap 'wait; echo parent; exit 3' TERM; \
                  sh -c 'trap \"echo child; exit\" TERM; echo up; while :; do sleep 0.1; done' & wait";
    let number = start(here.sandbox, script).await;
    let mut events = here.sandbox.events();
    wrote(&mut events, "up").await;
    here.sandbox.signal(number, 15).await.unwrap();
    let done = ended(&mut events, number).await;
    assert_eq!((done.stdout.as_str(), done.facts.code), ("child\nparent\n", Some(3)));
}

pub(super) async fn a_signal_to_nobody_is_refused(here: &Here<'_>) {
    here.sandbox.signal(999_999, 15).await.unwrap();
    let mut events = here.sandbox.events();
    loop {
        if let SandboxEvent::Refused { message } = next(&mut events).await {
            assert!(message.contains("999999"), "{message}");
            break;
        }
    }
}

pub(super) async fn tasks_run_beside_each_other(here: &Here<'_>) {
    let waiting = start(here.sandbox, "while [ ! -e /tmp/go ]; do sleep 0.05; done; rm /tmp/go; exit 4").await;
    assert_eq!(run(here.sandbox, "echo x > /tmp/go").await.facts.code, Some(0));
    assert_eq!(ended(&mut here.sandbox.events(), waiting).await.facts.code, Some(4));
}

pub(super) async fn a_child_that_holds_the_output_does_not_hold_up_the_exit(here: &Here<'_>) {
    let done = run(here.sandbox, "sleep 1000 & echo $!").await;
    assert_eq!(done.facts.code, Some(0));
    let child = done.stdout.trim();
    assert_eq!(run(here.sandbox, &format!("kill -9 {child}")).await.facts.code, Some(0), "it lives on");
}

pub(super) async fn orphans_are_reaped(here: &Here<'_>) {
    run(here.sandbox, "for i in 1 2 3 4 5; do sh -c 'sleep 0.1 &'; done; sleep 0.5").await;
    let zombies =
        "for p in /proc/[0-9]*; do while read -r k v r; do [ \"$k$v\" = State:Z ] && echo $p; done < $p/status; done";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = run(here.sandbox, zombies).await.stdout;
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{left}");
    }
}

/// The sandbox's time, and the host's before it was asked for and after it came. In seconds.
struct Reading {
    before: f64,
    inside: f64,
    after: f64,
}

impl Reading {
    /// Of a task that answers a signal by its time.
    async fn take(here: &Here<'_>, task: u32, events: &mut Events) -> Self {
        let host = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let before = host();
        here.sandbox.signal(task, 10).await.unwrap();
        let text = wrote(events, "\n").await;
        Self { before, inside: text.trim().parse().unwrap(), after: host() }
    }
}

pub(super) async fn the_clock_is_the_host_s_and_runs_as_fast(here: &Here<'_>) {
    const SKEW_MAX: f64 = 1.5;
    const RATE_ERROR_MAX: f64 = 0.05;
    const DISTANCE_MIN: f64 = 3.0;
    /// Of two readings that lie that many times as far apart.
    const DOUBT_MAX: f64 = 0.02;
    let script = "exec perl -e '$| = 1; $SIG{USR1} = sub { $t = pack(\"q2\", 0, 0); syscall(228, 0, $t); \
                  ($s, $n) = unpack(\"q2\", $t); printf(\"%.3f\\n\", $s + $n / 1e9) }; print \"up\\n\"; \
                  select(undef, undef, undef, 0.05) while 1'";
    let number = start(here.sandbox, script).await;
    let mut events = here.sandbox.events();
    wrote(&mut events, "up\n").await;
    let mut readings: Vec<Reading> = Vec::new();
    let (inside, at_least, at_most) = loop {
        let new = Reading::take(here, number, &mut events).await;
        let is_right = new.inside > new.before - SKEW_MAX && new.inside < new.after + SKEW_MAX;
        assert!(is_right, "between {} and {} it was {}", new.before, new.after, new.inside);
        // Where the machine is busy the brackets are wide, and the distance has to grow.
        let distances = readings.iter().map(|old| {
            let (at_least, at_most) = (new.before - old.after, new.after - old.before);
            (new.inside - old.inside, at_least, at_most)
        });
        let mut sure = distances.filter(|(_, least, most)| *least > DISTANCE_MIN && most - least < DOUBT_MAX * least);
        if let Some(found) = sure.next() {
            break found;
        }
        readings.push(new);
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    kill_task(here.sandbox, number).await;
    let is_right = inside > at_least * (1.0 - RATE_ERROR_MAX) && inside < at_most * (1.0 + RATE_ERROR_MAX);
    assert!(is_right, "{inside} s inside are {at_least} to {at_most} s outside");
}

pub(super) async fn the_certificate_bundle_is_where_its_variables_say(here: &Here<'_>) {
    let env = here.machine.config.ca_env();
    assert_eq!(env["NODE_EXTRA_CA_CERTS"], env["SSL_CERT_FILE"]);
    let read = run(here.sandbox, &format!("cat {}", env["SSL_CERT_FILE"])).await;
    assert_eq!(read.stdout, std::fs::read_to_string("/etc/hostname").unwrap());
}
