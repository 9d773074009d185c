//! How sandboxes are made on this machine: programs, directories, network.

use crate::guest::GuestImage;
use crate::network::cidr::Cidr;
use serde::{Deserialize, Serialize};
use slipway_types::image::WrittenBy;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

/// Where the certificate bundle stands in a sandbox.
pub(crate) const CA_BUNDLE_IN_SANDBOX: &str = "/etc/slipway/ca.pem";

/// The variables by which common programs find a certificate bundle.
const CA_VARIABLES: [&str; 7] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "NPM_CONFIG_CAFILE",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CURL_CA_BUNDLE",
];

#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// One directory per sandbox is made in here. Its parent is the data directory: a shim lets go of every mount
    /// below that which is not its own.
    pub sandboxes_dir: PathBuf,
    /// Run as `<program> shim <sandbox dir>`.
    pub shim_program: PathBuf,
    /// The static agent binary.
    pub agent_program: PathBuf,
    pub runtime: Runtime,
    pub driver: DriverConfig,
    pub network: NetworkConfig,
    /// Certificates that sandboxes trust; see [`SandboxConfig::ca_env`].
    pub ca_bundle: Option<PathBuf>,
    /// What is booted ahead.
    pub warm: WarmConfig,
}

/// Sandboxes that are booted before they are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarmConfig {
    /// How many of each size stand ready; none: as many as suit the driver. 0: every sandbox is booted when it is wanted.
    pub idle: Option<u32>,
    /// What they may take of the host's memory together while they are idle.
    pub memory_bytes: u64,
    /// An older one is replaced.
    pub age_max: Duration,
}

impl WarmConfig {
    pub const OFF: Self = Self { idle: Some(0), ..Self::STANDARD };
    pub const STANDARD: Self = Self { idle: None, memory_bytes: 1 << 30, age_max: Duration::from_secs(3600) };
}

impl SandboxConfig {
    /// Whose kernel writes what sandboxes write.
    pub fn written_by(&self) -> WrittenBy {
        match self.driver {
            DriverConfig::Oci => WrittenBy::Host,
            DriverConfig::Qemu(_) | DriverConfig::Firecracker(_) => WrittenBy::Guest,
        }
    }

    /// Variables that a task needs so that its programs trust the configured bundle. Empty without one.
    pub fn ca_env(&self) -> BTreeMap<String, String> {
        if self.ca_bundle.is_none() {
            return BTreeMap::new();
        }
        CA_VARIABLES.iter().map(|name| ((*name).to_owned(), CA_BUNDLE_IN_SANDBOX.to_owned())).collect()
    }
}

/// What sandboxes are.
#[derive(Debug, Clone, Default)]
pub enum DriverConfig {
    /// Containers of an OCI runtime, on the host's kernel.
    #[default]
    Oci,
    /// Virtual machines, each with a kernel of its own.
    Qemu(QemuConfig),
    /// The same by Firecracker, which needs the processor's help.
    Firecracker(FirecrackerConfig),
}

/// It takes a tenth of a second where the processor helps; a loaded machine gets this.
pub const FIRECRACKER_BOOT_TIME_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Clone)]
pub struct FirecrackerConfig {
    /// Kernel and initramfs, as [`crate::guest::prepare`] made them.
    pub guest: GuestImage,
    /// None: the one in `PATH`.
    pub firecracker_program: Option<PathBuf>,
    /// None: the one in `PATH`. Of the same version.
    pub jailer_program: Option<PathBuf>,
    /// More words for the kernel's command line.
    pub kernel_words: String,
    pub limits: IoLimits,
    /// From the start of a machine until its agent listens.
    pub boot_time_max: Duration,
    /// Where snapshots of booted machines are kept. None: every machine boots.
    pub snapshots_dir: Option<PathBuf>,
}

/// What a machine may use of the host's disks and network. Each of its disks, and each direction of its network, has the
/// whole of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoLimits {
    pub disk_bytes_per_second: Option<u64>,
    pub disk_operations_per_second: Option<u64>,
    pub network_bytes_per_second: Option<u64>,
    pub network_packets_per_second: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct QemuConfig {
    /// Kernel and initramfs, as [`crate::guest::prepare`] made them.
    pub guest: GuestImage,
    pub acceleration: Acceleration,
    /// `qemu-system-x86_64`; none: the one in `PATH`.
    pub qemu_program: Option<PathBuf>,
    /// `vhost-device-vsock`; none: the one in `PATH`.
    pub vsock_program: Option<PathBuf>,
}

/// Programs of the drivers of virtual machines. None: the one in `PATH`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachinePrograms {
    pub firecracker: Option<PathBuf>,
    pub jailer: Option<PathBuf>,
    pub qemu: Option<PathBuf>,
    pub vhost_device_vsock: Option<PathBuf>,
}

/// What runs a virtual machine's instructions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acceleration {
    /// The processor where it can, else translation.
    #[default]
    Auto,
    Kvm,
    /// Translation by QEMU: on every machine, about ten times slower.
    Tcg,
}

/// Which OCI runtime runs the containers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// crun from 1.0 on, which starts a container in a third of the time; else runc.
    #[default]
    Auto,
    Runc,
    Crun,
}

#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// Split into slots of four addresses, one per sandbox. Two servers on one machine need different ones.
    pub subnet: Cidr,
    /// Destinations that sandboxes may reach although they are private.
    pub allow: Vec<Cidr>,
    /// Resolvers of the sandboxes. Empty: those of this machine.
    pub dns: Vec<IpAddr>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self { subnet: Cidr::from_parts(Ipv4Addr::new(10, 201, 0, 0), 16), allow: Vec::new(), dns: Vec::new() }
    }
}
