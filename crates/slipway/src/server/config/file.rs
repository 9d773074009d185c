//! `slipway-server.toml` as it is written. Everything is optional; unknown keys are refused, because a misspelt one
//! that is silently ignored costs its owner an afternoon.

use crate::cli::Driver;
use serde::{Deserialize, Deserializer};
use slipway_edge::Network;
use slipway_sandbox::{Cidr, Runtime};
use slipway_types::settings::{ByteSize, DurationMs};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    pub(super) data: Option<PathBuf>,
    pub(super) upload_bytes_max: Option<ByteSize>,
    pub(super) drain_timeout: Option<DurationMs>,
    pub(super) api: ApiTable,
    pub(super) edge: EdgeTable,
    pub(super) build: BuildTable,
    pub(super) sandbox: SandboxTable,
    pub(super) base: BaseTable,
    pub(super) node: NodeTable,
    pub(super) python: PythonTable,
    pub(super) layers: LayersTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ApiTable {
    pub(super) listen: Option<SocketAddr>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EdgeTable {
    pub(super) listen: Option<SocketAddr>,
    pub(super) domain: Option<String>,
    pub(super) proxy_allow: Vec<NetworkText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BuildTable {
    pub(super) workers: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SandboxTable {
    pub(super) driver: Option<Driver>,
    pub(super) runtime: Option<Runtime>,
    pub(super) subnet: Option<CidrText>,
    pub(super) allow: Vec<CidrText>,
    pub(super) dns: Vec<IpAddr>,
    pub(super) ca_bundle: Option<PathBuf>,
    pub(super) agent: Option<PathBuf>,
    pub(super) firecracker: Option<PathBuf>,
    pub(super) jailer: Option<PathBuf>,
    pub(super) qemu: Option<PathBuf>,
    pub(super) vhost_device_vsock: Option<PathBuf>,
    pub(super) kernel: Option<PathBuf>,
    pub(super) kernel_modules: Option<PathBuf>,
    pub(super) kernel_words: Option<String>,
    pub(super) snapshots: bool,
    pub(super) firecracker_release: Option<ReleaseSetting>,
    pub(super) io: IoTable,
    pub(super) warm: WarmTable,
}

/// What is booted ahead.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WarmTable {
    pub(super) idle: Option<u32>,
    pub(super) memory: Option<ByteSize>,
}

/// `false`, or which.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected `false`, or `{ version = \"…\", sha256 = \"…\", url = \"…\" }`")]
pub(super) enum ReleaseSetting {
    IsFetched(bool),
    Of(ReleaseTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseTable {
    pub(super) version: String,
    pub(super) sha256: Option<String>,
    pub(super) url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IoTable {
    pub(super) disk_bytes_per_second: Option<ByteSize>,
    pub(super) disk_operations_per_second: Option<u64>,
    pub(super) network_bytes_per_second: Option<ByteSize>,
    pub(super) network_packets_per_second: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BaseTable {
    pub(super) suite: Option<String>,
    pub(super) mirror: Option<String>,
    pub(super) packages: Option<Vec<String>>,
    pub(super) image: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NodeTable {
    pub(super) source: Option<NodeKind>,
    pub(super) url: Option<String>,
    pub(super) npm: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PythonTable {
    pub(super) pip: Option<PathBuf>,
    pub(super) mirror: Option<String>,
    pub(super) list: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NodeKind {
    Auto,
    NodejsOrg,
    Npm,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LayersTable {
    pub(super) dir: Option<PathBuf>,
    pub(super) quota: Option<ByteSize>,
    pub(super) service_quota: Option<ByteSize>,
    pub(super) keep_free: Option<ByteSize>,
    pub(super) keep_releases: Option<u32>,
    pub(super) cold: Option<ColdTable>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ColdTable {
    pub(super) endpoint: Option<String>,
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) region: Option<String>,
    /// A file; without it, the environment.
    pub(super) credentials: Option<PathBuf>,
    pub(super) concurrency: Option<u32>,
    pub(super) bytes_per_second: Option<ByteSize>,
    pub(super) allow_http: bool,
    pub(super) ca_bundle: Option<PathBuf>,
}

/// `10.201.0.0/16`
#[derive(Debug, Clone, Copy)]
pub(super) struct CidrText(pub(super) Cidr);

impl<'de> Deserialize<'de> for CidrText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// `10.0.0.0/8` or `fd00::/8`
#[derive(Debug, Clone, Copy)]
pub(super) struct NetworkText(pub(super) Network);

impl<'de> Deserialize<'de> for NetworkText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}
