//! The custodian: keeps the store of layers within its bounds and says what there is.
//!
//! ```text
//! due, or ordered ─▶ ask control what must stay ─▶ pin it ─▶ remove what may go ─▶ report, and the inventory
//!                            │ no answer in time
//!                            └─▶ nothing is removed; asked again when due
//! ```
//! It asks at the start, after deployments end (those that end together count once), at intervals, when the disk runs low
//! and for each order. What was used after the question stays, so nothing falls between an answer and a sweep; and what a
//! build made stays held until an answer to a later question was pinned.

mod report;
mod round;

use crate::host::Host;
use slipway_layers::Lease;
use slipway_types::cache::{Retention, SweepOrder};
use slipway_types::host::HostReport;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Without any cause: layers of other servers' directories come and go too.
const INTERVAL: Duration = Duration::from_secs(15 * 60);
/// How often the disk is looked at, which costs one call; a busy app fills gigabytes in less.
const DISK_INTERVAL: Duration = Duration::from_secs(30);
/// While the disk stays low, sweeps find nothing more: they come no closer than this.
const LOW_PAUSE: Duration = Duration::from_secs(5 * 60);
/// What ends together is one round: the replicas of a deployment, its worker, its log.
const ENDED_PAUSE: Duration = Duration::from_secs(1);
/// Control answers from its database in milliseconds, also while it is busy.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);
/// A build that waits for room waits for one round.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(120);
/// Ends of deployments, orders, answers; control has at most a few orders under way.
const NOTICES_MAX: usize = 256;
/// Orders that wait. Control refuses more than this itself.
const ORDERS_MAX: usize = 64;

#[derive(Debug)]
pub(crate) enum Notice {
    /// A deployment has ended. What it held stays held until it is pinned.
    Ended(Vec<Lease>),
    Retention(Retention),
    Order {
        sweep: String,
        order: SweepOrder,
    },
    /// Room is needed. Answered after a round, whatever came of it.
    Room(oneshot::Sender<()>),
}

/// The way to the custodian.
#[derive(Debug, Clone)]
pub(crate) struct CustodianHandle(mpsc::Sender<Notice>);

impl CustodianHandle {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Notice>) {
        let (sender, notices) = mpsc::channel(NOTICES_MAX);
        (Self(sender), notices)
    }

    /// Never waits.
    pub(crate) fn tell(&self, notice: Notice) {
        if self.0.try_send(notice).is_err() {
            tracing::warn!("the custodian of the layers has too much to do, or has ended");
        }
    }

    /// Removes what may go, and waits for that within a bound.
    pub(crate) async fn make_room(&self) {
        let (done, ended) = oneshot::channel();
        self.tell(Notice::Room(done));
        let _ = tokio::time::timeout(ROOM_WAIT_MAX, ended).await;
    }
}

/// What the next round is for.
#[derive(Debug, Default)]
struct Due {
    orders: VecDeque<(String, SweepOrder)>,
    rooms: Vec<oneshot::Sender<()>>,
    /// Of deployments that have ended.
    leases: Vec<Lease>,
    /// Something may go that nobody ordered.
    at: Option<Instant>,
}

pub(crate) struct Custodian {
    host: Arc<Host>,
    notices: mpsc::Receiver<Notice>,
    reports: mpsc::Sender<HostReport>,
    due: Due,
    /// Number of the newest question.
    request: u64,
    swept_at: Instant,
}

impl Custodian {
    pub(crate) fn new(host: Arc<Host>, notices: mpsc::Receiver<Notice>, reports: mpsc::Sender<HostReport>) -> Self {
        let now = Instant::now();
        let due = Due { at: Some(now), ..Due::default() };
        Self { host, notices, reports, due, request: 0, swept_at: now }
    }

    /// Works until `shutdown`, or until nobody tells it anything any more.
    pub(crate) async fn work(mut self, shutdown: CancellationToken) {
        let _ = shutdown.run_until_cancelled(self.serve()).await;
    }

    async fn serve(&mut self) {
        loop {
            let look_at = Instant::now() + DISK_INTERVAL;
            let wake_at = self.due.at.map_or(look_at, |at| at.min(look_at));
            tokio::select! {
                notice = self.notices.recv() => match notice {
                    Some(notice) => self.note(notice),
                    None => return,
                },
                () = tokio::time::sleep_until(wake_at) => self.look_around().await,
            }
            let is_due = self.due.at.is_some_and(|at| at <= Instant::now());
            if is_due || !self.due.orders.is_empty() || !self.due.rooms.is_empty() {
                self.round().await;
            }
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Ended(leases) => {
                self.due.leases.extend(leases);
                self.due.at.get_or_insert_with(|| Instant::now() + ENDED_PAUSE);
            }
            Notice::Order { sweep, order } if self.due.orders.len() < ORDERS_MAX => {
                self.due.orders.push_back((sweep, order));
            }
            Notice::Order { sweep, .. } => tracing::error!(sweep, "too many sweeps wait; this one is forgotten"),
            Notice::Room(done) => self.due.rooms.push(done),
            // To a question that is no longer waited for.
            Notice::Retention(_) => {}
        }
    }

    async fn look_around(&mut self) {
        if self.due.at.is_some() {
            return;
        }
        let since = self.swept_at.elapsed();
        let host = Arc::clone(&self.host);
        let is_low = since >= LOW_PAUSE && crate::blocking(move || matches!(host.shortage(), Ok(Some(_)))).await;
        if is_low || since >= INTERVAL {
            self.due.at = Some(Instant::now());
        }
    }

    /// What must stay; None when control does not say so in time. Whatever else is said meanwhile counts for the next round.
    async fn ask(&mut self) -> Option<Retention> {
        self.request += 1;
        let request = self.request;
        let deadline = Instant::now() + ANSWER_WAIT_MAX;
        let asked = tokio::time::timeout_at(deadline, self.reports.send(HostReport::RetentionWanted { request }));
        asked.await.ok()?.ok()?;
        loop {
            match tokio::time::timeout_at(deadline, self.notices.recv()).await.ok()?? {
                Notice::Retention(answer) if answer.request == request => return Some(answer),
                other => self.note(other),
            }
        }
    }
}
