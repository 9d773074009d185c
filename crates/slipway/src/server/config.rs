//! What a server is told: flags over environment variables over `slipway-server.toml` over the defaults.
//!
//! Guarantees that every value was checked before anything on the machine is touched. Unknown keys are refused.

mod file;
mod layers;
mod logs;
mod machines;
mod queue;

use crate::cli::{Driver, GlobalOptions, ServerOptions};
use crate::client::DATA_DIR_DEFAULT;
use crate::failure::Failure;
use file::{ConfigFile, NodeKind};
pub(crate) use machines::{MachinesConfig, releases_dir};
pub(crate) use queue::QueueConfig;
use slipway_control::LogLimits;
use slipway_edge::ProxyConfig;
use slipway_host::{BaseConfig, HostConfig, NodeSource, PythonSource};
use slipway_sandbox::{DriverConfig, NetworkConfig, SandboxConfig, WarmConfig};
use slipway_types::api::UPLOAD_BYTES_MAX;
use slipway_types::settings::{ByteSize, DurationMs};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Read when it exists and no other file is named.
const FILE_DEFAULT: &str = "/etc/slipway/slipway-server.toml";
const API_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7700);
const EDGE_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DOMAIN_DEFAULT: &str = "localhost";
/// What is in flight to an old replica gets this long.
const DRAIN_TIMEOUT_DEFAULT: DurationMs = DurationMs::seconds(30);
const NODE_SITE_DEFAULT: &str = "https://nodejs.org/dist";
/// Beyond it a build machine swaps rather than builds.
const WORKERS_MAX: u32 = 64;
/// Room for 16 sandboxes: a few replicas and a build.
const SUBNET_PREFIX_MAX: u8 = 26;
/// Sandboxes of one size that stand ready: more than a burst of deployments takes.
const WARM_IDLE_MAX: u32 = 16;
/// A host name has 253 bytes (RFC 1035), of which a label in front takes 64 with its dot.
const DOMAIN_BYTES_MAX: usize = 189;
const AGENT_NAME: &str = "libexec/slipway-agent";

/// All that `slipway server` needs to know.
#[derive(Debug, Clone)]
pub(crate) struct ServerConfig {
    pub(crate) data_dir: PathBuf,
    pub(crate) api_listen: SocketAddr,
    pub(crate) edge_listen: SocketAddr,
    pub(crate) domain: String,
    /// What redirect rules may reach outside.
    pub(crate) proxy: ProxyConfig,
    pub(crate) driver: Driver,
    /// What drivers of virtual machines need.
    pub(crate) machines: MachinesConfig,
    pub(crate) upload_bytes_max: u64,
    pub(crate) drain_timeout: Duration,
    /// Newest releases of each service whose layers stay.
    pub(crate) keep_releases: u32,
    /// What may wait, and what builds may take.
    pub(crate) queue: QueueConfig,
    pub(crate) logs: LogLimits,
    pub(crate) host: HostConfig,
}

