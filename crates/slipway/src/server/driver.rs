//! Which driver boots the sandboxes of this server: the one that was asked for, or the strongest that really boots here.

use super::config::{ServerConfig, releases_dir};
use crate::cli::Driver;
use crate::failure::Failure;
use slipway_sandbox::guest::{self, KernelSource};
use slipway_sandbox::{
    Acceleration, DriverConfig, FIRECRACKER_BOOT_TIME_MAX, FirecrackerConfig, GuestImage, QemuConfig, RELEASE_VERSION,
    ReleaseSource, SandboxConfig,
};

/// Kernel and initramfs of virtual machines, below the data directory.
const GUEST_DIR: &str = "guest";
const SNAPSHOTS_DIR: &str = "snapshots";
/// The strongest first. `oci` needs no trial: where it does not work, nothing does.
const MACHINES: [Driver; 2] = [Driver::Firecracker, Driver::Qemu];

/// Makes what the driver needs, the first time: it may fetch a kernel. `step` is told what is done and what was passed over.
///
/// # Errors
/// When the driver that was asked for by name lacks something.
pub(super) async fn choose(config: &mut ServerConfig, step: impl Fn(&str)) -> Result<DriverConfig, Failure> {
    if let Some(release) = unasked_release(config) {
        config.machines.take_release(release, &config.data_dir);
    }
    let config = &*config;
    match config.driver {
        Driver::Oci => return Ok(DriverConfig::Oci),
        Driver::Auto => {
            // Without it the driver is not whole, and passed over.
            if let Err(failure) = fetch_release(config, &step).await {
                step(&failure.in_one_line());
            }
        }
        wanted => {
            if wanted == Driver::Firecracker {
                fetch_release(config, &step).await?;
            }
            return Box::pin(machine(config, wanted, &step)).await;
        }
    }
    let whole = MACHINES.into_iter().filter(|candidate| is_whole(config, *candidate));
    let strongest = first(whole, async |candidate| Box::pin(tried(config, candidate, &step)).await, &step).await;
    Ok(strongest.unwrap_or(DriverConfig::Oci))
}

/// The first of them that boots; why others do not is said.
async fn first<D>(
    candidates: impl Iterator<Item = Driver>,
    boot: impl AsyncFn(Driver) -> Result<D, String>,
    step: &impl Fn(&str),
) -> Option<D> {
    for candidate in candidates {
        match boot(candidate).await {
            Ok(driver) => return Some(driver),
            Err(why) => step(&format!("the driver `{}` is passed over: {why}", name(candidate))),
        }
    }
    None
}

/// As the API and the CLI call it.
pub(super) fn name_of(driver: &DriverConfig) -> &'static str {
    match driver {
        DriverConfig::Oci => name(Driver::Oci),
        DriverConfig::Qemu(_) => name(Driver::Qemu),
        DriverConfig::Firecracker(_) => name(Driver::Firecracker),
    }
}

fn name(driver: Driver) -> &'static str {
    match driver {
        Driver::Auto => "auto",
        Driver::Firecracker => "firecracker",
        Driver::Qemu => "qemu",
        Driver::Oci => "oci",
    }
}

/// Whether nothing that can be seen is missing, the processor's help included: what is slow is not chosen unasked.
fn is_whole(config: &ServerConfig, driver: Driver) -> bool {
    let checks = slipway_sandbox::drivers(&config.host.sandbox, &config.machines.programs);
    checks.iter().any(|check| check.ok && check.name.strip_prefix("driver ") == Some(name(driver)))
}

async fn tried(config: &ServerConfig, driver: Driver, step: &impl Fn(&str)) -> Result<DriverConfig, String> {
    let driver = machine(config, driver, step).await.map_err(|failure| failure.in_one_line())?;
    let trial = SandboxConfig { driver: driver.clone(), ..config.host.sandbox.clone() };
    slipway_sandbox::try_boot(trial).await.map_err(|error| error.to_string())?;
    Ok(driver)
}

