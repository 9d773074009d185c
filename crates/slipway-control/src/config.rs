//! What control is told at its start.

use crate::metrics::TrafficReader;
use slipway_types::host::{HostCommand, HostReport};
use slipway_types::log;
use slipway_types::route::{EdgeReport, RouteTable};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// What is in flight to an old replica gets this long by default.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Deployments that may wait for a worker, by default. Each holds an upload; who waits behind a hundred is better told so.
pub const QUEUE_MAX: u32 = 100;

#[derive(Debug)]
pub struct ControlConfig {
    pub data_dir: PathBuf,
    /// The API is served here: a loopback address, unless its owner knows better.
    pub api_listener: TcpListener,
    /// Under which services get their host names: `localhost`.
    pub domain: String,
    /// Port of the edge's listener, for URLs.
    pub edge_port: u16,
    /// Largest upload, compressed.
    pub upload_bytes_max: u64,
    pub drain_timeout: Duration,
    /// Name of the driver that boots sandboxes, for `GET /v1/server`.
    pub driver: String,
    pub version: String,
    /// Newest releases of each service whose layers stay; at least 1.
    pub keep_releases: u32,
    /// For all builds together.
    pub build_memory_max_bytes: u64,
    /// Deployments that may wait for a worker.
    pub queue_max: u32,
    pub logs: LogLimits,
}

/// Bytes of logs on the disk, beyond which the oldest go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// What the replicas of one service print.
    pub service_bytes: u64,
    /// The phases of one deployment.
    pub deployment_bytes: u64,
    /// All of them together.
    pub server_bytes: u64,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self {
            service_bytes: log::SERVICE_LOG_BYTES,
            deployment_bytes: log::DEPLOYMENT_LOG_BYTES,
            server_bytes: log::SERVER_LOG_BYTES,
        }
    }
}

impl ControlConfig {
    /// Defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>, api_listener: TcpListener) -> Self {
        Self {
            data_dir: data_dir.into(),
            api_listener,
            domain: "localhost".to_owned(),
            edge_port: 80,
            upload_bytes_max: slipway_types::api::UPLOAD_BYTES_MAX,
            drain_timeout: DRAIN_TIMEOUT,
            driver: "oci".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            keep_releases: slipway_types::cache::KEEP_RELEASES_DEFAULT,
            build_memory_max_bytes: u64::MAX,
            queue_max: QUEUE_MAX,
            logs: LogLimits::default(),
        }
    }
}

/// The way to a host and back.
#[derive(Debug)]
pub struct HostLink {
    pub commands: mpsc::Sender<HostCommand>,
    pub reports: mpsc::Receiver<HostReport>,
}

/// The way to an edge and back.
#[derive(Debug)]
pub struct EdgeLink {
    pub tables: watch::Sender<RouteTable>,
    pub reports: mpsc::Receiver<EdgeReport>,
    pub traffic: TrafficReader,
}
