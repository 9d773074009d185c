//! All sandboxes of one server: boot, adopt, reap.

use crate::config::{DriverConfig, Runtime, SandboxConfig};
use crate::error::SandboxError;
use crate::home::{BootDriver, BootSpec, Home};
use crate::link::{self, Remains};
use crate::network::{Network, Slot};
use crate::reap::reap;
use crate::sandbox::Sandbox;
use crate::spec::SandboxSpec;
use crate::steps::Steps;
use crate::wire::BootReport;
use crate::{driver, program};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

/// From the start of a shim until the agent is ready. It takes a tenth of a second; a loaded machine gets this.
const BOOT_TIME_MAX: Duration = Duration::from_secs(30);
/// A virtual machine without the processor's help takes seconds. More than its driver waits, which knows what to say.
const MACHINE_BOOT_TIME_MAX: Duration = Duration::from_secs(240);
/// The one line of a shim's report.
const REPORT_BYTES_MAX: u64 = 64 * 1024;
/// Of the log, when a boot failed without a word.
const LOG_TAIL_BYTES: usize = 2000;

#[derive(Debug, Clone)]
pub struct Sandboxes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: SandboxConfig,
    driver: BootDriver,
    runtime_program: PathBuf,
    skeleton: PathBuf,
    network: Network,
}

impl Sandboxes {
    /// Removes what sandboxes whose shim died left behind, puts the network's rules in force and begins to prepare
    /// network slots.
    ///
    /// # Errors
    /// When the machine cannot run sandboxes; [`crate::probe`] says why in more words.
    pub async fn open(config: SandboxConfig) -> Result<Self, SandboxError> {
        let inner = blocking(move || {
            let driver = find_programs(&config.driver)?;
            let runtime_program = match driver {
                BootDriver::Oci => find_runtime(config.runtime).ok_or(SandboxError::NoRuntime)?,
                BootDriver::Qemu(_) | BootDriver::Firecracker(_) => PathBuf::new(),
            };
            for file in [&config.shim_program, &config.agent_program] {
                if !file.is_file() {
                    return Err(SandboxError::NoProgram { program: file.clone() });
                }
            }
            let skeleton = driver::oci::make_skeleton(&config.sandboxes_dir)?;
            // Mount tables name resolved paths; everything else derives from this one.
            let resolved = config.sandboxes_dir.canonicalize();
            let sandboxes_dir = resolved.map_err(SandboxError::file("resolve", &config.sandboxes_dir))?;
            let config = SandboxConfig { sandboxes_dir, ..config };
            let in_use = reap_dead(&config.sandboxes_dir)?;
            let network = Network::open(&config.network, &in_use)?;
            Ok(Inner { config, driver, runtime_program, skeleton, network })
        })
        .await?;
        inner.network.refill();
        Ok(Self { inner: Arc::new(inner) })
    }

    pub fn config(&self) -> &SandboxConfig {
        &self.inner.config
    }

    /// Boots a sandbox until its agent is ready. When the caller goes away meanwhile, the sandbox is stopped.
    ///
    /// # Errors
    /// When it did not boot; nothing is left of it then.
    pub async fn boot(&self, spec: SandboxSpec) -> Result<Sandbox, SandboxError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            if let Err(Ok(unwanted)) = sender.send(inner.boot(spec).await)
                && let Err(error) = unwanted.stop(Duration::ZERO).await
            {
                tracing::warn!(%error, "cannot stop a sandbox that nobody waits for");
            }
        });
        receiver.await.unwrap_or_else(|error| Err(SandboxError::Background { why: error.to_string() }))
    }

    /// Attaches to every sandbox whose shim lives, after a restart of the server. One that ended meanwhile is among
    /// them: it says so by its events.
    ///
    /// # Errors
    /// When the directory of sandboxes cannot be read. A sandbox that does not answer, such as one whose boot was cut
    /// short, is removed.
    pub async fn adopt(&self) -> Result<Vec<Sandbox>, SandboxError> {
        let mut adopted = Vec::new();
        for home in homes(&self.inner.config.sandboxes_dir)? {
            if !home.shim_alive() {
                continue;
            }
            let boot = home.boot_spec()?;
            let remains = Remains { home, boot, network: self.inner.network.clone() };
            match link::attach(remains.clone()).await {
                Ok(sandbox) => adopted.push(sandbox),
                Err(error) => {
                    tracing::warn!(%error, dir = %remains.home.dir.display(), "cannot adopt a sandbox, removed it");
                    remains.remove(Duration::ZERO).await;
                }
            }
        }
        Ok(adopted)
    }

    /// Waits until what is made ahead for sandboxes to come stands ready.
    pub async fn prepared(&self) {
        // It can only fail by being canceled with the runtime.
        let _ = self.inner.network.refill().await;
    }

    /// Removes what stands ready for sandboxes that were not booted. Running ones go on.
    pub async fn close(&self) {
        self.inner.network.close().await;
        driver::cgroup::remove_empty(&format!("/{}", self.inner.network.cgroup()));
    }
}

