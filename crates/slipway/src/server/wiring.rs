//! The parts of a server and what runs between them: control hands phases and replicas to the host and route tables to
//! the edge, both report back. All queues are bounded. When one part ends, all are asked to; apps go on either way,
//! each held by its own shim.

use super::claim::Listeners;
use super::config::ServerConfig;
use super::driver;
use super::log;
use super::signal::{StopSignal, Wish};
use super::successor::Successor;
use crate::client::ClientFile;
use crate::failure::Failure;
use slipway_control::{ControlConfig, EdgeLink, HostLink, TrafficReader};
use slipway_edge::{EdgeConfig, EdgeListener, Meter};
use slipway_store::Store;
use slipway_types::route::RouteTable;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const DATABASE_NAME: &str = "slipway.db";
/// Phases of a few workers and whole replica sets: control waits before it gets far ahead of the host.
const HOST_COMMANDS_MAX: usize = 64;
/// Mostly log lines: enough for the output of a busy build while the database commits.
const HOST_REPORTS_MAX: usize = 1024;
/// One for each table, one for each drained replica.
const EDGE_REPORTS_MAX: usize = 256;
/// Adopting many sandboxes takes seconds; more is a hang.
const HOST_START_WAIT_MAX: Duration = Duration::from_secs(120);
/// The host ends builds within 20 s, the edge its requests; more is a part that hangs.
const STOP_WAIT_MAX: Duration = Duration::from_secs(40);

/// Serves until the process is told to stop, or to make place for a successor, which it then answers.
///
/// # Errors
/// When a part could not start, or ended on its own.
pub(super) async fn serve(mut config: ServerConfig, listeners: Listeners) -> Result<Option<Successor>, Failure> {
    let mut stop_signal = StopSignal::listen()?;
    let successor = Successor::of(&listeners)?;
    let client_file = ClientFile::path(&config.data_dir);
    // Left by a server that was killed: it would tell scripts that this one is ready.
    remove(&client_file)?;
    tokio::select! {
        prepared = prepare(&mut config) => prepared?,
        wish = stop_signal.next() => return Ok((wish == Wish::Replace).then_some(successor)),
    }
    let shutdown = CancellationToken::new();
    let mut parts = Parts::new();
    let ended = tokio::select! {
        ended = run_parts(&config, listeners, &mut parts, &shutdown) => ended.map(|()| Wish::Stop),
        wish = stop_signal.next() => Ok(wish),
    };
    announce_end(&ended);
    shutdown.cancel();
    let stopped = tokio::select! {
        stopped = all_end(parts) => stopped,
        // Who asks twice does not want to wait.
        _ = stop_signal.next() => Ok(()),
    };
    // The edge read them to its last answer.
    slipway_host::release_sites(&config.host).await;
    remove(&client_file)?;
    match (ended?, stopped) {
        (Wish::Stop, stopped) => stopped.map(|()| None),
        (Wish::Replace, stopped) => {
            // A part that hangs ends with this program.
            stopped.unwrap_or_else(|failure| log::warn(&failure));
            Ok(Some(successor))
        }
    }
}

fn announce_end(ended: &Result<Wish, Failure>) {
    if let Ok(Wish::Replace) = ended {
        log::say("making place for the program that is installed now; apps go on");
        super::notify::reloading();
    } else {
        log::say("stopping; apps go on");
        super::notify::stopping();
    }
}

/// Starts host and edge, control once both are up, and waits for the first of them to end.
async fn run_parts(
    config: &ServerConfig,
    listeners: Listeners,
    parts: &mut Parts,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    let addresses = Addresses::of(&listeners)?;
    let database = config.data_dir.join(DATABASE_NAME);
    let store = Store::open(&database).await.map_err(|error| {
        Failure::server(format!("cannot open the database `{}`", database.display())).caused_by(&error)
    })?;
    let host_link = start_host(config, parts, shutdown);
    let edge_link = start_edge(config, listeners.edge, parts, shutdown);
    host_is_up(&config.host.up, parts).await?;
    let control = control_config(config, listeners.api, addresses);
    let stop = shutdown.clone();
    parts.spawn(async move {
        named("control", Box::pin(slipway_control::run(control, store, host_link, edge_link, stop)).await)
    });
    addresses.announce(config);
    super::notify::ready();
    first_end(parts).await
}

/// The driver's guest and the base layer, made at the first start: minutes, so each step says what it does.
async fn prepare(config: &mut ServerConfig) -> Result<(), Failure> {
    config.host.sandbox.driver = Box::pin(driver::choose(config, log::step)).await?;
    let prepared = Box::pin(slipway_host::prepare(&config.host, log::step)).await;
    prepared.map_err(|error| {
        Failure::server(format!("cannot prepare the base system: {error}"))
            .caused_by_all(error.source())
            .hint("`slipway doctor` says what this machine lacks")
    })
}

type Parts = JoinSet<Result<(), Failure>>;

