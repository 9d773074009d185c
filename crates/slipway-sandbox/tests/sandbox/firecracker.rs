//! The `firecracker` driver's own matters.

use crate::drivers::{Place, firecracker};
use crate::machine::{init_pid, run, was_booted_ahead};
use slipway_sandbox::{DriverConfig, FirecrackerConfig, IoLimits, SandboxConfig, SandboxError, WarmConfig};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

fn settings(config: &mut SandboxConfig) -> &mut FirecrackerConfig {
    match &mut config.driver {
        DriverConfig::Firecracker(settings) => settings,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_machine_is_jailed_and_its_limits_are_taken() {
    let Some(place) = Place::find(firecracker(), 61) else { return };
    let limits = IoLimits {
        disk_bytes_per_second: Some(64 << 20),
        disk_operations_per_second: Some(20_000),
        network_bytes_per_second: Some(16 << 20),
        network_packets_per_second: Some(50_000),
    };
    let machine = place.machine_with(|config| settings(config).limits = limits).await;
    let begun = Instant::now();
    let sandbox = machine.boot("fc-1").await;
    eprintln!("cold boot: {:?}", begun.elapsed());
    let proc = format!("/proc/{}", init_pid(&machine.config, "fc-1"));
    let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
    let uid = 1_900_000_000..2_000_000_000;
    for name in ["Uid:", "Gid:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        assert!(line.split_ascii_whitespace().all(|id| uid.contains(&id.parse::<u32>().unwrap())), "{name}{line}");
    }
    for (name, value) in [("CapEff:", "0000000000000000"), ("NoNewPrivs:", "1"), ("Groups:", "")] {
        assert_eq!(status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim), Some(value), "{name}");
    }
    for task in std::fs::read_dir(format!("{proc}/task")).unwrap().flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let name = status.lines().next().unwrap().to_owned();
        // The kernel's own thread for large pages is none of Firecracker's.
        assert!(status.contains("Seccomp:\t2") || name.contains("kvm-nx"), "{name} is not filtered");
    }
    let mut names: Vec<String> = std::fs::read_dir(format!("{proc}/root"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let program = std::fs::read_link(format!("{proc}/exe")).unwrap();
    let program = program.file_name().unwrap().to_str().unwrap().to_owned();
    let pid_file = format!("{program}.pid");
    let mut expected =
        vec!["api.sock", "dev", "disk0", "disk1", &program, &pid_file, "initramfs", "kernel", "run", "vsock.sock"];
    expected.sort_unstable();
    assert_eq!(names, expected, "what the VMM can see");
    let cgroup = std::fs::read_to_string(format!("{proc}/cgroup")).unwrap();
    assert!(cgroup.lines().filter(|line| line.ends_with("/fc-1")).count() >= 1, "{cgroup}");
    let namespace = std::fs::metadata(format!("{proc}/ns/net")).unwrap().ino();
    assert_ne!(namespace, std::fs::metadata("/proc/self/ns/net").unwrap().ino());
    let done = run(&sandbox, "echo hello; echo kept > /app/file; cat /app/file").await;
    assert_eq!(done.stdout, "hello\nkept\n", "{}", done.stderr);
    let begun = Instant::now();
    machine.end(&[&sandbox]).await;
    eprintln!("end: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_boot_that_takes_too_long_says_what_the_console_said() {
    let Some(place) = Place::find(firecracker(), 62) else { return };
    // A kernel that waits for a disk that never comes.
    let machine = place
        .machine_with(|config| {
            let settings = settings(config);
            settings.boot_time_max = Duration::from_secs(10);
            settings.kernel_words.push_str(" rdinit=/nothing root=/dev/nothing rootwait");
        })
        .await;
    let SandboxError::Boot { why, .. } = machine.sandboxes.boot(machine.spec("fc-2")).await.unwrap_err() else {
        panic!("another error");
    };
    assert!(why.contains("did not answer within 10 s") && why.contains("its console ends with: "), "{why}");
    assert!(why.contains(" | [") && !why.contains("PVM"), "lines of a kernel, with their times: {why}");
    machine.end(&[]).await;
}

#[tokio::test]
async fn machines_from_one_snapshot_have_nothing_in_common() {
    let Some(place) = Place::find(firecracker(), 63) else { return };
    let snapshots = tempfile::tempdir_in(crate::machine::scratch()).unwrap();
    let dir = snapshots.path().to_owned();
    let machine = place.machine_with(|config| settings(config).snapshots_dir = Some(dir.clone())).await;
    let mut told = Vec::new();
    let mut sandboxes = Vec::new();
    for id in ["fc-3", "fc-4"] {
        let begun = Instant::now();
        let mut spec = machine.spec(id);
        spec.hostname = format!("{id}-host");
        let sandbox = machine.sandboxes.boot(spec).await.unwrap();
        eprintln!("{id}: {:?}", begun.elapsed());
        for entry in std::fs::read_dir(&dir).unwrap().flatten() {
            let failed = entry.path().extension().is_some_and(|extension| extension == "failed");
            assert!(!failed, "no snapshot: {}", std::fs::read_to_string(entry.path()).unwrap());
        }
        let dirs = std::fs::read_dir(&dir).unwrap().flatten().filter(|entry| entry.path().is_dir()).count();
        assert_eq!(dirs, 1, "the first makes a snapshot, the second uses it");
        let done = run(
            &sandbox,
            "cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | perl -e 'print unpack(q(H*), <>), qq(\n)'; \
             uname -n; cat /etc/hosts; perl -e 'print time, qq(\n)'; cat /etc/base-file; echo written > /app/file; cat /app/file",
        )
        .await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let lines: Vec<String> = done.stdout.lines().map(str::to_owned).collect();
        assert_eq!(lines[2], format!("{id}-host"), "{done:?}");
        assert!(done.stdout.contains(&format!("{} {id}-host", sandbox.address())), "{done:?}");
        let clock: u64 = lines[lines.len() - 3].parse().unwrap();
        assert!(now.abs_diff(clock) < 30, "the clock is {} s off", now.abs_diff(clock));
        assert_eq!(lines[lines.len() - 2..], ["as it was", "written"]);
        told.push((lines[0].clone(), lines[1].clone()));
        sandboxes.push(sandbox);
    }
    assert_eq!(told[0].0.len(), 36, "{told:?}");
    assert_ne!(told[0].0, told[1].0, "one identity for two machines");
    assert_ne!(told[0].1, told[1].1, "the same random numbers in two machines");
    machine.end(&sandboxes.iter().collect::<Vec<_>>()).await;
}

/// A machine of a snapshot can stand ready too.
#[tokio::test]
async fn a_machine_of_a_snapshot_is_claimed() {
    let Some(place) = Place::find(firecracker(), 64) else { return };
    let snapshots = tempfile::tempdir_in(crate::machine::scratch()).unwrap();
    let dir = snapshots.path().to_owned();
    let change = |config: &mut SandboxConfig| {
        settings(config).snapshots_dir = Some(dir.clone());
        config.warm = WarmConfig { idle: Some(1), ..WarmConfig::STANDARD };
    };
    let machine = place.machine_with(change).await;
    machine.warm_up().await;
    let begun = Instant::now();
    let sandbox = machine.boot("fc-5").await;
    eprintln!("claim: {:?}", begun.elapsed());
    assert!(was_booted_ahead(&machine.config, "fc-5"));
    let done = run(&sandbox, "cat /etc/base-file; echo written > /app/file; cat /app/file; uname -n").await;
    assert_eq!(done.stdout, "as it was\nwritten\nbox\n", "{}", done.stderr);
    machine.end(&[&sandbox]).await;
}
