//! `slipway server`: all roles in one process. This module is what comes before: configuration, log, data directory,
//! ports; [`wiring`] is what runs.

mod claim;
mod cold_check;
mod config;
mod driver;
mod handed;
mod log;
mod notify;
mod signal;
mod successor;
mod trial;
mod wiring;

use crate::backup;
use crate::cli::{Check, GlobalOptions, ServerOptions};
use crate::failure::Failure;
pub(crate) use claim::DataDir;
use claim::Listeners;
use config::ServerConfig;
pub(crate) use config::check_domain;
use handed::Handed;
use slipway_sandbox::NetworkConfig;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
pub(crate) use trial::try_database;
pub(crate) use wiring::DATABASE_NAME;

const NO_OPTIONS: GlobalOptions =
    GlobalOptions { data: None, url: None, token: None, project: None, service: None, json: false };
/// The edge has threads of its own; API, executor and supervisor mostly wait.
const RUNTIME_THREADS: usize = 2;

/// Runs until it is asked to stop.
///
/// # Errors
/// When the server cannot start, or one of its parts ended on its own.
pub(crate) fn run(global: &GlobalOptions, options: &ServerOptions) -> Result<ExitCode, Failure> {
    notify::take();
    let handed = Handed::take()?;
    let config = ServerConfig::resolve(global, options)?;
    log::start(options.log_format)?;
    log::end(run_logged(config, handed))
}

fn run_logged(config: ServerConfig, handed: Handed) -> Result<ExitCode, Failure> {
    let _data_dir = DataDir::claim(&config.data_dir)?;
    if backup::is_unfinished(&config.data_dir) {
        return Err(backup::unfinished(&config.data_dir));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("slipway")
        .enable_all()
        .build()
        .map_err(|error| Failure::server("cannot start the runtime").caused_by(&error))?;
    let served = runtime.block_on(async {
        let listeners = Listeners::bind(&config, handed).await?;
        wiring::serve(config, listeners).await
    });
    runtime.shutdown_background();
    match served? {
        None => Ok(ExitCode::SUCCESS),
        Some(successor) => Err(successor.begin()),
    }
}

/// `slipway shim DIR`: holds one sandbox.
pub(crate) fn shim(dir: &Path) -> ExitCode {
    // The server's own protection from the kernel's choice when memory runs out is not that of what it runs.
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
    slipway_sandbox::shim_main(dir)
}

/// What this machine has and lacks for running sandboxes, for `slipway doctor`.
pub(crate) async fn checks(global: &GlobalOptions, config: Option<PathBuf>) -> Result<Vec<Check>, Failure> {
    let options = ServerOptions { config, ..ServerOptions::default() };
    let config = ServerConfig::resolve(global, &options)?;
    let sandbox = &config.host.sandbox;
    let shown = |check: slipway_sandbox::Check, needed: bool| Check {
        name: check.name.to_owned(),
        ok: check.ok,
        needed,
        found: check.detail,
        hint: (!check.hint.is_empty()).then(|| check.hint.to_owned()),
    };
    let mut checks: Vec<Check> = slipway_sandbox::probe(sandbox).into_iter().map(|check| shown(check, true)).collect();
    // One of them is enough; that `oci` works is among the checks above.
    let drivers = slipway_sandbox::drivers(sandbox, &config.machines.programs);
    checks.extend(drivers.into_iter().map(|check| shown(check, false)));
    checks.extend(cold_check::check(&config).await);
    Ok(checks)
}

/// Where a server has its data, as it would find it itself.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) data_dir: PathBuf,
    pub(crate) layers_dir: PathBuf,
    pub(crate) keep_releases: u32,
    /// The file that it would read, when there is one.
    pub(crate) config_file: Option<PathBuf>,
}

impl Places {
    /// # Errors
    /// When the configuration is not usable.
    pub(crate) fn find(global: &GlobalOptions, config: Option<PathBuf>) -> Result<Self, Failure> {
        let config_file = config::file_in_use(config.as_deref());
        let options = ServerOptions { config, ..ServerOptions::default() };
        let config = ServerConfig::resolve(global, &options)?;
        Ok(Self {
            layers_dir: config.host.layers_dir,
            data_dir: config.data_dir,
            keep_releases: config.keep_releases,
            config_file,
        })
    }
}

/// On which address the edge of a server with that configuration file listens.
///
/// # Errors
/// When the file is not usable.
pub(crate) fn configured_edge(config: &Path) -> Result<SocketAddr, Failure> {
    let config = Some(config.to_owned());
    let options = ServerOptions { config, ..ServerOptions::default() };
    ServerConfig::resolve(&NO_OPTIONS, &options).map(|config| config.edge_listen)
}

/// The network of a server with the configuration file that it would find.
///
/// # Errors
/// When the file is not usable.
pub(crate) fn configured_network() -> Result<NetworkConfig, Failure> {
    ServerConfig::resolve(&NO_OPTIONS, &ServerOptions::default()).map(|config| config.host.sandbox.network)
}
