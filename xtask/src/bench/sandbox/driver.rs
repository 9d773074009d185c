//! The drivers of the benchmark, with the programs that the tests use.

use super::found;
use slipway_sandbox::guest::{self, KernelSource};
use slipway_sandbox::{Acceleration, DriverConfig, FirecrackerConfig, IoLimits, MachinePrograms, QemuConfig, Runtime};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// As for the tests: a directory with `firecracker`, `jailer`, and a kernel `vmlinux` with its `words` where the machine's own
/// does not boot.
const FIRECRACKER_VARIABLE: &str = "SLIPWAY_TEST_FIRECRACKER";
/// A machine without the processor's help takes a hundred times as long as one with it.
const BOOT_TIME_MAX: Duration = Duration::from_secs(150);

pub(super) struct Driver {
    pub(super) name: &'static str,
    /// What runs the instructions, where that makes the figure.
    pub(super) how: &'static str,
    /// Of containers.
    pub(super) runtime: Runtime,
    pub(super) rounds: usize,
    pub(super) goal: &'static str,
    /// Or why it is not measured.
    pub(super) config: Result<DriverConfig, String>,
}

impl Driver {
    pub(super) fn title(&self) -> String {
        format!("`{}`{}", self.name, self.how)
    }
}

const COLD_GOAL: &str = "KVM of the processor: ≤ 125 ms";
const RESTORED_GOAL: &str = "KVM of the processor: ≤ 30 ms";

pub(super) fn all(target: &Path) -> Vec<Driver> {
    let agent = target.join("libexec/slipway-agent");
    let shared = target.join("test-shared");
    let snapshots = target.join("bench-snapshots");
    // Of an earlier agent or kernel they are of no use, and take room.
    let _ = std::fs::remove_dir_all(&snapshots);
    let oci =
        |how, runtime, goal| Driver { name: "oci", how, runtime, rounds: 20, goal, config: Ok(DriverConfig::Oci) };
    let qemu = |how, acceleration, goal| Driver {
        name: "qemu",
        how,
        runtime: Runtime::Auto,
        rounds: 10,
        goal,
        config: qemu(&shared, &agent, acceleration),
    };
    let firecracker = |how, goal, snapshots_dir| Driver {
        name: "firecracker",
        how,
        runtime: Runtime::Auto,
        rounds: 5,
        goal,
        config: firecracker(&shared, &agent, snapshots_dir),
    };
    vec![
        oci("", Runtime::Auto, "P50 ≤ 50 ms"),
        oci(", runc", Runtime::Runc, ""),
        qemu(", translated", Acceleration::Tcg, "P50 ≤ 3000 ms"),
        qemu(", KVM", Acceleration::Kvm, ""),
        firecracker(", cold", COLD_GOAL, None),
        firecracker(", restored", RESTORED_GOAL, Some(snapshots)),
    ]
}

fn qemu(shared: &Path, agent: &Path, acceleration: Acceleration) -> Result<DriverConfig, String> {
    let vsock = shared.join("tools/vhost-device-vsock/bin/vhost-device-vsock");
    // `./x bench` installs it below the directory of the tests, which may be another one.
    let of_tests = Path::new("target/debug/test-shared/tools/vhost-device-vsock/bin/vhost-device-vsock");
    let vsock = [vsock, of_tests.to_owned()].into_iter().find(|file| file.is_file());
    let vsock = vsock.ok_or("`vhost-device-vsock` is missing")?;
    let vsock = vsock.canonicalize().map_err(|error| error.to_string())?;
    if acceleration == Acceleration::Kvm {
        has_kvm(&vsock)?;
    }
    let guest = guest::prepare(&shared.join("guest"), &KernelSource::Debian, agent).map_err(|e| format!("{e:?}"))?;
    Ok(DriverConfig::Qemu(QemuConfig { guest, acceleration, qemu_program: None, vsock_program: Some(vsock) }))
}

/// What `slipway doctor` says of the processor, in its words.
fn has_kvm(vsock: &Path) -> Result<(), String> {
    let config = MachinePrograms { vhost_device_vsock: Some(vsock.to_owned()), ..MachinePrograms::default() };
    let checks = slipway_sandbox::machine_drivers(&config);
    let qemu = checks.into_iter().find(|check| check.name == "driver qemu");
    qemu.filter(|check| !check.ok).map_or(Ok(()), |check| Err(check.detail))
}

fn firecracker(shared: &Path, agent: &Path, snapshots_dir: Option<PathBuf>) -> Result<DriverConfig, String> {
    let given = std::env::var_os(FIRECRACKER_VARIABLE).map(PathBuf::from);
    let file = |name: &str| given.as_ref().map(|dir| dir.join(name)).filter(|file| file.is_file());
    let (firecracker_program, jailer_program) = (file("firecracker"), file("jailer"));
    match &firecracker_program {
        Some(program) => found("Firecracker", program)?,
        None => {
            let programs = MachinePrograms::default();
            let checks = slipway_sandbox::machine_drivers(&programs);
            let check = checks.into_iter().find(|check| check.name == "driver firecracker");
            check.filter(|check| !check.ok).map_or(Ok(()), |check| Err(check.detail))?;
        }
    }
    let source = match file("vmlinux") {
        Some(kernel) => KernelSource::Files { kernel, modules: None },
        None => KernelSource::Debian,
    };
    let guest = guest::prepare(&shared.join("guest"), &source, agent).map_err(|error| format!("{error:?}"))?;
    let words = file("words").and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
    Ok(DriverConfig::Firecracker(FirecrackerConfig {
        guest,
        firecracker_program,
        jailer_program,
        kernel_words: words.trim().to_owned(),
        limits: IoLimits::default(),
        boot_time_max: BOOT_TIME_MAX,
        snapshots_dir,
    }))
}
