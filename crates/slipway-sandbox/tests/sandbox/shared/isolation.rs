//! What a sandbox may not do.

use super::Here;
use crate::machine::{run, run_as_root};

/// What a task finds mounted where, and the options that matter of it.
const MOUNTS: [(&str, &str, &[&str]); 14] = [
    ("/", "overlay", &["rw", "nosuid", "nodev"]),
    ("/proc", "proc", &["rw", "nosuid", "nodev", "noexec"]),
    ("/dev", "tmpfs", &["rw", "nosuid", "mode=755"]),
    ("/dev/pts", "devpts", &["rw", "nosuid", "noexec", "gid=5"]),
    ("/dev/shm", "tmpfs", &["rw", "nosuid", "nodev", "noexec", "size=65536k"]),
    ("/dev/mqueue", "mqueue", &["rw", "nosuid", "nodev", "noexec"]),
    ("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]),
    ("/tmp", "ext4", &["rw", "nosuid", "nodev"]),
    ("/etc/hostname", "*", &["ro", "nosuid", "nodev", "noexec"]),
    ("/etc/hosts", "*", &["ro", "nosuid", "nodev", "noexec"]),
    ("/etc/resolv.conf", "*", &["ro", "nosuid", "nodev", "noexec"]),
    ("/etc/slipway/ca.pem", "*", &["ro", "nosuid", "nodev", "noexec"]),
    ("/proc/sys", "proc", &["ro", "nosuid", "nodev", "noexec"]),
    ("/sys/firmware", "tmpfs", &["ro"]),
];

pub(super) async fn the_file_system_is_made_of_these_mounts(here: &Here<'_>) {
    let seen = run(here.sandbox, "cat /proc/self/mounts").await.stdout;
    let rows: Vec<Vec<&str>> = seen.lines().map(|line| line.split(' ').collect()).collect();
    for (at, kind, options) in MOUNTS {
        let row =
            rows.iter().rev().find(|row| row[1] == at).unwrap_or_else(|| panic!("nothing is mounted at {at}:\n{seen}"));
        assert!(kind == "*" || row[2] == kind, "{at}: {row:?}");
        let has: Vec<&str> = row[3].split(',').collect();
        assert!(options.iter().all(|option| has.contains(option)), "{at}: {row:?} lacks one of {options:?}");
    }
    let writable = "for d in /tmp /dev/shm /app /home/app; do echo x > $d/x || exit 1; rm $d/x; done; \
                    for d in null zero full random urandom tty; do [ -c /dev/$d ] || exit 2; done; \
                    for d in fd stdin stdout stderr ptmx; do [ -L /dev/$d ] || exit 3; done; ls /dev";
    let done = run(here.sandbox, writable).await;
    let names: Vec<&str> = done.stdout.split_ascii_whitespace().filter(|name| *name != "core").collect();
    assert_eq!(done.facts.code, Some(0), "{done:?}");
    let expect = "fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert_eq!(names.join(" "), expect, "no other device");
}

pub(super) async fn no_privileges_and_no_way_to_new_ones(here: &Here<'_>) {
    let status = run(here.sandbox, "cat /proc/self/status").await.stdout;
    let field = |name: &str| {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {status}"));
        line.trim().to_owned()
    };
    assert_eq!(field("NoNewPrivs:"), "1");
    // A filter keeps system calls from the host's kernel. A machine's kernel is its own.
    if !here.has_own_kernel {
        assert_eq!(field("Seccomp:"), "2");
    }
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("Groups:"), "");
    // The bounding set holds at most what the agent has: kill, setgid, setuid.
    let bounding = u64::from_str_radix(&field("CapBnd:"), 16).unwrap();
    assert_eq!(bounding & !0b1110_0000, 0, "{bounding:x}");
}

pub(super) async fn not_even_root_inside_can_mount_or_make_namespaces(here: &Here<'_>) {
    let attempts = [
        "mount -t tmpfs none /tmp",
        "unshare -U true",
        "unshare -m true",
        "unshare -n true",
        // bpf, keyctl (to read a key that is not there fails anywhere: to join a session is the attempt), userfaultfd,
        // perf_event_open, init_module on this processor.
        "perl -e 'exit(syscall(321, 0, 0, 0) < 0 ? 1 : 0)'",
        "perl -e 'exit(syscall(323, 0) < 0 ? 1 : 0)'",
        "perl -e 'exit(syscall(298, 0, 0, 0, 0, 0) < 0 ? 1 : 0)'",
        "perl -e 'exit(syscall(175, 0, 0, 0) < 0 ? 1 : 0)'",
        "(echo 1 > /proc/sys/kernel/core_pattern)",
        "(echo b > /proc/sysrq-trigger)",
        "(cat /proc/kcore | head -c 1 | perl -e 'exit(length(<STDIN>) ? 0 : 1)')",
        "(echo 1 > /sys/kernel/uevent_helper)",
        "(echo 0 > /sys/fs/cgroup/memory/memory.limit_in_bytes)",
        "(echo max > /sys/fs/cgroup/memory.max)",
        "(echo x > /etc/hosts)",
        "perl -e 'exit(syscall(133, \"/tmp/disk\", 060600, 0xfe00) < 0 ? 1 : 0)'",
        "perl -e 'exit(syscall(169, 0xfee1dead, 672274793, 0x1234567) < 0 ? 1 : 0)'",
        "[ -e /machine ]",
        "[ -e /modules ]",
    ];
    let script: String = attempts
        .iter()
        .enumerate()
        .map(|(at, attempt)| format!("{attempt} 2>/dev/null && echo escaped: {at}\n"))
        .collect();
    for done in [run(here.sandbox, &script).await, run_as_root(here.sandbox, &script).await] {
        assert_eq!(done.stdout, "", "{attempts:?}");
    }
    // Allowed, and without effect: the first process is not to be killed from inside.
    run_as_root(here.sandbox, "kill -9 1; kill -9 -1").await;
    assert_eq!(run(here.sandbox, "echo still here").await.stdout, "still here\n");
}

pub(super) async fn the_app_sees_its_own_processes_and_cannot_reach_the_agent(here: &Here<'_>) {
    let seen = run(here.sandbox, "for p in /proc/[0-9]*; do echo $p; done").await.stdout;
    assert!(seen.lines().count() <= 4, "{seen}");
    let reach = "perl -MIO::Socket::UNIX -e 'exit(IO::Socket::UNIX->new(Peer => \"/run/slipway/agent.sock\") ? 0 : 1)'";
    assert_ne!(run(here.sandbox, reach).await.facts.code, Some(0));
    // A vsock connection to the agent's port, in the machine itself (1), as this machine (3), and to the host (2).
    let script = "perl -e 'for $cid (1, 2, 3) { socket(S, 40, 1, 0) or next; \
                  $a = pack(\"S S L L L\", 40, 0, 1024, $cid, 0); alarm 5; \
                  if (connect(S, $a)) { $n = sysread(S, $b, 10); print \"reached $cid: $n\\n\" if $n } }'";
    let vsock = run_as_root(here.sandbox, script).await;
    assert_eq!(vsock.stdout, "");
    for hidden in ["ls /run/slipway", "cat /proc/1/environ", "ls -l /proc/1/fd", "ls -l /proc/1/root/"] {
        assert_ne!(run(here.sandbox, hidden).await.facts.code, Some(0), "{hidden}");
    }
}
