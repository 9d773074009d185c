//! The `qemu` driver's own matters.

use crate::drivers::{Place, qemu};
use crate::machine::{assert_nothing_left, gone, init_pid, kill, run, shim_pid};
use slipway_sandbox::{DriverConfig, SandboxError, Sandboxes};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[tokio::test]
async fn the_end_of_the_vsock_device_is_the_end_of_the_machine() {
    let Some(place) = Place::find(qemu(), 61) else { return };
    let machine = place.machine().await;
    let sandbox = machine.boot("qemu-1").await;
    let pids = [shim_pid(&machine.config, "qemu-1"), init_pid(&machine.config, "qemu-1")];
    let device = children(pids[0]).into_iter().find(|pid| *pid != pids[1]).unwrap();
    kill(device);
    gone(&mut sandbox.events()).await;
    assert_nothing_left(&machine.config, "qemu-1", &[pids[0], pids[1], device]).await;
    machine.end(&[]).await;
}

/// The programs of a machine have no right that matters, whoever takes them over, and may lie where only root can go.
#[tokio::test]
async fn the_programs_of_a_machine_are_nobody_s_and_confined() {
    let Some(place) = Place::find(qemu(), 62) else { return };
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let machine = place
        .machine_with(|config| {
            let DriverConfig::Qemu(qemu) = &mut config.driver else { unreachable!() };
            let program = closed.path().join("vhost-device-vsock");
            std::fs::copy(qemu.vsock_program.as_ref().unwrap(), &program).unwrap();
            qemu.vsock_program = Some(program);
        })
        .await;
    let mut spec = machine.spec("qemu-2");
    spec.limits.cpus = 2.0;
    let sandbox = machine.sandboxes.boot(spec).await.unwrap();
    let processors =
        run(&sandbox, "while read -r k r; do [ \"$k\" = processor ] && echo x; done < /proc/cpuinfo; sleep 0.2").await;
    let there = std::thread::available_parallelism().unwrap().get().min(2);
    assert_eq!(processors.stdout, "x\n".repeat(there));
    let programs = children(shim_pid(&machine.config, "qemu-2"));
    assert_eq!(programs.len(), 2);
    let mut users = Vec::new();
    for pid in programs {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        let uid: u32 = field("Uid:").split('\t').next().unwrap().parse().unwrap();
        assert!(uid >= 1_900_000_000, "{status}");
        users.push(uid);
        for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{status}");
        }
        assert_eq!((field("NoNewPrivs:").as_str(), field("Groups:").as_str()), ("1", ""));
        let own = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_ne!(std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap(), own, "it has the slot's network alone");
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert!(cgroup.contains("/qemu-2"), "{cgroup}");
    }
    assert_eq!(users[0], users[1]);
    machine.end(&[&sandbox]).await;
}

#[tokio::test]
async fn a_kernel_that_does_not_boot_says_its_last_words() {
    let Some(place) = Place::find(qemu(), 63) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let empty = scratch.path().join("initramfs.cpio");
    std::fs::write(&empty, "").unwrap();
    let machine = place
        .machine_with(|config| {
            let DriverConfig::Qemu(qemu) = &mut config.driver else { unreachable!() };
            qemu.guest.initramfs = empty;
        })
        .await;
    let error = machine.sandboxes.boot(machine.spec("qemu-3")).await.unwrap_err();
    let SandboxError::Boot { why, .. } = &error else { panic!("{error}") };
    assert!(why.contains("ended before its agent was ready") && why.contains("Kernel panic"), "{why}");
    assert_nothing_left(&machine.config, "qemu-3", &[]).await;
    machine.end(&[]).await;
}

#[tokio::test]
async fn what_is_missing_is_said_before_anything_boots() {
    let Some(place) = Place::find(qemu(), 64) else { return };
    let machine = place.machine().await;
    let missing = |change: fn(&mut slipway_sandbox::QemuConfig)| {
        let mut config = machine.config.clone();
        let DriverConfig::Qemu(qemu) = &mut config.driver else { unreachable!() };
        change(qemu);
        async { Sandboxes::open(config).await.unwrap_err().to_string() }
    };
    assert!(missing(|qemu| qemu.qemu_program = Some("/no/qemu".into())).await.contains("/no/qemu"));
    assert!(missing(|qemu| qemu.vsock_program = Some("/no/vsock".into())).await.contains("/no/vsock"));
    assert!(missing(|qemu| qemu.guest.kernel = "/no/kernel".into()).await.contains("/no/kernel"));
    machine.sandboxes.boot(machine.spec("qemu-4")).await.unwrap().stop(Duration::ZERO).await.unwrap();
    machine.end(&[]).await;
}

fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
