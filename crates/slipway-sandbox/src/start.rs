//! Starts shims: what every sandbox of a server is made of, and the first words of the process that holds it.

use crate::config::SandboxConfig;
use crate::error::SandboxError;
use crate::home::{BootDriver, BootSpec, Home};
use crate::network::{Network, Slot};
use crate::spec::SandboxSpec;
use crate::wire::BootReport;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};

/// From the start of a shim until the agent is ready. It takes a tenth of a second; a loaded machine gets this.
const BOOT_TIME_MAX: Duration = Duration::from_secs(30);
/// A virtual machine without the processor's help takes seconds. More than its driver waits, which knows what to say.
const MACHINE_BOOT_TIME_MAX: Duration = Duration::from_secs(240);
/// One line of a shim's report.
const REPORT_BYTES_MAX: u64 = 64 * 1024;
/// Of the log, when a boot failed without a word.
const LOG_TAIL_BYTES: usize = 2000;

/// Beside the sandboxes. Its name is no sandbox id.
const TEMPLATES: &str = ".templates";

/// What all sandboxes of one server have in common.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) config: SandboxConfig,
    pub(crate) driver: BootDriver,
    pub(crate) runtime_program: PathBuf,
    pub(crate) skeleton: PathBuf,
    pub(crate) network: Network,
}

impl Base {
    pub(crate) fn home(&self, name: &str) -> Home {
        Home::new(self.config.sandboxes_dir.join(name))
    }

    /// Name of the cgroup of the sandbox in the directory of that name.
    pub(crate) fn cgroup(&self, name: &str) -> String {
        format!("/{}/{name}", self.network.cgroup())
    }

    pub(crate) fn boot_spec(&self, spec: SandboxSpec, slot: Slot, cgroup: String) -> BootSpec {
        BootSpec {
            cgroup,
            slot,
            dns: self.network.dns().to_vec(),
            runtime_program: self.runtime_program.clone(),
            agent_program: self.config.agent_program.clone(),
            ca_bundle: self.config.ca_bundle.clone(),
            skeleton: self.skeleton.clone(),
            templates: Some(self.config.sandboxes_dir.join(TEMPLATES)),
            driver: self.driver.clone(),
            data_dir: data_dir(&self.config.sandboxes_dir).to_owned(),
            blank: false,
            spec,
        }
    }

    pub(crate) fn boot_time_max(&self) -> Duration {
        match &self.driver {
            BootDriver::Oci => BOOT_TIME_MAX,
            BootDriver::Qemu(_) => MACHINE_BOOT_TIME_MAX,
            // It may boot twice, to say why the first boot failed.
            BootDriver::Firecracker(programs) => 2 * programs.boot_time_max + MACHINE_BOOT_TIME_MAX,
        }
    }

    /// Starts the shim of a directory. The process that is started here ends at once: the shim is its child.
    pub(crate) async fn start_shim(&self, home: &Home, input: Stdio) -> Result<ShimProcess, SandboxError> {
        let program = &self.config.shim_program;
        let started = |source| SandboxError::ShimStart { program: program.clone(), source };
        let log = std::fs::File::create(home.log_path()).map_err(SandboxError::file("create", home.log_path()))?;
        let mut command = tokio::process::Command::new(program);
        command.arg("shim").arg(&home.dir).stdin(input).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().map_err(started)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let ended = tokio::time::timeout(BOOT_TIME_MAX, child.wait()).await;
        ended.map_err(|_| started(std::io::ErrorKind::TimedOut.into()))?.map_err(started)?;
        let output = stdout.map(BufReader::new);
        Ok(ShimProcess { input: stdin, output })
    }
}

/// The pipes to a shim.
#[derive(Debug)]
pub(crate) struct ShimProcess {
    /// Of a blank's: its end is the blank's end.
    pub(crate) input: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl ShimProcess {
    /// Waits for the next report of the shim in that directory; answers the steps that led to it.
    pub(crate) async fn report(
        &mut self,
        id: &str,
        home: &Home,
        bound: Duration,
    ) -> Result<Vec<(String, u64)>, SandboxError> {
        let failed = |why: String| SandboxError::Boot { id: id.to_owned(), why };
        let mut line = String::new();
        let read = async {
            match &mut self.output {
                Some(output) => output.take(REPORT_BYTES_MAX).read_line(&mut line).await,
                None => Ok(0),
            }
        };
        match tokio::time::timeout(bound, read).await {
            Ok(read) => read.map_err(|error| failed(format!("its shim cannot be heard: {error}")))?,
            Err(_) => return Err(failed(format!("it was not ready after {} s", bound.as_secs()))),
        };
        match serde_json::from_str(&line) {
            Ok(BootReport::Ready { steps }) => Ok(steps),
            Ok(BootReport::Failed { why }) => Err(failed(why)),
            Err(_) => Err(failed(format!("its shim ended without a word: {}", log_tail(home)))),
        }
    }

    /// Tells a blank which directory it is to be the sandbox of.
    pub(crate) async fn claim_for(&mut self, home: &Home) -> std::io::Result<()> {
        let Some(input) = &mut self.input else { return Err(std::io::ErrorKind::BrokenPipe.into()) };
        input.write_all(format!("{}\n", home.dir.display()).as_bytes()).await
    }

    /// Returns when the shim ended, or says something unasked. Can be given up and asked again.
    pub(crate) async fn ended(&mut self) {
        if let Some(output) = &mut self.output {
            let _ = output.fill_buf().await;
        }
    }
}

/// An empty directory of templates: what made those of an older server may be older too.
pub(crate) fn make_templates(sandboxes_dir: &Path) -> Result<(), SandboxError> {
    let dir = sandboxes_dir.join(TEMPLATES);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(SandboxError::file("make", &dir))
}

/// The directory that holds layers, scratch and sandboxes.
fn data_dir(sandboxes_dir: &Path) -> &Path {
    sandboxes_dir.parent().unwrap_or(sandboxes_dir)
}

fn log_tail(home: &Home) -> String {
    let log = std::fs::read(home.log_path()).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).trim().to_owned()
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SandboxError> + Send + 'static,
) -> Result<T, SandboxError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(SandboxError::Background { why: error.to_string() }))
}