impl ServerConfig {
    /// # Errors
    /// When the file cannot be read or a value is not usable.
    pub(crate) fn resolve(global: &GlobalOptions, options: &ServerOptions) -> Result<Self, Failure> {
        let file = read_file(options.config.as_deref())?;
        let data_dir = global.data.clone().or(file.data.clone()).unwrap_or_else(|| PathBuf::from(DATA_DIR_DEFAULT));
        let data_dir = std::path::absolute(&data_dir).map_err(|error| {
            Failure::usage(format!("`{}` is not a usable data directory", data_dir.display())).caused_by(&error)
        })?;
        let domain = options.domain.clone().or(file.edge.domain.clone()).unwrap_or_else(|| DOMAIN_DEFAULT.to_owned());
        check_domain(&domain)?;
        let upload_bytes_max = file.upload_bytes_max.unwrap_or(ByteSize(UPLOAD_BYTES_MAX)).0;
        if upload_bytes_max > UPLOAD_BYTES_MAX {
            let most = ByteSize(UPLOAD_BYTES_MAX);
            return Err(Failure::usage(format!("`upload_bytes_max` is larger than {most}, which is the most")));
        }
        let allow = file.edge.proxy_allow.iter().map(|network| network.0).collect();
        let (api_listen, edge_listen) = (file.api.listen, file.edge.listen);
        let (driver, drain_timeout) = (file.sandbox.driver, file.drain_timeout);
        let keep_releases = layers::keep_releases(&file.layers)?;
        let queue = queue::queue_config(&file.build)?;
        let log_limits = logs::log_limits(&file.logs)?;
        let machines = machines::machines_config(&file.sandbox, &data_dir)?;
        let host = host_config(&data_dir, file)?;
        Ok(Self {
            api_listen: options.listen.or(api_listen).unwrap_or(API_LISTEN_DEFAULT),
            edge_listen: options.edge_listen.or(edge_listen).unwrap_or(EDGE_LISTEN_DEFAULT),
            domain,
            driver: options.driver.or(driver).unwrap_or_default(),
            machines,
            upload_bytes_max,
            drain_timeout: drain_timeout.unwrap_or(DRAIN_TIMEOUT_DEFAULT).as_duration(),
            proxy: ProxyConfig { allow, ca_bundle: host.sandbox.ca_bundle.clone() },
            keep_releases,
            queue,
            logs: log_limits,
            host,
            data_dir,
        })
    }
}

/// The file that is read, when it is there.
pub(super) fn file_in_use(named: Option<&Path>) -> Option<PathBuf> {
    let path = named.unwrap_or(Path::new(FILE_DEFAULT));
    path.is_file().then(|| path.to_owned())
}

fn read_file(named: Option<&Path>) -> Result<ConfigFile, Failure> {
    let path = named.unwrap_or(Path::new(FILE_DEFAULT));
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            return Ok(ConfigFile::default());
        }
        read => read.map_err(|error| Failure::usage(format!("cannot read `{}`", path.display())).caused_by(&error))?,
    };
    toml::from_str(&text)
        .map_err(|error| Failure::usage(format!("`{}` is not usable", path.display())).caused_by(&error))
}

fn host_config(data_dir: &Path, file: ConfigFile) -> Result<HostConfig, Failure> {
    let workers = file.build.workers.unwrap_or_else(workers_default);
    if !(1..=WORKERS_MAX).contains(&workers) {
        return Err(Failure::usage(format!("`build.workers = {workers}` is out of range: 1 to {WORKERS_MAX}")));
    }
    let base = BaseConfig::default();
    let sandbox = sandbox_config(data_dir, file.sandbox)?;
    Ok(HostConfig {
        data_dir: data_dir.to_owned(),
        layers_dir: file.layers.dir.clone().unwrap_or_else(|| data_dir.join("layers")),
        layers: layers::layers_config(file.layers, sandbox.ca_bundle.as_deref())?,
        workers,
        replica_rate: logs::replica_rate(&file.logs)?,
        base: BaseConfig {
            image: file.base.image,
            suite: file.base.suite.unwrap_or(base.suite),
            mirror: file.base.mirror,
            packages: file.base.packages.unwrap_or(base.packages),
        },
        node: node_source(file.node.source, file.node.url)?,
        npm_program: file.node.npm.unwrap_or_else(|| PathBuf::from("npm")),
        python: python_source(file.python)?,
        up: CancellationToken::new(),
        sandbox,
    })
}

/// Half of the cores: the other half serves what is live.
fn workers_default() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores / 2).unwrap_or(WORKERS_MAX).clamp(1, WORKERS_MAX)
}

