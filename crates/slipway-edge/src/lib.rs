//! The edge: a reverse proxy with routes by generation, balancing and drain.
//!
//! It is told the whole route table and applies it atomically; it reports when a table is in force and when a
//! replica that left the table has its last request behind it. What it guarantees:
//!
//! - A request is routed by one table as a whole. Requests in flight on old targets go on undisturbed.
//! - `Drained` is reported once, and after it no request is at the replica nor will one come. Streamed bodies both
//!   ways and upgraded connections count as in flight.
//! - A request reaches an app at most once, except GET, HEAD and OPTIONS without a body, and these only when a reused
//!   connection broke. A server outside, which a rule leads to, gets it at most once.
//!
//! It decides nothing: which replica is ready and which stops, sleeps or wakes is the sender's of the tables. It says which
//! deployment had no request for the time that its route names, and holds requests for one that sleeps.

mod activity;
mod apply;
mod backend;
mod body;
mod connection;
mod gate;
mod head;
mod host;
mod idle;
pub mod limits;
mod listener;
mod login;
mod meter;
mod outside;
mod page;
mod percent;
mod proxy;
mod refusal;
mod request_id;
mod rules;
mod site;
mod table;
mod tunnel;
mod upstream;
mod wake;
mod worker;

pub use limits::EdgeLimits;
pub use listener::EdgeListener;
pub use meter::Meter;
pub use outside::{Network, NetworkError, ProxyConfig};

use apply::Applier;
use arc_swap::ArcSwap;
use outside::Outside;
use request_id::RequestIds;
use slipway_types::route::{EdgeReport, RouteTable};
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use table::Table;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wake::Asks;
use worker::Worker;

/// How the edge runs.
#[derive(Debug, Clone, Default)]
pub struct EdgeConfig {
    /// None: one for each core.
    pub threads: Option<NonZeroUsize>,
    /// Believe `X-Forwarded-*` of whoever connects: only when all of them are proxies of your own.
    pub trust_forwarded: bool,
    pub limits: EdgeLimits,
    pub proxy: ProxyConfig,
    /// Counts here.
    pub meter: Meter,
}

/// Why the edge ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    #[error("listening sockets of the edge")]
    Listen(#[source] io::Error),
    #[error("thread {thread} of the edge")]
    Thread { thread: usize, source: io::Error },
    #[error("thread {thread} of the edge panicked")]
    Panicked { thread: usize },
}

/// Serves until `shutdown`, then stops accepting and lets requests in flight end within the grace time.
/// The present value of `tables` is in force before the first request.
///
/// # Errors
/// When the threads cannot be started, or one of them ends by itself.
pub async fn run(
    config: EdgeConfig,
    listener: EdgeListener,
    mut tables: watch::Receiver<RouteTable>,
    reports: mpsc::Sender<EdgeReport>,
    shutdown: CancellationToken,
) -> Result<(), EdgeError> {
    let threads = config.threads.map_or_else(listener::threads, NonZeroUsize::get);
    let sockets = listener.split(threads).map_err(EdgeError::Listen)?;
    let threads = sockets.len();
    let table = Arc::new(ArcSwap::from_pointee(Table::default()));
    let asks = Arc::new(Asks::default());
    let mut applier = Applier::new(table.clone(), threads, config.limits.site_hold_timeout, asks.clone());
    let present = tables.borrow_and_update().clone();
    applier.apply(&present).await;

    // Also when this future is dropped, the threads end.
    let stop = shutdown.child_token();
    let _stop_threads = stop.clone().drop_guard();
    let places = Arc::new(Semaphore::new(config.limits.connections_max));
    let outside = Arc::new(Outside::new(config.proxy));
    let mut outcomes = Vec::with_capacity(threads);
    for (thread, socket) in sockets.into_iter().enumerate() {
        let worker = Worker {
            thread,
            table: table.clone(),
            generations: applier.generations(),
            asks: asks.clone(),
            counts: config.meter.thread(),
            shutdown: stop.clone(),
            limits: config.limits.clone(),
            request_ids: RequestIds::new(),
            trust_forwarded: config.trust_forwarded,
            outside: outside.clone(),
            tunnels: TaskTracker::new(),
        };
        let outcome = worker::start(worker, socket, places.clone(), stop.clone())
            .map_err(|source| EdgeError::Thread { thread, source })?;
        outcomes.push(outcome);
    }
    let finished = CancellationToken::new();
    let waiting = async {
        let ended = all_ended(outcomes, &stop).await;
        finished.cancel();
        ended
    };
    tokio::join!(applier.run(tables, reports, finished.clone()), waiting).1
}

/// Waits for every thread; when one ends in an error, the others are told to stop.
async fn all_ended(
    outcomes: Vec<oneshot::Receiver<io::Result<()>>>,
    stop: &CancellationToken,
) -> Result<(), EdgeError> {
    let each = outcomes.into_iter().enumerate().map(|(thread, outcome)| async move {
        let ended = match outcome.await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(source)) => EdgeError::Thread { thread, source },
            Err(_) => EdgeError::Panicked { thread },
        };
        stop.cancel();
        Err(ended)
    });
    futures_util::future::join_all(each).await.into_iter().collect()
}
