//! The executor of the pipeline: one task that hears what happens (requests, the host, the edge, deadlines), lets
//! [`slipway_pipeline::step`] decide, stores each decision with all that belongs to it in one transaction, and then does
//! what was decided.
//!
//! It decides nothing itself and waits for nobody: commands for the host go through an outbox, timers are the
//! pipeline's deadlines, idle workers wait in a list until there is a deployment for them. What it holds in memory is
//! rebuilt from the database when the server starts ([`restore`]).

mod advance;
mod command;
mod fault;
pub(crate) mod fleet;
mod journal;
mod lease;
mod output;
mod perform;
mod queue;
mod report;
mod restore;
mod retention;
pub(crate) mod route;
#[cfg(test)]
mod simulation;
mod sleep;
mod supervise;
mod variables;
mod work;

pub(crate) use command::{Command, LOGS_KEPT};
pub use fault::Fault;
pub(crate) use journal::outcome_event;
pub(crate) use queue::Waits;
pub(crate) use supervise::Order;

use crate::log::mask::Masker;
use crate::log::segment::SegmentLog;
use crate::shared::Shared;
use crate::{EdgeLink, HostLink};
use journal::Journal;
use route::{Given, Routed};
use slipway_pipeline::{DeploymentState, Event, Turns, WaitsFor};
use slipway_store::{Applied, Change, Generation};
use slipway_types::host::HostCommand;
use slipway_types::route::RouteTable;
use slipway_types::settings::ServiceSettings;
use slipway_types::{DeploymentId, RunId, ServiceId, TimestampMs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem::Discriminant;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Events that one event may cause, directly and indirectly: more is a circle, which is reported and broken.
const CASCADE_MAX: usize = 1000;
/// After a start, the first table waits so long for replicas that were live before: adopted ones are ready in a second. Until
/// then the edge accepts nobody, and connections wait in the kernel.
const FIRST_TABLE_WAIT_MAX_MS: TimestampMs = 5_000;
/// A table that could not be sent is tried again after this.
const SEND_AGAIN: Duration = Duration::from_secs(1);

/// A deployment on which something is still to be done.
#[derive(Debug)]
struct Active {
    service: ServiceId,
    journal: Journal,
    /// From its first phase on; after a restart of the server, from the next phase that a worker runs.
    work: Option<work::Work>,
    /// As last stored.
    state: DeploymentState,
    /// For deadlines: those of the plan once there is one.
    settings: ServiceSettings,
    deadline: Option<slipway_pipeline::Deadline>,
    /// Of the worker that runs a phase of it.
    lease: Option<lease::Lease>,
}

/// An event with what is stored along with it.
#[derive(Debug)]
struct Happening {
    event: Event,
    change: Change,
}

impl From<Event> for Happening {
    fn from(event: Event) -> Self {
        Self { event, change: Change::default() }
    }
}

#[derive(Debug)]
pub(crate) struct Executor {
    shared: Arc<Shared>,
    host: HostLink,
    edge: EdgeLink,
    commands: mpsc::Receiver<Command>,
    /// For the host, in order. At most one replica set, one receipt of lines for each run and one answer about retention, for each active deployment what its
    /// phase needs, and a bounded number of sweeps.
    outbox: VecDeque<HostCommand>,
    /// What happened and was not yet decided on.
    events: VecDeque<(DeploymentId, Happening)>,
    idle_workers: BTreeSet<u32>,
    /// Those that this run of the server gave a deployment, until they are released from it or claim again.
    bound_workers: BTreeMap<u32, DeploymentId>,
    turns: Turns,
    /// What each deployment that waits was told last.
    told_waits: BTreeMap<DeploymentId, Discriminant<WaitsFor>>,
    active: BTreeMap<DeploymentId, Active>,
    services: BTreeMap<ServiceId, Routed>,
    /// Secrets of every revision that runs or builds.
    maskers: BTreeMap<ServiceId, Masker>,
    /// Kept open: one line must not cost an open file each.
    service_logs: BTreeMap<ServiceId, Arc<SegmentLog>>,
    /// Of each run that goes on: the number of its newest line that is written.
    runs: BTreeMap<RunId, u64>,
    given: Given,
    /// The host or the edge must be told before the next thing is heard.
    replicas_changed: bool,
    routes_changed: bool,
    /// A deployment waits for the edge's word, or it is the first table, so it goes out even if it says the same.
    switch_due: bool,
    /// A deployment may wait for a worker.
    assign_due: bool,
    /// What is to sleep may do so now.
    sleep_due: bool,
    /// A restart may go on.
    restarts_due: bool,
    /// Decided and stored, but not carried out yet, because the database could not be read. Nothing else is decided before.
    unread: VecDeque<Applied>,
    /// Could not be stored, because the database failed; decided on again at `again_at`. Bounded by what runs: a host waits for
    /// the answer to each phase.
    again: Vec<(DeploymentId, Happening)>,
    again_at: Option<TimestampMs>,
    /// Live deployments that the first table waits for, and until when.
    awaited: Option<(TimestampMs, BTreeSet<DeploymentId>)>,
}

impl Executor {
    pub(crate) fn new(shared: Arc<Shared>, host: HostLink, edge: EdgeLink, commands: mpsc::Receiver<Command>) -> Self {
        Self {
            shared,
            host,
            edge,
            commands,
            outbox: VecDeque::new(),
            events: VecDeque::new(),
            idle_workers: BTreeSet::new(),
            bound_workers: BTreeMap::new(),
            turns: Turns::default(),
            told_waits: BTreeMap::new(),
            active: BTreeMap::new(),
            services: BTreeMap::new(),
            maskers: BTreeMap::new(),
            service_logs: BTreeMap::new(),
            runs: BTreeMap::new(),
            given: Given::default(),
            replicas_changed: true,
            routes_changed: true,
            // The edge begins with the first table, also with one that has no routes; it may have one of an earlier run, with
            // routes that are no more.
            switch_due: true,
            assign_due: true,
            sleep_due: false,
            restarts_due: true,
            unread: VecDeque::new(),
            again: Vec::new(),
            again_at: None,
            awaited: None,
        }
    }

    /// Runs until `shutdown`, or until the host or the edge has gone.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), ExecutorError> {
        self.restore().await?;
        Box::pin(self.serve(&shutdown)).await
    }

    /// Can be dropped where it waits, and goes on when it is called again.
    async fn serve(&mut self, shutdown: &CancellationToken) -> Result<(), ExecutorError> {
        let to_host = self.host.commands.clone();
        loop {
            self.settle().await;
            let until_deadline = self.until_next_deadline();
            // Not by the timer alone: it never fires while reports come without a pause.
            if until_deadline.is_zero() && (self.events.is_empty() || !self.unread.is_empty()) {
                self.deadlines();
                continue;
            }
            tokio::select! {
                // Shutdown first. People before the host: its queue may never be empty, theirs is short.
                biased;
                () = shutdown.cancelled() => return Ok(()),
                sent = to_host.reserve(), if !self.outbox.is_empty() => {
                    let permit = sent.map_err(|_| ExecutorError::HostGone)?;
                    if let Some(command) = self.outbox.pop_front() {
                        permit.send(command);
                    }
                }
                report = self.edge.reports.recv() => {
                    self.edge_report(report.ok_or(ExecutorError::EdgeGone)?).await;
                }
                Some(command) = self.commands.recv() => Box::pin(self.command(command)).await,
                report = self.host.reports.recv() => self.host_report(report.ok_or(ExecutorError::HostGone)?).await,
                () = self.shared.outside.sleep(until_deadline) => self.deadlines(),
            }
        }
    }

    /// Decides on all that happened, hands work to idle workers, and tells host and edge what has changed.
    async fn settle(&mut self) {
        if self.again_at.is_none() {
            self.read_unread().await;
        }
        let mut decided = 0;
        loop {
            while self.unread.is_empty()
                && let Some((deployment, happening)) = self.events.pop_front()
            {
                decided += 1;
                if decided > CASCADE_MAX {
                    tracing::error!(%deployment, event = ?happening.event, "events cause each other without end");
                    self.events.clear();
                    break;
                }
                Box::pin(self.advance(&deployment, happening)).await;
            }
            self.assign().await;
            if self.events.is_empty() || !self.unread.is_empty() {
                break;
            }
        }
        if std::mem::take(&mut self.sleep_due) {
            self.put_to_sleep().await;
        }
        if std::mem::take(&mut self.restarts_due) {
            self.go_on_with_restarts().await;
        }
        self.let_go();
        if std::mem::take(&mut self.replicas_changed) {
            self.send_replicas();
        }
        if std::mem::take(&mut self.routes_changed) {
            self.send_routes().await;
        }
    }

    fn push(&mut self, deployment: &DeploymentId, happening: impl Into<Happening>) {
        self.events.push_back((deployment.clone(), happening.into()));
    }

    /// The newest set replaces one that still waits: it is the whole state.
    fn send_replicas(&mut self) {
        let set = self.shared.fleet().replica_set();
        self.outbox.retain(|command| !matches!(command, HostCommand::Replicas(_)));
        self.outbox.push_back(HostCommand::Replicas(set));
    }

    async fn send_routes(&mut self) {
        if self.awaits_replicas() {
            return;
        }
        let routes = route::routes(&self.services, &self.shared.fleet(), &self.shared.server.domain);
        if routes == self.given.table.routes && !self.switch_due {
            return;
        }
        match self.shared.store.next_generation(Generation::Routes).await {
            Ok(generation) => {
                self.switch_due = false;
                let table = RouteTable { generation, routes };
                self.given.give(table.clone());
                self.edge.tables.send_replace(table);
                self.check_drains();
            }
            Err(error) => {
                self.routes_changed = true;
                tracing::error!(error = crate::refusal::cause_chain(&error), "the route table got no generation");
            }
        }
    }

    /// A table without the replicas that the host is about to adopt would answer 503 for them. Each word of the host asks again.
    fn awaits_replicas(&mut self) -> bool {
        let Some((until, awaited)) = &self.awaited else { return false };
        let fleet = self.shared.fleet();
        // A clock that was set back makes nobody wait for longer.
        let in_time = (*until - FIRST_TABLE_WAIT_MAX_MS..*until).contains(&self.shared.now());
        let waits = in_time && !awaited.iter().all(|deployment| fleet.is_settled(deployment));
        drop(fleet);
        if !waits {
            self.awaited = None;
        }
        waits
    }

    fn until_next_deadline(&self) -> Duration {
        // Something could not be sent: it is tried again soon.
        if self.routes_changed {
            return SEND_AGAIN;
        }
        if !self.events.is_empty() && self.unread.is_empty() {
            return Duration::ZERO;
        }
        let now = self.shared.now();
        let active = self.active.values().filter(|_| self.unread.is_empty());
        let deadlines = active.filter_map(|active| active.deadline.as_ref()).map(|deadline| deadline.at);
        let leave = self.shared.fleet().next_leave();
        let next =
            deadlines.chain(self.again_at).chain(self.awaited.as_ref().map(|(until, _)| *until)).chain(leave).min();
        // Without a deadline nothing has to happen; an hour is as good as ever.
        let ms = next.map_or(3_600_000, |at| (at - now).max(0));
        let until_next = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let leases = self.until_next_lease().filter(|_| self.unread.is_empty());
        leases.map_or(until_next, |lease| lease.min(until_next))
    }

    fn deadlines(&mut self) {
        let now: TimestampMs = self.shared.now();
        if self.again_at.is_some_and(|at| at <= now) {
            self.again_at = None;
            self.assign_due = true;
            self.restarts_due = true;
            self.events.extend(self.again.drain(..));
        }
        if self.awaited.as_ref().is_some_and(|(until, _)| *until <= now) {
            self.routes_changed = true;
        }
        if !self.unread.is_empty() {
            return;
        }
        let late = |active: &Active| active.deadline.filter(|deadline| deadline.at <= now);
        let due: Vec<_> = self
            .active
            .iter()
            .filter_map(|(deployment, active)| Some((deployment.clone(), late(active)?.phase)))
            .collect();
        for (deployment, phase) in due {
            self.timed_out(&deployment, phase);
        }
        self.expire_leases();
    }
}

/// Why the executor can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    #[error("the host has gone")]
    HostGone,
    #[error("the edge has gone")]
    EdgeGone,
    #[error("could not restore what was there before the start")]
    Restore(#[source] Fault),
}