fn node_source(kind: Option<NodeKind>, url: Option<String>) -> Result<NodeSource, Failure> {
    let site =
        |url: Option<String>| NodeSource::NodejsOrg { base_url: url.unwrap_or_else(|| NODE_SITE_DEFAULT.into()) };
    match (kind, url) {
        (None | Some(NodeKind::Auto), None) => Ok(NodeSource::Auto),
        // A site that is named is meant.
        (None | Some(NodeKind::NodejsOrg), url) => Ok(site(url)),
        (Some(NodeKind::Npm), None) => Ok(NodeSource::Npm),
        (Some(NodeKind::Auto | NodeKind::Npm), Some(_)) => {
            Err(Failure::usage("`node.url` goes with `node.source = \"nodejs-org\"` only"))
        }
    }
}

fn python_source(table: file::PythonTable) -> Result<PythonSource, Failure> {
    let is_url = |text: &str| ["https://", "http://", "file://"].iter().any(|scheme| text.starts_with(scheme));
    if let Some(mirror) = table.mirror.as_ref().filter(|mirror| !is_url(mirror)) {
        return Err(Failure::usage(format!("`python.mirror = \"{mirror}\"` is not a URL"))
            .hint("it begins with `https://`, `http://` or `file://`"));
    }
    let default = PythonSource::default();
    Ok(PythonSource { pip_program: table.pip.unwrap_or(default.pip_program), mirror: table.mirror, list: table.list })
}

fn sandbox_config(data_dir: &Path, table: file::SandboxTable) -> Result<SandboxConfig, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::server("cannot find this program's own file").caused_by(&error))?;
    let network = NetworkConfig::default();
    let subnet = table.subnet.map_or(network.subnet, |subnet| subnet.0);
    if !(8..=SUBNET_PREFIX_MAX).contains(&subnet.prefix()) {
        return Err(Failure::usage(format!("`sandbox.subnet = \"{subnet}\"` has not the right size"))
            .hint(format!("each sandbox takes 4 addresses: choose a prefix from /8 to /{SUBNET_PREFIX_MAX}")));
    }
    let trusted = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let ca_bundle = table.ca_bundle.or(trusted);
    if let Some(path) = ca_bundle.as_ref().filter(|path| !path.is_file()) {
        return Err(Failure::usage(format!("there is no certificate bundle `{}`", path.display()))
            .hint("it comes from `sandbox.ca_bundle`, else from the variable SSL_CERT_FILE"));
    }
    Ok(SandboxConfig {
        sandboxes_dir: data_dir.join("sandboxes"),
        agent_program: table.agent.unwrap_or_else(|| program.with_file_name(AGENT_NAME)),
        shim_program: program,
        runtime: table.runtime.unwrap_or_default(),
        // Chosen when the server starts.
        driver: DriverConfig::default(),
        network: NetworkConfig { subnet, allow: table.allow.into_iter().map(|cidr| cidr.0).collect(), dns: table.dns },
        ca_bundle,
        warm: warm_config(&table.warm)?,
    })
}

fn warm_config(table: &file::WarmTable) -> Result<WarmConfig, Failure> {
    if let Some(idle) = table.idle.filter(|idle| *idle > WARM_IDLE_MAX) {
        return Err(Failure::usage(format!("`sandbox.warm.idle = {idle}` is out of range: 0 to {WARM_IDLE_MAX}")));
    }
    let standard = WarmConfig::STANDARD;
    let memory_bytes = table.memory.map_or(standard.memory_bytes, |memory| memory.0);
    Ok(WarmConfig { idle: table.idle, memory_bytes, ..standard })
}

pub(crate) fn check_domain(domain: &str) -> Result<(), Failure> {
    let is_label = |label: &str| {
        let bytes = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        bytes && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    if domain.len() <= DOMAIN_BYTES_MAX && domain.split('.').all(is_label) {
        return Ok(());
    }
    Err(Failure::usage(format!("`{domain}` is not a usable domain"))
        .hint("a domain is lower case, without port and dots at its ends, such as `apps.example.org`"))
}

#[cfg(test)]
mod tests;
