//! The real executor on the real database, run until it waits for something. Nothing of it is simulated but what
//! [`crate::outside`], [`slipway_store::Trouble`] and the two links stand for.

use super::edge::EdgeEnd;
use super::host::HostEnd;
use super::nature::{Clock, Disk};
use crate::config::{DRAIN_TIMEOUT, EdgeLink, HostLink};
use crate::executor::{Command, Executor, ExecutorError};
use crate::log::Logs;
use crate::seal::MasterKey;
use crate::shared::Shared;
use crate::source::Credentials;
use crate::upload::Uploads;
use slipway_store::Store;
use slipway_types::api::ServerView;
use slipway_types::route::RouteTable;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// Small, so that a slow host or edge holds up the executor as it would in earnest.
const QUEUE: usize = 4;
/// One build and a half of the default size: sometimes one waits for another's end.
const MEMORY_BYTES: u64 = 6 << 30;

#[derive(Debug)]
pub(super) struct Server {
    pub(super) executor: Executor,
    pub(super) commands: mpsc::Sender<Command>,
    restored: bool,
}

/// How far the executor has come.
#[derive(Debug)]
pub(super) enum Pace {
    /// It waits for messages or time.
    Waits,
    Killed,
    Ended(Result<(), ExecutorError>),
}

impl Server {
    pub(super) fn new(dir: &Path, store: Store, clock: &Clock) -> (Self, HostEnd, EdgeEnd) {
        let shared = Shared {
            outside: Box::new(clock.clone()),
            server: ServerView {
                version: "0".to_owned(),
                domain: "localhost".to_owned(),
                edge_port: 80,
                driver: "oci".to_owned(),
            },
            drain_timeout: DRAIN_TIMEOUT,
            store,
            key: MasterKey::new(&[7; 32]),
            credentials: Credentials::open(dir.join("credentials")).unwrap(),
            logs: Arc::new(Logs::open(dir.join("logs"), Default::default()).unwrap()),
            uploads: Uploads::open(dir.join("uploads"), 1).unwrap(),
            fleet: Mutex::default(),
            cache: Mutex::default(),
            keep_releases: 2,
            build_memory_max_bytes: MEMORY_BYTES,
            queue_max: 100,
            waits: Mutex::default(),
            editing: tokio::sync::Mutex::default(),
            data_dir: PathBuf::new(),
            metrics: Default::default(),
            traffic: Default::default(),
            last_look: Default::default(),
        };
        let (to_host, from_control) = mpsc::channel(QUEUE);
        let (host_reports, from_host) = mpsc::channel(QUEUE);
        let (tables, for_edge) = watch::channel(RouteTable::default());
        let (edge_reports, from_edge) = mpsc::channel(QUEUE);
        let (commands, for_executor) = mpsc::channel(QUEUE);
        let host = HostLink { commands: to_host, reports: from_host };
        let edge = EdgeLink { tables, reports: from_edge, traffic: Default::default() };
        let executor = Executor::new(Arc::new(shared), host, edge, for_executor);
        let host = HostEnd { commands: from_control, reports: host_reports };
        let edge = EdgeEnd { tables: for_edge, reports: edge_reports };
        (Self { executor, commands, restored: false }, host, edge)
    }

    /// Lets it do all that there is to do.
    pub(super) async fn run(&mut self, clock: &Clock, disk: &Disk) -> Pace {
        let stop = CancellationToken::new();
        let life = async {
            if !self.restored {
                self.executor.restore().await?;
                self.restored = true;
            }
            Box::pin(self.executor.serve(&stop)).await
        };
        // What tokio would make of the time that the database takes must not show.
        let mut life = pin!(tokio::task::unconstrained(Box::pin(life)));
        std::future::poll_fn(|context| {
            clock.forget_wait();
            match life.as_mut().poll(context) {
                Poll::Ready(outcome) => Poll::Ready(Pace::Ended(outcome)),
                Poll::Pending if disk.take_killed() => Poll::Ready(Pace::Killed),
                Poll::Pending if clock.waits_until_ms().is_some() => Poll::Ready(Pace::Waits),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
