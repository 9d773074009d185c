//! Whether a driver works on this machine: by looking, and by booting.

use crate::drivers::{Place, oci, qemu};
use crate::machine::{Machine, assert_nothing_left};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use slipway_sandbox::{Check, DriverConfig, MachinePrograms, drivers, try_boot};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const PROBE: &str = "boot-probe";
const KVM: &str = "/dev/kvm";
/// Whoever has no right of their own.
const NOBODY: libc::c_long = 65534;

async fn leaves_nothing(machine: Machine) {
    assert_nothing_left(&machine.config, PROBE, &[]).await;
    let scratch = machine.config.sandboxes_dir.join(format!(".{PROBE}"));
    assert!(!scratch.exists(), "{} is left", scratch.display());
    machine.end(&[]).await;
}

#[tokio::test]
async fn a_probe_boots_and_leaves_nothing() {
    for driver in [oci(), qemu()] {
        let Some(place) = Place::find(driver, 70) else { continue };
        let machine = place.machine().await;
        // A probe has the directory to itself.
        machine.sandboxes.close().await;
        try_boot(machine.config.clone()).await.unwrap();
        leaves_nothing(machine).await;
    }
}

#[tokio::test]
async fn a_kernel_that_does_not_boot_fails_the_probe_with_its_words() {
    let Some(place) = Place::find(qemu(), 71) else { return };
    let scratch = tempfile::tempdir().unwrap();
    let empty = scratch.path().join("initramfs.cpio");
    std::fs::write(&empty, "").unwrap();
    let machine = place.machine().await;
    machine.sandboxes.close().await;
    let mut config = machine.config.clone();
    let DriverConfig::Qemu(qemu) = &mut config.driver else { panic!("another driver") };
    qemu.guest.initramfs = empty;
    let error = try_boot(config).await.unwrap_err().to_string();
    assert!(error.contains("its console ends with") && error.contains("Kernel panic"), "{error}");
    leaves_nothing(machine).await;
}

fn line<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap()
}

#[tokio::test]
async fn what_a_driver_lacks_is_said_and_the_strongest_comes_first() {
    let Some(place) = Place::find(oci(), 72) else { return };
    let machine = place.machine().await;
    let missing = |name: &str| Some(PathBuf::from(format!("/nonexistent/{name}")));
    let programs =
        MachinePrograms { firecracker: missing("firecracker"), qemu: missing("qemu"), ..MachinePrograms::default() };
    let checks = drivers(&machine.config, &programs);
    let names: Vec<&str> = checks.iter().map(|check| check.name).collect();
    assert_eq!(names, ["driver firecracker", "driver qemu", "driver oci"]);
    let qemu = line(&checks, "driver qemu");
    assert!(!qemu.ok && qemu.detail.contains("/nonexistent/qemu"), "{qemu:?}");
    assert!(qemu.hint.contains("qemu-system-x86") && qemu.hint.contains("vhost-device-vsock"), "{qemu:?}");
    let firecracker = line(&checks, "driver firecracker");
    assert!(!firecracker.ok && !firecracker.detail.is_empty() && !firecracker.hint.is_empty(), "{firecracker:?}");
    let oci = line(&checks, "driver oci");
    assert!(oci.ok && oci.detail.contains("share this machine's kernel") && oci.hint.is_empty(), "{oci:?}");
    machine.end(&[]).await;
}

/// Looked at by one who may not open the device, or where it is not there.
#[tokio::test]
async fn without_a_usable_kvm_translation_is_there_and_not_chosen() {
    let Some(place) = Place::find(qemu(), 73) else { return };
    let machine = place.machine().await;
    let DriverConfig::Qemu(config) = machine.config.driver.clone() else { panic!("another driver") };
    let programs = MachinePrograms {
        qemu: config.qemu_program,
        vhost_device_vsock: config.vsock_program,
        ..MachinePrograms::default()
    };
    let sandbox_config = machine.config.clone();
    let checks = std::thread::spawn(move || {
        // SAFETY: the bare system call changes this thread alone, which ends with the closure.
        let changed = unsafe { libc::syscall(libc::SYS_setresuid, -1_i64, NOBODY, -1_i64) };
        assert_eq!(changed, 0);
        // The programs may lie in a directory that only root enters.
        let passes = CapabilitySet::DAC_READ_SEARCH;
        let sets = CapabilitySets { effective: passes, permitted: passes, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets).unwrap();
        drivers(&sandbox_config, &programs)
    })
    .join()
    .unwrap();
    let why = match std::fs::metadata(KVM).map(|found| found.permissions().mode() & 0o006) {
        Ok(0) => "no permission: start `slipway server` as root",
        Ok(_) => {
            eprintln!("SKIPPED: on this machine everybody may open {KVM}");
            return machine.end(&[]).await;
        }
        Err(_) => "nested virtualisation",
    };
    let qemu = line(&checks, "driver qemu");
    assert!(!qemu.ok && qemu.detail.contains(why) && qemu.detail.contains("ten times slower"), "{qemu:?}");
    assert!(qemu.hint.contains("`auto` passes it over"), "{qemu:?}");
    let firecracker = line(&checks, "driver firecracker");
    assert!(!firecracker.ok, "{firecracker:?}");
    machine.end(&[]).await;
}