async fn machine(config: &ServerConfig, driver: Driver, step: &impl Fn(&str)) -> Result<DriverConfig, Failure> {
    let guest = prepare_guest(config, step).await?;
    let (programs, kernel_words) = (config.machines.programs.clone(), config.machines.kernel_words.clone());
    Ok(match driver {
        Driver::Firecracker => DriverConfig::Firecracker(FirecrackerConfig {
            guest,
            firecracker_program: programs.firecracker,
            jailer_program: programs.jailer,
            kernel_words,
            limits: config.machines.limits,
            boot_time_max: FIRECRACKER_BOOT_TIME_MAX,
            snapshots_dir: config.machines.snapshots.then(|| config.data_dir.join(GUEST_DIR).join(SNAPSHOTS_DIR)),
        }),
        _ => DriverConfig::Qemu(QemuConfig {
            guest,
            acceleration: Acceleration::Auto,
            qemu_program: programs.qemu,
            vsock_program: programs.vhost_device_vsock,
        }),
    })
}

/// The release that is known to work, where Firecracker may be of use and nothing says where it is.
fn unasked_release(config: &ServerConfig) -> Option<ReleaseSource> {
    let machines = &config.machines;
    let wanted = matches!(config.driver, Driver::Auto | Driver::Firecracker);
    let lacks = || slipway_sandbox::lacks_firecracker(&machines.programs, config.driver == Driver::Firecracker);
    (wanted && machines.fetches_unasked && lacks()).then(|| ReleaseSource::known(RELEASE_VERSION)).flatten()
}

/// Firecracker's release, where one is to be used.
async fn fetch_release(config: &ServerConfig, step: &impl Fn(&str)) -> Result<(), Failure> {
    let Some(release) = config.machines.release.clone() else { return Ok(()) };
    let dir = releases_dir(&config.data_dir);
    if !dir.join(&release.version).exists() {
        step(&format!("fetching Firecracker {}", release.version));
    }
    let fetched = tokio::task::spawn_blocking(move || slipway_sandbox::fetch_release(&dir, &release)).await;
    let fetched = fetched.map_err(|error| Failure::server("Firecracker was not fetched").caused_by(&error))?;
    fetched.map(drop).map_err(|error| {
        let source = std::error::Error::source(&error);
        Failure::server(error.to_string()).caused_by_all(source).hint("`sandbox.firecracker_release` says which release, and from where; or install `firecracker` and `jailer` in PATH")
    })
}

async fn prepare_guest(config: &ServerConfig, step: &impl Fn(&str)) -> Result<GuestImage, Failure> {
    let dir = config.data_dir.join(GUEST_DIR);
    let (kernel, agent) = (config.machines.kernel.clone(), config.host.sandbox.agent_program.clone());
    if !dir.exists() && kernel == KernelSource::Debian {
        step("fetching the kernel of virtual machines (about 30 MB, once)");
    }
    let prepared = tokio::task::spawn_blocking(move || guest::prepare(&dir, &kernel, &agent)).await;
    let prepared =
        prepared.map_err(|error| Failure::server("the guest's kernel was not prepared").caused_by(&error))?;
    prepared.map_err(|error| {
        let source = std::error::Error::source(&error);
        Failure::server(format!("cannot prepare the kernel of virtual machines: {error}"))
            .caused_by_all(source)
            .hint("`sandbox.kernel` and `sandbox.kernel_modules` give one of yours; `--driver oci` needs none")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[tokio::test]
    async fn the_strongest_that_boots_is_taken_and_what_is_passed_over_is_said() {
        let (tried, said) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
        let step = |line: &str| said.borrow_mut().push(line.to_owned());
        let boot = async |driver: Driver| {
            tried.borrow_mut().push(name(driver));
            if driver == Driver::Qemu { Ok(name(driver)) } else { Err("no kernel".to_owned()) }
        };
        assert_eq!(first(MACHINES.into_iter(), boot, &step).await, Some("qemu"));
        assert_eq!(tried.take(), ["firecracker", "qemu"]);
        assert_eq!(said.take(), ["the driver `firecracker` is passed over: no kernel"]);
        let none = async |_| Err::<(), _>("no agent".to_owned());
        assert_eq!(first(MACHINES.into_iter(), none, &step).await, None);
        assert_eq!(said.take().len(), 2);
    }
}
