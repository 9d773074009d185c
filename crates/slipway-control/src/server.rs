//! Control as a whole: what it opens, what runs, how it stops.

use crate::api::{self, Api, Guard};
use crate::bootstrap::{self, BootstrapError};
use crate::config::{ControlConfig, EdgeLink, HostLink};
use crate::executor::{Command, Executor, ExecutorError};
use crate::log::Logs;
use crate::metrics::Metrics;
use crate::outside::Machine;
use crate::readiness::LastLook;
use crate::shared::Shared;
use crate::source::Credentials;
use crate::upload::Uploads;
use slipway_store::Store;
use slipway_types::api::ServerView;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Requests that wait for the executor; it takes milliseconds for each.
const COMMANDS_MAX: usize = 64;
/// Calls that are under way at a stop get this long; streams end at once.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Why control could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    #[error("could not open {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("could not find out the address of the API's listener")]
    Listener(#[source] io::Error),
    #[error("the API's listener failed")]
    Serve(#[source] io::Error),
    #[error(transparent)]
    Executor(#[from] ExecutorError),
}

/// Serves the API and executes the pipeline until `shutdown`.
///
/// # Errors
/// When the data directory can't be used, or the host or the edge goes away.
pub async fn run(
    config: ControlConfig,
    store: Store,
    host: HostLink,
    edge: EdgeLink,
    shutdown: CancellationToken,
) -> Result<(), ControlError> {
    let bootstrap = bootstrap::bootstrap(&config.data_dir)?;
    let address = config.api_listener.local_addr().map_err(ControlError::Listener)?;
    bootstrap::write_client(&config.data_dir, &format!("http://{address}"), &bootstrap.token)?;
    let guard = Guard::new(&bootstrap.token, address);
    let ControlConfig {
        api_listener,
        data_dir,
        domain,
        edge_port,
        upload_bytes_max,
        drain_timeout,
        driver,
        version,
        keep_releases,
        build_memory_max_bytes,
        queue_max,
        logs: log_limits,
    } = config;
    let open = |name: &str| {
        let path = data_dir.join(name);
        (path.clone(), move |source| ControlError::Open { path, source })
    };
    let (uploads, uploads_failed) = open("uploads");
    let (logs, logs_failed) = open("logs");
    let (credentials, credentials_failed) = open("credentials");
    let shared = Arc::new(Shared {
        outside: Box::new(Machine { since: Instant::now() }),
        server: ServerView { version, domain, edge_port, driver },
        drain_timeout,
        store,
        key: bootstrap.master_key,
        credentials: Credentials::open(credentials).map_err(credentials_failed)?,
        logs: Arc::new(Logs::open(logs, log_limits).map_err(logs_failed)?),
        uploads: Uploads::open(uploads, upload_bytes_max).map_err(uploads_failed)?,
        fleet: Mutex::default(),
        cache: Mutex::default(),
        keep_releases,
        build_memory_max_bytes,
        queue_max,
        waits: Mutex::default(),
        editing: tokio::sync::Mutex::default(),
        data_dir: data_dir.clone(),
        metrics: Metrics::default(),
        traffic: edge.traffic.clone(),
        last_look: LastLook::default(),
    });
    let keep_logs = Arc::clone(&shared.logs).keep_within_bound(shutdown.child_token());
    let (commands, for_executor) = mpsc::channel::<Command>(COMMANDS_MAX);
    let executor = Executor::new(Arc::clone(&shared), host, edge, for_executor);
    // One of them ending ends the other: neither is of use alone.
    let stop = shutdown.child_token();
    let api = Api { shared, commands, shutdown: stop.clone() };
    let serve = serve(api_listener, api::router(api, guard), stop.clone());
    let execute = async {
        let outcome = Box::pin(executor.run(stop.clone())).await;
        stop.cancel();
        outcome
    };
    let keep_logs = stop.run_until_cancelled(keep_logs);
    let (served, executed, _) = tokio::join!(serve, execute, keep_logs);
    executed?;
    served
}

async fn serve(
    listener: tokio::net::TcpListener,
    router: axum::Router,
    stop: CancellationToken,
) -> Result<(), ControlError> {
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    let outcome = tokio::select! {
        outcome = server.into_future() => outcome.map_err(ControlError::Serve),
        () = late => Ok(()),
    };
    stop.cancel();
    outcome
}