fn start_host(config: &ServerConfig, parts: &mut Parts, shutdown: &CancellationToken) -> HostLink {
    let (commands, for_host) = mpsc::channel(HOST_COMMANDS_MAX);
    let (host_reports, reports) = mpsc::channel(HOST_REPORTS_MAX);
    let (host, stop) = (config.host.clone(), shutdown.clone());
    parts.spawn(async move { named("host", Box::pin(slipway_host::run(host, for_host, host_reports, stop)).await) });
    HostLink { commands, reports }
}

fn start_edge(
    config: &ServerConfig,
    listener: EdgeListener,
    parts: &mut Parts,
    shutdown: &CancellationToken,
) -> EdgeLink {
    let (tables, mut for_edge) = watch::channel(RouteTable::default());
    let (edge_reports, reports) = mpsc::channel(EDGE_REPORTS_MAX);
    let stop = shutdown.clone();
    let meter = Meter::default();
    let edge = EdgeConfig { proxy: config.proxy.clone(), meter: meter.clone(), ..EdgeConfig::default() };
    parts.spawn(async move {
        // Before that it could say nothing but 404: who connects waits in the kernel's queue.
        if let Some(Err(_)) = stop.run_until_cancelled(for_edge.changed()).await {
            return Ok(());
        }
        named("edge", Box::pin(slipway_edge::run(edge, listener, for_edge, edge_reports, stop)).await)
    });
    EdgeLink { tables, reports, traffic: TrafficReader::new(move || meter.read()) }
}

/// Only once network and driver are there is there something to be ready for.
async fn host_is_up(up: &CancellationToken, parts: &mut Parts) -> Result<(), Failure> {
    tokio::select! {
        () = up.cancelled() => Ok(()),
        ended = first_end(parts) => ended,
        () = tokio::time::sleep(HOST_START_WAIT_MAX) => {
            let seconds = HOST_START_WAIT_MAX.as_secs();
            Err(Failure::server(format!("the host did not begin within {seconds} s")))
        }
    }
}

fn control_config(config: &ServerConfig, api_listener: TcpListener, addresses: Addresses) -> ControlConfig {
    ControlConfig {
        domain: config.domain.clone(),
        edge_port: addresses.edge.port(),
        upload_bytes_max: config.upload_bytes_max,
        drain_timeout: config.drain_timeout,
        driver: driver::name_of(&config.host.sandbox.driver).to_owned(),
        keep_releases: config.keep_releases,
        build_memory_max_bytes: config.queue.memory_max_bytes,
        queue_max: config.queue.waiting_max,
        logs: config.logs,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ControlConfig::new(&config.data_dir, api_listener)
    }
}

fn named(part: &str, ended: Result<(), impl Error>) -> Result<(), Failure> {
    ended.map_err(|error| {
        Failure::server(format!("the {part} of the server ended: {error}")).caused_by_all(error.source())
    })
}

/// The end of the first part, which is early whatever it says.
async fn first_end(parts: &mut Parts) -> Result<(), Failure> {
    match parts.join_next().await {
        Some(Ok(ended)) => ended.and(Err(Failure::server("a part of the server ended although nobody asked it to"))),
        Some(Err(panicked)) => Err(Failure::server("a part of the server crashed").caused_by(&panicked)),
        None => Ok(()),
    }
}

async fn all_end(mut parts: Parts) -> Result<(), Failure> {
    let wait = async {
        let mut outcome = Ok(());
        while let Some(ended) = parts.join_next().await {
            let ended = ended
                .unwrap_or_else(|panicked| Err(Failure::server("a part of the server crashed").caused_by(&panicked)));
            outcome = outcome.and(ended);
        }
        outcome
    };
    let seconds = STOP_WAIT_MAX.as_secs();
    let waited = tokio::time::timeout(STOP_WAIT_MAX, wait).await;
    waited.unwrap_or_else(|_| Err(Failure::server(format!("a part of the server did not stop within {seconds} s"))))
}

/// Where the listeners really are: port 0 is any free one.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    api: SocketAddr,
    edge: SocketAddr,
}

impl Addresses {
    fn of(listeners: &Listeners) -> Result<Self, Failure> {
        let unknown = |error: io::Error| Failure::server("cannot find out a listener's address").caused_by(&error);
        Ok(Self { api: listeners.api.local_addr().map_err(unknown)?, edge: listeners.edge.address().map_err(unknown)? })
    }

    fn announce(self, config: &ServerConfig) {
        let (domain, port) = (&config.domain, self.edge.port());
        log::ready(&format!("API at http://{}", self.api));
        log::ready(&format!("services at http://<service>-<project>.{domain}:{port}"));
        log::ready(&format!("data in {}", config.data_dir.display()));
    }
}

fn remove(client_file: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(client_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::server(format!("cannot remove `{}`", client_file.display())).caused_by(&error))
        }
        _ => Ok(()),
    }
}
