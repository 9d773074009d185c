//! Memory, processes, disk, output.

use crate::machine::{Machine, ended, run, task};
use slipway_sandbox::SandboxEvent;

/// Fills memory in a child, as a build tool's worker does, and reports that the child died.
const HOG_IN_A_CHILD: &str = "perl -e '$x .= chr(65) x 1048576 while 1'; echo child $?; exit 1";

#[tokio::test]
async fn out_of_memory_is_told_even_of_a_child() {
    let machine = Machine::new(20).await;
    let sandbox = machine.boot("limits-20").await;
    let child = run(&sandbox, HOG_IN_A_CHILD).await;
    assert_eq!(child.stdout, "child 137\n");
    assert_eq!((child.facts.code, child.facts.out_of_memory), (Some(1), true));
    let alone = run(&sandbox, "exec perl -e '$x .= chr(65) x 1048576 while 1'").await;
    assert_eq!((alone.facts.signal, alone.facts.out_of_memory), (Some(9), true));
    let after = run(&sandbox, "exit 1").await;
    assert!(!after.facts.out_of_memory, "an earlier task's memory is not this one's");
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn processes_are_limited() {
    let machine = Machine::new(21).await;
    let sandbox = machine.boot("limits-21").await;
    let script = "perl -e 'for (1..200) { my $p = fork; if (!defined $p) { print \"refused at $_\\n\"; exit 3 } \
                  if (!$p) { sleep 60; exit } }'";
    let done = run(&sandbox, script).await;
    assert_eq!(done.facts.code, Some(3), "{done:?}");
    let at: u32 = done.stdout.trim_start_matches("refused at ").trim().parse().unwrap();
    assert!((40..=70).contains(&at), "{at}");
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn a_full_disk_is_an_error_to_the_task_and_told() {
    let machine = Machine::new(22).await;
    let sandbox = machine.boot("limits-22").await;
    let fine = run(&sandbox, "dd if=/dev/zero of=/app/some bs=1M count=8 2>/dev/null; exit 1").await;
    assert!(!fine.disk_full);
    // The program says what happened and tidies up before it ends, as package managers do.
    let script = "dd if=/dev/zero of=/app/big bs=1M count=200; sleep 0.5; rm /app/big; exit 1";
    let full = run(&sandbox, script).await;
    assert!(full.stderr.contains("No space left on device"), "{full:?}");
    assert!(full.disk_full);
    let temporary = run(&sandbox, "dd if=/dev/zero of=/tmp/big bs=1M count=200").await;
    assert!(temporary.disk_full && temporary.facts.code != Some(0), "/tmp counts too");
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn all_output_arrives_in_order_however_much() {
    let machine = Machine::new(23).await;
    let sandbox = machine.boot("limits-23").await;
    let script = "exec perl -e 'printf(\"%09d\\n\", $_) for 1..400000'";
    sandbox.start_task(task(1, script)).await.unwrap();
    let done = ended(&mut sandbox.events(), 1).await;
    assert_eq!(done.stdout.len(), 4_000_000);
    assert!(done.stdout.lines().zip(1..).all(|(line, number)| line.parse() == Ok(number)));
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn a_task_waits_for_a_reader_while_a_supervisor_is_connected() {
    let machine = Machine::new(24).await;
    let sandbox = machine.boot("limits-24").await;
    let script = "perl -e 'syswrite(STDOUT, chr(65) x 65536) for 1..400'; echo done > /app/done";
    sandbox.start_task(task(1, script)).await.unwrap();
    // Nobody reads: after the credit the writer stands still. A second task shows that it did not end.
    sandbox.start_task(task(2, "sleep 0.5; ls /app/done")).await.unwrap();
    let mut events = sandbox.events();
    let mut first = None;
    let mut bytes_read = 0;
    while first.is_none() {
        match crate::machine::next(&mut events).await {
            SandboxEvent::Output { task: 1, bytes, .. } => bytes_read += bytes.len(),
            SandboxEvent::Exited { task, .. } => first = Some(task),
            _ => {}
        }
        if bytes_read < 65536 {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
    let rest = if first == Some(2) { ended(&mut events, 1).await.stdout.len() } else { 0 };
    assert_eq!(bytes_read + rest, 400 * 65536);
    machine.end(&[&sandbox]).await;
}
