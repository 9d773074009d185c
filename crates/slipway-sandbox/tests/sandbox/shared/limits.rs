//! Memory, processes, disk, output.

use super::Here;
use crate::machine::{Ended, ended, fresh, next, run, start, task, wrote};
use slipway_sandbox::SandboxEvent;
use std::time::Duration;

/// Fills memory in a child, as a build tool's worker does, and reports that the child died.
const HOG_IN_A_CHILD: &str = "perl -e '$x .= chr(65) x 1048576 while 1'; echo child $?; exit 1";

pub(super) async fn runtimes_find_their_limits(here: &Here<'_>) {
    // Version 2, then version 1, as runtimes look.
    let look = |v2: &str, v1: &str| format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}");
    let memory = run(here.sandbox, &look("memory.max", "memory/memory.limit_in_bytes")).await.stdout;
    assert_eq!(memory, format!("{}\n", 128 << 20));
    let cpu = run(here.sandbox, &look("cpu.max", "cpu/cpu.cfs_quota_us")).await.stdout;
    assert!(matches!(cpu.as_str(), "100000 100000\n" | "100000\n"), "{cpu}");
}

pub(super) async fn out_of_memory_is_told_even_of_a_child(here: &Here<'_>) {
    let child = run(here.sandbox, HOG_IN_A_CHILD).await;
    assert_eq!(child.stdout, "child 137\n");
    assert_eq!((child.facts.code, child.facts.out_of_memory), (Some(1), true));
    let alone = run(here.sandbox, "exec perl -e '$x .= chr(65) x 1048576 while 1'").await;
    assert_eq!((alone.facts.signal, alone.facts.out_of_memory), (Some(9), true));
    let after = run(here.sandbox, "exit 1").await;
    assert!(!after.facts.out_of_memory, "an earlier task's memory is not this one's");
}

pub(super) async fn processes_are_limited(here: &Here<'_>) {
    let script = "perl -e 'for (1..200) { my $p = fork; if (!defined $p) { print \"refused at $_\\n\"; kill 9, @p; exit 3 } \
                  if (!$p) { sleep 60; exit } push @p, $p }'";
    let done = run(here.sandbox, script).await;
    assert_eq!(done.facts.code, Some(3), "{done:?}");
    let at: u32 = done.stdout.trim_start_matches("refused at ").trim().parse().unwrap();
    assert!((40..=70).contains(&at), "{at}");
}

pub(super) async fn a_full_disk_is_an_error_to_the_task_and_told(here: &Here<'_>) {
    let fine = run(here.sandbox, "dd if=/dev/zero of=/app/some bs=1M count=8 2>/dev/null; rm /app/some; exit 1").await;
    assert!(!fine.disk_full);
    // Most of the room is taken without being written: it is slow to write where a guest is emulated. The program says what
    // happened and tidies up before it ends, as package managers do.
    let full = fills(here, "/app").await;
    assert!(full.disk_full && full.facts.code == Some(1), "{full:?}");
    let temporary = fills(here, "/tmp").await;
    assert!(temporary.disk_full && temporary.facts.code == Some(1), "/tmp counts too: {temporary:?}");
    let after = run(here.sandbox, "echo x > /app/x && rm /app/x").await;
    assert!(after.facts.code == Some(0) && !after.disk_full, "there is room again");
}

/// A task that fills the disk there. It tidies up once its words of that have come: whoever reads them looks at the disk.
async fn fills(here: &Here<'_>, directory: &str) -> Ended {
    let script = format!(
        "trap 'rm {directory}/most {directory}/big; exit $x' USR1; fallocate -l 44M {directory}/most; \
         dd if=/dev/zero of={directory}/big bs=1M count=200; x=$?; while :; do sleep 0.1; done"
    );
    let number = start(here.sandbox, &script).await;
    let mut events = here.sandbox.events();
    wrote(&mut events, "No space left on device").await;
    here.sandbox.signal(number, 10).await.unwrap();
    ended(&mut events, number).await
}

pub(super) async fn all_output_arrives_in_order_however_much(here: &Here<'_>) {
    let done = run(here.sandbox, "exec perl -e 'printf(\"%09d\\n\", $_) for 1..400000'").await;
    assert_eq!(done.stdout.len(), 4_000_000);
    assert!(done.stdout.lines().zip(1..).all(|(line, number)| line.parse() == Ok(number)));
}

pub(super) async fn a_task_waits_for_a_reader_while_a_supervisor_is_connected(here: &Here<'_>) {
    /// Five times what may be on its way.
    const CHUNKS: usize = 80;
    let (writing, looking) = (fresh(), fresh());
    let script = format!("perl -e 'syswrite(STDOUT, chr(65) x 65536) for 1..{CHUNKS}'; echo done > /app/done");
    here.sandbox.start_task(task(writing, &script)).await.unwrap();
    // Nobody reads: after the credit the writer stands still. A second task shows that it did not end.
    here.sandbox.start_task(task(looking, "sleep 1; ls /app/done; rm -f /app/done")).await.unwrap();
    let mut events = here.sandbox.events();
    let mut first = None;
    let mut bytes_read = 0;
    while first.is_none() {
        match next(&mut events).await {
            SandboxEvent::Output { task, bytes, .. } if task == writing => bytes_read += bytes.len(),
            SandboxEvent::Exited { task, .. } => first = Some(task),
            _ => {}
        }
        if bytes_read < 65536 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let rest = if first == Some(looking) { ended(&mut events, writing).await.stdout.len() } else { 0 };
    assert_eq!(bytes_read + rest, CHUNKS * 65536);
    run(here.sandbox, "rm -f /app/done").await;
}
