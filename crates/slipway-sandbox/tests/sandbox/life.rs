//! Boot and end.

use crate::drivers::Place;
use crate::machine::{assert_nothing_left, init_pid, run, shim_pid, task, wrote};
use slipway_sandbox::{SandboxError, SandboxEvent};
use std::time::{Duration, Instant};

pub(crate) async fn a_boot_that_fails_leaves_nothing(place: Place) {
    let machine = place.machine().await;
    let mut spec = machine.spec("life-1");
    let torn = machine.dir.path().join("torn.img");
    std::fs::write(&torn, vec![0; 1 << 20]).unwrap();
    spec.layers.push(torn);
    let error = machine.sandboxes.boot(spec).await.unwrap_err();
    assert!(matches!(&error, SandboxError::Boot { why, .. } if why.contains("mount")), "{error}");
    assert_nothing_left(&machine.config, "life-1", &[]).await;
    assert!(!machine.dir.path().join("life-1.img").exists());

    let mut odd = machine.spec("life-2");
    odd.layers = vec!["/no/such/image".into()];
    assert!(matches!(machine.sandboxes.boot(odd).await, Err(SandboxError::Spec { .. })));
    let sandbox = machine.boot("life-3").await;
    let twice = machine.sandboxes.boot(machine.spec("life-3")).await.unwrap_err();
    assert!(matches!(twice, SandboxError::Exists { .. }), "{twice}");
    machine.end(&[&sandbox]).await;
}

pub(crate) async fn stop_kills_what_ignores_sigterm_and_needs_no_reader(place: Place) {
    let machine = place.machine().await;
    let sandbox = machine.boot("life-4").await;
    let pids = [shim_pid(&machine.config, "life-4"), init_pid(&machine.config, "life-4")];
    sandbox.start_task(task(1, "trap '' TERM; echo deaf; while :; do sleep 1; done")).await.unwrap();
    sandbox
        .start_task(task(2, "trap 'echo heard; exit 5' TERM; echo ready; while :; do sleep 0.1; done"))
        .await
        .unwrap();
    let mut events = sandbox.events();
    let mut seen = String::new();
    while !(seen.contains("deaf") && seen.contains("ready")) {
        seen += &wrote(&mut events, "\n").await;
    }
    // Long enough for one that wants to end, on any machine.
    const GRACE: Duration = Duration::from_secs(10);
    let begun = Instant::now();
    sandbox.stop(GRACE).await.unwrap();
    let took = begun.elapsed();
    assert!(took > GRACE - Duration::from_millis(100), "{took:?}");
    assert_nothing_left(&machine.config, "life-4", &pids).await;
    assert!(!machine.dir.path().join("life-4.img").exists());
    let (mut reason, mut exits, mut said) = (String::new(), Vec::new(), String::new());
    while let Some(event) = events.next().await {
        match event {
            SandboxEvent::Gone { reason: why } => reason = why,
            SandboxEvent::Exited { task, facts, .. } => exits.push((task, facts.code, facts.signal)),
            SandboxEvent::Output { bytes, .. } => said += &String::from_utf8_lossy(&bytes),
            _ => {}
        }
    }
    assert_eq!(reason, "it was stopped");
    assert_eq!(exits, [(2, Some(5), None), (1, None, Some(9))], "the last words of both arrive");
    assert!(said.contains("heard"), "{said}");
    assert!(matches!(sandbox.start_task(task(3, "true")).await, Err(SandboxError::Gone { .. })));
    sandbox.stop(Duration::ZERO).await.unwrap();
    machine.end(&[]).await;
}

pub(crate) async fn processor_time_is_limited(place: Place) {
    const CPUS: f64 = 0.4;
    let machine = place.machine().await;
    let mut spec = machine.spec("life-5");
    spec.limits.cpus = CPUS;
    let sandbox = machine.sandboxes.boot(spec).await.unwrap();
    // Two processes that never rest until each had a second of the processor, and the time that they got.
    let burn = "perl -e 'fork; do { @t = times } while $t[0] + $t[1] < 1; wait; @t = times; \
                print $t[0] + $t[1] + $t[2] + $t[3], \"\\n\"'";
    let begun = Instant::now();
    let done = run(&sandbox, burn).await;
    let wall = begun.elapsed().as_secs_f64();
    let used: f64 = done.stdout.lines().map(|line| line.parse::<f64>().unwrap()).fold(0.0, f64::max);
    assert!(used > 1.9 && used / wall < CPUS * 1.35, "{used} s of the processor in {wall} s");
    machine.end(&[&sandbox]).await;
}
