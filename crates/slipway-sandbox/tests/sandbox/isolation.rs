//! What a sandbox may not do.

use crate::machine::{Machine, ended, run, task};

#[tokio::test]
async fn no_privileges_and_no_way_to_new_ones() {
    let machine = Machine::new(30).await;
    let sandbox = machine.boot("isolation-30").await;
    let status = run(&sandbox, "cat /proc/self/status").await.stdout;
    let field = |name: &str| {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {status}"));
        line.trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    assert_eq!(field("Seccomp:"), "2");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("Groups:"), "");
    // The bounding set holds at most what the agent has: kill, setgid, setuid.
    let bounding = u64::from_str_radix(&field("CapBnd:"), 16).unwrap();
    assert_eq!(bounding & !0b1110_0000, 0, "{bounding:x}");
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn not_even_root_inside_can_mount_or_make_namespaces() {
    let machine = Machine::new(31).await;
    let sandbox = machine.boot("isolation-31").await;
    for (number, command) in [
        "mount -t tmpfs none /tmp",
        "unshare -U true",
        "unshare -m true",
        "unshare -n true",
        // bpf, keyctl, userfaultfd, perf_event_open, init_module on this processor.
        "perl -e 'exit(syscall(321, 0, 0, 0) < 0 ? 1 : 0)'",
        "perl -e 'exit(syscall(250, 0, 0, 0) < 0 ? 1 : 0)'",
        "perl -e 'exit(syscall(323, 0) < 0 ? 1 : 0)'",
        "perl -e 'exit(syscall(298, 0, 0, 0, 0, 0) < 0 ? 1 : 0)'",
        "perl -e 'exit(syscall(175, 0, 0, 0) < 0 ? 1 : 0)'",
        "echo 1 > /proc/sys/kernel/core_pattern",
        "echo b > /proc/sysrq-trigger",
        "cat /proc/kcore | head -c 1 | perl -e 'exit(length(<STDIN>) ? 0 : 1)'",
        "echo 1 > /sys/kernel/uevent_helper",
        "echo 0 > /sys/fs/cgroup/memory/memory.limit_in_bytes",
        "echo x > /etc/hosts",
        "echo x > /slipway/agent",
        "perl -e 'exit(syscall(133, \"/tmp/disk\", 060600, 0xfe00) < 0 ? 1 : 0)'",
    ]
    .into_iter()
    .enumerate()
    {
        for uid in [0, slipway_sandbox::APP_UID] {
            let mut spec = task(number as u32 * 10 + u32::from(uid == 0), command);
            (spec.uid, spec.gid) = (uid, uid);
            let number = spec.task;
            sandbox.start_task(spec).await.unwrap();
            let done = ended(&mut sandbox.events(), number).await;
            assert_ne!(done.facts.code, Some(0), "as {uid}: {command}");
        }
    }
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn the_app_sees_its_own_processes_and_cannot_reach_the_agent() {
    let machine = Machine::new(32).await;
    let sandbox = machine.boot("isolation-32").await;
    let seen = run(&sandbox, "for p in /proc/[0-9]*; do echo $p; done").await.stdout;
    assert!(seen.lines().count() <= 4, "{seen}");
    let reach = "perl -MIO::Socket::UNIX -e 'exit(IO::Socket::UNIX->new(Peer => \"/run/slipway/agent.sock\") ? 0 : 1)'";
    assert_ne!(run(&sandbox, reach).await.facts.code, Some(0));
    assert_ne!(run(&sandbox, "ls /run/slipway").await.facts.code, Some(0));
    assert_ne!(run(&sandbox, "kill -9 1").await.facts.code, Some(0));
    assert_eq!(run(&sandbox, "echo still here").await.stdout, "still here\n");
    let writable = "for d in /tmp /dev/shm /app /home/app; do echo x > $d/x || exit 1; done; ls -ld /dev/null /dev/pts";
    assert_eq!(run(&sandbox, writable).await.facts.code, Some(0));
    machine.end(&[&sandbox]).await;
}