impl Inner {
    async fn boot(&self, spec: SandboxSpec) -> Result<Sandbox, SandboxError> {
        let mut steps = Steps::begin();
        let slot = self.network.claim().await?;
        steps.done("slot");
        let home = Home::new(self.config.sandboxes_dir.join(&spec.id));
        let boot = BootSpec {
            cgroup: format!("/{}/{}", self.network.cgroup(), spec.id),
            slot: slot.clone(),
            dns: self.network.dns().to_vec(),
            runtime_program: self.runtime_program.clone(),
            agent_program: self.config.agent_program.clone(),
            ca_bundle: self.config.ca_bundle.clone(),
            skeleton: self.skeleton.clone(),
            driver: self.driver.clone(),
            data_dir: data_dir(&self.config.sandboxes_dir).to_owned(),
            spec,
        };
        let prepared = {
            let (home, boot) = (home.clone(), boot.clone());
            blocking(move || prepare(&home, &boot)).await
        };
        if let Err(error) = prepared {
            self.network.release(slot).await;
            return Err(error);
        }
        steps.done("files");
        let remains = Remains { home, boot, network: self.network.clone() };
        let booted = match start_shim(&self.config.shim_program, &remains.home, &remains.boot).await {
            Ok(of_the_shim) => {
                steps.within("shim", of_the_shim);
                link::attach(remains.clone()).await
            }
            Err(error) => Err(error),
        };
        steps.done("attach");
        if let Ok(sandbox) = &booted {
            tracing::debug!(sandbox = sandbox.id(), steps = ?steps.taken, "sandbox is ready");
            sandbox.booted_in(steps.taken);
        }
        if booted.is_err() {
            remains.remove(Duration::ZERO).await;
        }
        booted
    }
}

/// The directory that holds layers, scratch and sandboxes.
fn data_dir(sandboxes_dir: &Path) -> &Path {
    sandboxes_dir.parent().unwrap_or(sandboxes_dir)
}

fn prepare(home: &Home, boot: &BootSpec) -> Result<(), SandboxError> {
    boot.spec.check()?;
    if home.dir.exists() {
        if home.shim_alive() {
            return Err(SandboxError::Exists { id: boot.spec.id.clone() });
        }
        reap(home)?;
    }
    std::fs::create_dir_all(&home.dir).map_err(SandboxError::file("make", &home.dir))?;
    home.write_json(&home.boot_spec_path(), boot)
}

/// Starts the shim and waits for its one line. The process that is started here ends at once: the shim is its child.
async fn start_shim(program: &Path, home: &Home, boot: &BootSpec) -> Result<Vec<(String, u64)>, SandboxError> {
    let id = &boot.spec.id;
    let bound = match &boot.driver {
        BootDriver::Oci => BOOT_TIME_MAX,
        BootDriver::Qemu(_) => MACHINE_BOOT_TIME_MAX,
        // It may boot twice, to say why the first boot failed.
        BootDriver::Firecracker(programs) => 2 * programs.boot_time_max + MACHINE_BOOT_TIME_MAX,
    };
    let started = |source| SandboxError::ShimStart { program: program.to_owned(), source };
    let log = std::fs::File::create(home.log_path()).map_err(SandboxError::file("create", home.log_path()))?;
    let mut command = tokio::process::Command::new(program);
    command.arg("shim").arg(&home.dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().map_err(started)?;
    let stdout = child.stdout.take();
    let report = tokio::time::timeout(bound, async {
        let mut line = String::new();
        if let Some(stdout) = stdout {
            BufReader::new(stdout.take(REPORT_BYTES_MAX)).read_line(&mut line).await?;
        }
        child.wait().await?;
        Ok(line)
    });
    let failed = |why: String| SandboxError::Boot { id: id.clone(), why };
    let line = match report.await {
        Ok(line) => line.map_err(started)?,
        Err(_) => return Err(failed(format!("it was not ready after {} s", bound.as_secs()))),
    };
    match serde_json::from_str(&line) {
        Ok(BootReport::Ready { steps }) => Ok(steps),
        Ok(BootReport::Failed { why }) => Err(failed(why)),
        Err(_) => Err(failed(format!("its shim ended without a word: {}", log_tail(home)))),
    }
}

fn log_tail(home: &Home) -> String {
    let log = std::fs::read(home.log_path()).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).trim().to_owned()
}

fn homes(sandboxes_dir: &Path) -> Result<Vec<Home>, SandboxError> {
    let error = SandboxError::file("read", sandboxes_dir);
    let entries = std::fs::read_dir(sandboxes_dir).map_err(error)?.flatten();
    let ids = entries.filter(|entry| entry.file_name().to_str().is_some_and(crate::spec::is_id));
    Ok(ids.map(|entry| Home::new(entry.path())).collect())
}

/// Removes what dead shims left; answers the slots that living ones use.
fn reap_dead(sandboxes_dir: &Path) -> Result<Vec<Slot>, SandboxError> {
    let mut in_use = Vec::new();
    for home in homes(sandboxes_dir)? {
        if home.shim_alive() {
            in_use.push(home.boot_spec()?.slot);
        } else if let Err(error) = reap(&home) {
            tracing::warn!(%error, dir = %home.dir.display(), "cannot remove a dead sandbox");
        }
    }
    Ok(in_use)
}

pub(crate) fn find_runtime(choice: Runtime) -> Option<PathBuf> {
    match choice {
        Runtime::Auto => program::find("runc").or_else(|| program::find("crun")),
        Runtime::Runc => program::find("runc"),
        Runtime::Crun => program::find("crun"),
    }
}

fn find_programs(config: &DriverConfig) -> Result<BootDriver, SandboxError> {
    match config {
        DriverConfig::Oci => Ok(BootDriver::Oci),
        DriverConfig::Qemu(config) => driver::qemu::find_programs(config).map(BootDriver::Qemu),
        DriverConfig::Firecracker(config) => driver::firecracker::find_programs(config).map(BootDriver::Firecracker),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SandboxError> + Send + 'static,
) -> Result<T, SandboxError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(SandboxError::Background { why: error.to_string() }))
}
