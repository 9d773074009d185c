//! All sandboxes of one server: boot, adopt, reap.

use crate::config::{DriverConfig, Runtime, SandboxConfig};
use crate::error::SandboxError;
use crate::home::{BootDriver, BootSpec, Home};
use crate::link::{self, Remains};
use crate::network::{Network, NetworkError, Slot};
use crate::pool::{self, Pool};
use crate::reap::reap;
use crate::sandbox::Sandbox;
use crate::spec::SandboxSpec;
use crate::start::{Base, blocking, make_templates};
use crate::steps::Steps;
use crate::{driver, program};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Sandboxes {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    base: Arc<Base>,
    pool: Pool,
}

impl Sandboxes {
    /// Removes what sandboxes whose shim died left behind, puts the network's rules in force and begins to prepare network slots and
    /// blanks.
    ///
    /// # Errors
    /// When the machine cannot run sandboxes; [`crate::probe`] says why in more words.
    pub async fn open(config: SandboxConfig) -> Result<Self, SandboxError> {
        let base = blocking(move || {
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
            make_templates(&config.sandboxes_dir)?;
            pool::remove_left(&config.sandboxes_dir);
            let in_use = reap_dead(&config.sandboxes_dir)?;
            let network = Network::open(&config.network, &in_use)?;
            Ok(Base { config, driver, runtime_program, skeleton, network })
        })
        .await?;
        base.network.refill();
        let base = Arc::new(base);
        let pool = Pool::new(Arc::clone(&base));
        drop(pool.refill());
        Ok(Self { inner: Arc::new(Inner { base, pool }) })
    }

    pub fn config(&self) -> &SandboxConfig {
        &self.inner.base.config
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
        for home in homes(&self.inner.base.config.sandboxes_dir)? {
            if !home.shim_alive() {
                continue;
            }
            let boot = home.boot_spec()?;
            let remains = Remains { home, boot, network: self.inner.base.network.clone() };
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
        let _ = self.inner.base.network.refill().await;
        let _ = self.inner.pool.refill().await;
    }

    /// Removes what stands ready for sandboxes that were not booted. Running ones go on.
    pub async fn close(&self) {
        let Inner { base, pool } = &*self.inner;
        pool.close().await;
        base.network.close().await;
        driver::cgroup::remove_empty(&format!("/{}", base.network.cgroup()));
    }
}

impl Inner {
    async fn boot(&self, spec: SandboxSpec) -> Result<Sandbox, SandboxError> {
        let shape = self.pool.shape(&spec);
        let booted = match self.pool.claim(&spec).await {
            Some(sandbox) => Ok(sandbox),
            None => self.boot_cold(spec).await,
        };
        // Not before: making another takes from the machine what this boot needs.
        self.pool.asked_for(shape);
        booted
    }

    async fn boot_cold(&self, spec: SandboxSpec) -> Result<Sandbox, SandboxError> {
        let base = &self.base;
        let mut steps = Steps::begin();
        let slot = match base.network.claim().await {
            // Blanks hold slots too.
            Err(NetworkError::Exhausted { .. }) if self.pool.make_room().await => base.network.claim().await,
            claimed => claimed,
        }?;
        steps.done("slot");
        let (home, cgroup) = (base.home(&spec.id), base.cgroup(&spec.id));
        let boot = base.boot_spec(spec, slot.clone(), cgroup);
        let prepared = {
            let (home, boot) = (home.clone(), boot.clone());
            blocking(move || prepare(&home, &boot)).await
        };
        if let Err(error) = prepared {
            base.network.release(slot).await;
            return Err(error);
        }
        steps.done("files");
        let remains = Remains { home, boot, network: base.network.clone() };
        let booted = match start(base, &remains).await {
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

/// Starts the shim and waits for its report.
async fn start(base: &Base, remains: &Remains) -> Result<Vec<(String, u64)>, SandboxError> {
    let mut shim = base.start_shim(&remains.home, Stdio::null()).await?;
    shim.report(&remains.boot.spec.id, &remains.home, base.boot_time_max()).await
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
        Runtime::Auto => {
            let crun = program::find("crun").filter(|crun| is_recent_crun(crun));
            crun.or_else(|| program::find("runc"))
        }
        Runtime::Runc => program::find("runc"),
        Runtime::Crun => program::find("crun"),
    }
}

/// Ubuntu 22.04 has 0.17, on which nobody runs our tests.
fn is_recent_crun(program: &Path) -> bool {
    let said = program::run(Command::new(program).arg("--version"), "").unwrap_or_default();
    crun_major(&said).is_some_and(|major| major >= 1)
}

/// The first line is `crun version 1.8.1`.
fn crun_major(said: &str) -> Option<u32> {
    said.lines().next()?.strip_prefix("crun version ")?.split('.').next()?.parse().ok()
}

fn find_programs(config: &DriverConfig) -> Result<BootDriver, SandboxError> {
    match config {
        DriverConfig::Oci => Ok(BootDriver::Oci),
        DriverConfig::Qemu(config) => driver::qemu::find_programs(config).map(BootDriver::Qemu),
        DriverConfig::Firecracker(config) => driver::firecracker::find_programs(config).map(BootDriver::Firecracker),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_crun() {
        assert_eq!(crun_major("crun version 1.8.1\ncommit: f8a0"), Some(1));
        assert_eq!(crun_major("crun version 0.17\n"), Some(0));
        assert_eq!(crun_major("runc version 1.1.5"), None);
        assert_eq!(crun_major(""), None);
    }
}
