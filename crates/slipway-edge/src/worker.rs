//! One thread of the edge: its own runtime, listening socket and upstream connections. A request never changes threads.

use crate::connection::{self, Client};
use crate::limits::{ACCEPT_BACKOFF, EdgeLimits, READER_THREADS_MAX, SWEEP_INTERVAL};
use crate::meter::Counts;
use crate::outside::Outside;
use crate::request_id::RequestIds;
use crate::table::Table;
use crate::wake::Asks;
use arc_swap::ArcSwap;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the requests of one thread share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) thread: usize,
    pub(crate) table: Arc<ArcSwap<Table>>,
    /// The generation of `table`: who waits for a change is told.
    pub(crate) generations: watch::Receiver<u64>,
    pub(crate) asks: Arc<Asks>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) limits: EdgeLimits,
    pub(crate) request_ids: RequestIds,
    pub(crate) trust_forwarded: bool,
    pub(crate) outside: Arc<Outside>,
    /// Upgraded connections. They end with the thread: no client closes a WebSocket because a server would like to.
    pub(crate) tunnels: TaskTracker,
}

/// Starts the thread; its outcome comes over the channel, which breaks if it panics.
pub(crate) fn start(
    worker: Worker,
    listener: TcpListener,
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new().name(format!("edge-{}", worker.thread)).spawn(move || {
        let ended = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(READER_THREADS_MAX)
            .build()
            .and_then(|runtime| runtime.block_on(run(Arc::new(worker), listener, places, shutdown)));
        // The receiver is gone when nobody waits for the edge any more.
        let _ = done.send(ended);
    })?;
    Ok(outcome)
}

async fn run(
    worker: Arc<Worker>,
    listener: TcpListener,
    places: Arc<Semaphore>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let grace = worker.limits.shutdown_grace;
    tokio::spawn(sweep(worker.clone()));
    let connections = TaskTracker::new();
    accept(&worker, &listener, &places, &shutdown, &connections).await;
    drop(listener);
    connections.close();
    if tokio::time::timeout(grace, connections.wait()).await.is_err() {
        tracing::warn!(thread = worker.thread, cut = connections.len(), "requests were cut at shutdown");
    }
    Ok(())
}

async fn accept(
    worker: &Arc<Worker>,
    listener: &tokio::net::TcpListener,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
    connections: &TaskTracker,
) {
    loop {
        let next = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|accepted| (accepted, place))
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            accepted = next => match accepted {
                Ok(((stream, address), place)) => {
                    let client = Client::new(worker.clone(), address, place);
                    connections.spawn(connection::serve(client, stream, shutdown.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            },
        }
    }
}

/// Closes idle upstream connections before the apps do.
async fn sweep(worker: Arc<Worker>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        for backend in &worker.table.load().backends {
            backend.sweep(worker.thread, worker.limits.upstream_idle_timeout);
        }
    }
}
