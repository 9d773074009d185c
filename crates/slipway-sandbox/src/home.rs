//! The directory of one sandbox: where its files are, what they say, and how its sockets are reached.

use crate::config::IoLimits;
use crate::error::SandboxError;
use crate::guest::GuestImage;
use crate::network::Slot;
use crate::process::ProcessId;
use crate::spec::{SandboxSpec, WritableSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use slipway_layers::{LayerError, image};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Written by the supervisor before the shim starts: all that a shim needs. Holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BootSpec {
    pub(crate) spec: SandboxSpec,
    pub(crate) slot: Slot,
    /// In every cgroup hierarchy, from its root.
    pub(crate) cgroup: String,
    pub(crate) dns: Vec<Ipv4Addr>,
    pub(crate) runtime_program: PathBuf,
    pub(crate) agent_program: PathBuf,
    pub(crate) ca_bundle: Option<PathBuf>,
    /// A tree of empty mount points, the lowest layer of all.
    pub(crate) skeleton: PathBuf,
    /// Where empty images stand that scratch images are copied from. Sandboxes of an older server have none.
    #[serde(default)]
    pub(crate) templates: Option<PathBuf>,
    /// A shim lets go of every mount below, other than its own.
    pub(crate) data_dir: PathBuf,
    /// Sandboxes of an older server have none: containers.
    #[serde(default)]
    pub(crate) driver: BootDriver,
    /// It is nobody's yet: the agent is told nothing before somebody claims it.
    #[serde(default)]
    pub(crate) blank: bool,
}

/// What boots the sandbox, with the programs that were found for it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BootDriver {
    #[default]
    Oci,
    Qemu(QemuPrograms),
    Firecracker(FirecrackerPrograms),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FirecrackerPrograms {
    pub(crate) firecracker: PathBuf,
    pub(crate) jailer: PathBuf,
    /// What both say of themselves.
    pub(crate) version: String,
    pub(crate) guest: GuestImage,
    pub(crate) kernel_words: String,
    pub(crate) limits: IoLimits,
    pub(crate) boot_time_max: Duration,
    pub(crate) snapshots_dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct QemuPrograms {
    pub(crate) qemu: PathBuf,
    /// The vsock device, `vhost-device-vsock`.
    pub(crate) vsock: PathBuf,
    pub(crate) guest: GuestImage,
    /// With the processor's own virtualisation; without, every instruction is translated.
    pub(crate) kvm: bool,
}

/// Written by the shim as it goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ShimState {
    pub(crate) shim: ProcessId,
    /// The sandbox's PID 1, as the host counts it.
    pub(crate) init: Option<ProcessId>,
}

impl BootSpec {
    /// Makes the image that takes what is written.
    pub(crate) fn create_writable(&self) -> Result<(), LayerError> {
        let WritableSpec { image, bytes, keep, .. } = &self.spec.writable;
        match self.templates.as_ref().filter(|_| !keep) {
            Some(templates) => image::create_from(templates, image, *bytes),
            None => image::create(image, *bytes),
        }
    }

    /// Files of `/etc` that are each sandbox's own: name and text.
    pub(crate) fn generated_files(&self) -> [(&'static str, String); 3] {
        let name = &self.spec.hostname;
        let resolvers = self.dns.iter().map(|address| format!("nameserver {address}\n")).collect();
        let hosts = format!("127.0.0.1 localhost\n{} {name}\n", self.slot.guest);
        [("resolv.conf", resolvers), ("hosts", hosts), ("hostname", format!("{name}\n"))]
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
}

impl Home {
    pub(crate) fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub(crate) fn boot_spec_path(&self) -> PathBuf {
        self.dir.join("spec.json")
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(crate) fn bundle_dir(&self) -> PathBuf {
        self.dir.join("bundle")
    }

    /// State of the OCI runtime (`--root`).
    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.dir.join("runtime")
    }

    pub(crate) fn mounts_dir(&self) -> PathBuf {
        self.dir.join("mounts")
    }

    /// Sockets of the virtual machine monitor and its devices.
    pub(crate) fn machine_dir(&self) -> PathBuf {
        self.dir.join("machine")
    }

    /// What a virtual machine wrote to its console, up to a bound.
    pub(crate) fn console_path(&self) -> PathBuf {
        self.dir.join("console")
    }

    /// Shown to the agent as `/run/slipway`; holds its socket.
    pub(crate) fn agent_dir(&self) -> PathBuf {
        self.dir.join("agent")
    }

    pub(crate) fn boot_spec(&self) -> Result<BootSpec, SandboxError> {
        read_json(&self.boot_spec_path())
    }

    pub(crate) fn state(&self) -> Result<ShimState, SandboxError> {
        read_json(&self.state_path())
    }

    /// Whether the shim that wrote the state still runs.
    pub(crate) fn shim_alive(&self) -> bool {
        self.state().is_ok_and(|state| state.shim.alive())
    }

    pub(crate) fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<(), SandboxError> {
        let bytes = serde_json::to_vec(value).map_err(|e| SandboxError::file("encode", path)(e.into()))?;
        let partial = path.with_extension("partial");
        std::fs::write(&partial, bytes).map_err(SandboxError::file("write", &partial))?;
        std::fs::rename(&partial, path).map_err(SandboxError::file("rename", path))
    }
}

/// A path to `name` in `dir` that is short however long `dir` is: a socket's address holds 107 bytes.
/// It is good for as long as the returned descriptor is open.
pub(crate) fn short_path(dir: &Path, name: &str) -> std::io::Result<(std::fs::File, PathBuf)> {
    let dir = std::fs::File::open(dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()));
    Ok((dir, path))
}

pub(crate) const SHIM_SOCKET: &str = "shim.sock";
pub(crate) const AGENT_SOCKET: &str = "agent.sock";

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, SandboxError> {
    let bytes = std::fs::read(path).map_err(SandboxError::file("read", path))?;
    serde_json::from_slice(&bytes).map_err(|error| SandboxError::file("parse", path)(error.into()))
}
