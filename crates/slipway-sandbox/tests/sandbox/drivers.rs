//! The drivers that the suite runs on. One more is a function here and a word in `main.rs`.

use crate::machine::{Machine, programs, scratch};
use slipway_sandbox::guest::{self, KernelSource};
use slipway_sandbox::{Acceleration, DriverConfig, FirecrackerConfig, IoLimits, QemuConfig, SandboxConfig};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Names of drivers that have to be there: a missing one fails instead of being skipped. `./x test` sets it.
const REQUIRED: &str = "SLIPWAY_TEST_DRIVERS";

/// Where a Firecracker for the tests is.
const FIRECRACKER_VARIABLE: &str = "SLIPWAY_TEST_FIRECRACKER";

pub(crate) struct Driver {
    pub(crate) name: &'static str,
    /// Numbers of tests (below 80) begin here, so that tests of two drivers run at the same time.
    pub(crate) first_number: u8,
    /// A kernel of its own: it has no system calls to keep from the tasks, and its tree of control groups is of version 2.
    pub(crate) has_own_kernel: bool,
    /// With that program as the agent, or why it cannot be tested here.
    pub(crate) config: fn(&Path) -> Result<DriverConfig, String>,
}

pub(crate) fn oci() -> Driver {
    Driver { name: "oci", first_number: 0, has_own_kernel: false, config: |_| Ok(DriverConfig::Oci) }
}

pub(crate) fn qemu() -> Driver {
    Driver {
        name: "qemu",
        first_number: 80,
        has_own_kernel: true,
        config: |agent| qemu_config(agent).map(DriverConfig::Qemu),
    }
}

pub(crate) fn firecracker() -> Driver {
    let config = |agent: &Path| firecracker_config(agent).map(DriverConfig::Firecracker);
    Driver { name: "firecracker", first_number: 160, has_own_kernel: true, config }
}

fn qemu_config(agent: &Path) -> Result<QemuConfig, String> {
    let shared = scratch().parent().unwrap().join("debug/test-shared");
    let vsock = shared.join("tools/vhost-device-vsock/bin/vhost-device-vsock");
    if !vsock.is_file() {
        return Err(format!("`{}` is missing, `./x test` installs it", vsock.display()));
    }
    let found = Command::new("qemu-system-x86_64").arg("--version").output();
    found.map_err(|error| format!("`qemu-system-x86_64`: {error}, `./x test` installs it"))?;
    let guest = guest::prepare(&shared.join("guest"), &KernelSource::Debian, agent).map_err(|e| format!("{e:?}"))?;
    Ok(QemuConfig { guest, acceleration: Acceleration::Tcg, qemu_program: None, vsock_program: Some(vsock) })
}

/// A directory named by [`FIRECRACKER_VARIABLE`] may hold `firecracker` and `jailer`, a kernel `vmlinux` that needs no modules, and
/// more words for it in `words`; what it does not hold is the machine's own.
fn firecracker_config(agent: &Path) -> Result<FirecrackerConfig, String> {
    let given = std::env::var_os(FIRECRACKER_VARIABLE).map(PathBuf::from);
    let file = |name: &str| given.as_ref().map(|dir| dir.join(name)).filter(|file| file.is_file());
    let shared = scratch().parent().unwrap().join("debug/test-shared");
    let source = match file("vmlinux") {
        Some(kernel) => KernelSource::Files { kernel, modules: None },
        None => KernelSource::Debian,
    };
    let (firecracker_program, jailer_program) = (file("firecracker"), file("jailer"));
    let found =
        Command::new(firecracker_program.clone().unwrap_or_else(|| "firecracker".into())).arg("--version").output();
    found.map_err(|error| format!("`firecracker`: {error}; put it into PATH or set {FIRECRACKER_VARIABLE}"))?;
    std::fs::metadata("/dev/kvm").map_err(|error| format!("`/dev/kvm`: {error}"))?;
    let guest = guest::prepare(&shared.join("guest"), &source, agent).map_err(|e| format!("{e:?}"))?;
    let kernel_words = file("words").map(|file| std::fs::read_to_string(file).unwrap().trim().to_owned());
    Ok(FirecrackerConfig {
        guest,
        firecracker_program,
        jailer_program,
        kernel_words: kernel_words.unwrap_or_default(),
        limits: IoLimits::default(),
        // A host without the processor's help takes a hundred times as long as one with it.
        boot_time_max: Duration::from_secs(150),
        snapshots_dir: None,
    })
}

/// Where a test makes its machine.
pub(crate) struct Place {
    pub(crate) driver: Driver,
    number: u8,
}

impl Place {
    /// None, said loudly: the driver is not on this machine.
    pub(crate) fn find(driver: Driver, number: u8) -> Option<Self> {
        match (driver.config)(&programs().agent) {
            Ok(_) => Some(Self { number: driver.first_number + number, driver }),
            Err(why) => {
                let required = std::env::var(REQUIRED).unwrap_or_default();
                assert!(!required.split(' ').any(|name| name == driver.name), "`{}`: {why}", driver.name);
                eprintln!("SKIPPED: the driver `{}` is not tested: {why}", driver.name);
                None
            }
        }
    }

    pub(crate) async fn machine(&self) -> Machine {
        self.machine_with(|_| {}).await
    }

    pub(crate) async fn machine_with(&self, change: impl FnOnce(&mut SandboxConfig)) -> Machine {
        self.machine_of(programs().agent, change).await
    }

    /// With another program in the place of the agent.
    pub(crate) async fn machine_of(&self, agent: PathBuf, change: impl FnOnce(&mut SandboxConfig)) -> Machine {
        let driver = (self.driver.config)(&agent).unwrap();
        Machine::open(self.number, |config| {
            config.driver = driver;
            config.agent_program = agent;
            change(config);
        })
        .await
    }
}
