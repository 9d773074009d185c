//! Puts route tables in force and reports what follows from them.
//!
//! One task owns the change: build the new table, swap it in, close the gates of replicas that it does not name.
//! Each closed gate is watched until it is empty and reported exactly once, unless a later table names the
//! replica again before that. What a table needs from disk, the manifests of its sites, is read before it is in force.
//!
//! A route whose new sites cannot be read keeps the entry that it has, and the table is not confirmed until they can, so
//! that nobody takes away what still answers. That has an end: all other services wait for the same confirmation.

use crate::backend::{Backend, Service};
use crate::gate::Gate;
use crate::idle::IdleWatch;
use crate::limits::{SITE_LOAD_TIMEOUT, SITE_RETRY_INTERVAL};
use crate::rules::Rules;
use crate::site::{MemoryBudget, Site, SiteError};
use crate::table::{RouteEntry, Table};
use crate::wake::{Asks, Sleeper, Waits};
use arc_swap::ArcSwap;
use slipway_types::route::{EdgeReport, Endpoint, Route, RouteTable, Sleep, Target};
use slipway_types::site::SiteRules;
use slipway_types::{DeploymentId, ReplicaId};
use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The owner of the present table.
pub(crate) struct Applier {
    table: Arc<ArcSwap<Table>>,
    threads: usize,
    applied: bool,
    emptied: Arc<Notify>,
    gates: HashMap<ReplicaId, Arc<Gate>>,
    closing: HashMap<ReplicaId, Arc<Gate>>,
    memory: MemoryBudget,
    /// How long sites that cannot be read hold up a table, the one that they hold up, and since when they do.
    hold_max: Duration,
    held: Option<RouteTable>,
    held_since: Option<Instant>,
    retry_at: Option<Instant>,
    /// Told after each change of `table`.
    generations: watch::Sender<u64>,
    idle: IdleWatch,
    asks: Arc<Asks>,
    /// Of the present table.
    sleepers: HashMap<DeploymentId, Arc<Sleeper>>,
    /// Reports that wait for room in the channel: at most one `Applied`, one `Drained` for each replica, and one `Idle` and one
    /// `WakeWanted` for each deployment.
    outbox: VecDeque<EdgeReport>,
}

impl Applier {
    pub(crate) fn new(table: Arc<ArcSwap<Table>>, threads: usize, hold_max: Duration, asks: Arc<Asks>) -> Self {
        Self {
            table,
            threads,
            applied: false,
            emptied: Arc::new(Notify::new()),
            gates: HashMap::new(),
            closing: HashMap::new(),
            memory: MemoryBudget::default(),
            hold_max,
            held: None,
            held_since: None,
            retry_at: None,
            generations: watch::Sender::new(0),
            idle: IdleWatch::default(),
            asks,
            sleepers: HashMap::new(),
            outbox: VecDeque::new(),
        }
    }

    pub(crate) fn generations(&self) -> watch::Receiver<u64> {
        self.generations.subscribe()
    }

    /// Runs until `finished`: requests that end during a shutdown are still reported.
    pub(crate) async fn run(
        mut self,
        mut tables: watch::Receiver<RouteTable>,
        reports: mpsc::Sender<EdgeReport>,
        finished: CancellationToken,
    ) {
        let (emptied, asks) = (self.emptied.clone(), self.asks.clone());
        let (mut tables_open, mut reports_open) = (true, true);
        loop {
            let (retry_at, look_at) = (self.retry_at, self.idle.look_at().map(Instant::from_std));
            if !reports_open {
                self.outbox.clear();
            }
            tokio::select! {
                () = finished.cancelled() => break,
                changed = tables.changed(), if tables_open => match changed {
                    Ok(()) => {
                        let wanted = tables.borrow_and_update().clone();
                        self.apply(&wanted).await;
                    }
                    Err(_) => tables_open = false,
                },
                () = until(retry_at) => self.retry().await,
                () = emptied.notified() => self.collect_drained(),
                () = asks.added.notified() => self.report_wakes(),
                () = until(look_at) => self.report_idle(),
                permit = reports.reserve(), if reports_open && !self.outbox.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some(report) = self.outbox.pop_front() {
                            permit.send(report);
                        }
                    }
                    Err(_) => {
                        tracing::warn!("nobody takes the reports of the edge any more");
                        reports_open = false;
                    }
                },
            }
        }
        while let Some(report) = self.outbox.pop_front() {
            if reports.try_send(report).is_err() {
                break;
            }
        }
    }

    pub(crate) async fn apply(&mut self, wanted: &RouteTable) {
        let present = self.table.load_full();
        if self.applied && wanted.generation <= present.generation {
            if wanted.generation < present.generation {
                let (refused, present) = (wanted.generation, present.generation);
                tracing::warn!(refused, present, "an older route table was refused");
            }
            return;
        }
        self.put_in_force(wanted).await;
    }

    async fn retry(&mut self) {
        if let Some(wanted) = self.held.take() {
            self.put_in_force(&wanted).await;
        }
    }

    async fn put_in_force(&mut self, wanted: &RouteTable) {
        let present = self.table.load_full();
        let sites = self.load_sites(wanted, &present).await;
        let may_keep = self.held_since.is_none_or(|since| since.elapsed() < self.hold_max);
        let (next, kept) = self.build(wanted, &present, sites, may_keep);
        self.table.store(Arc::new(next));
        self.generations.send_replace(wanted.generation);
        self.idle.follow(Instant::now().into_std(), wanted, &self.gates);
        self.close_unnamed(wanted, &kept, &present);
        self.applied = true;
        self.outbox.retain(|report| !matches!(report, EdgeReport::Applied { .. }));
        if kept.is_empty() {
            (self.held, self.held_since, self.retry_at) = (None, None, None);
            let busy = self.closing.iter().filter(|(_, gate)| !gate.is_drained());
            let closing = busy.map(|(replica, _)| replica.clone()).collect();
            self.outbox.push_back(EdgeReport::Applied { generation: wanted.generation, closing });
            tracing::info!(generation = wanted.generation, routes = wanted.routes.len(), "route table applied");
        } else {
            self.held = Some(wanted.clone());
            self.held_since.get_or_insert_with(Instant::now);
            self.retry_at = Some(Instant::now() + SITE_RETRY_INTERVAL);
            tracing::warn!(generation = wanted.generation, "a route keeps what it had until its new site can be read");
        }
        self.collect_drained();
    }

    /// The sites that the present table does not have, or has not been able to read.
    async fn load_sites(&self, wanted: &RouteTable, present: &Table) -> HashMap<PathBuf, Arc<Site>> {
        let known: HashSet<&Target> = present.backends.iter().filter(|b| !b.is_broken()).map(|b| &b.target).collect();
        let targets = wanted.routes.iter().flat_map(|route| &route.targets).filter(|target| !known.contains(target));
        let directories: HashSet<&Path> = targets
            .filter_map(|target| match &target.at {
                Endpoint::Site(directory) => Some(directory.as_path()),
                Endpoint::Address(_) => None,
            })
            .collect();
        let loading = directories.into_iter().map(|directory| async move {
            match load(directory.to_owned(), self.memory.clone()).await {
                Ok(site) => Some((directory.to_owned(), Arc::new(site))),
                Err(error) => {
                    tracing::error!(site = %directory.display(), %error, "a site cannot be served");
                    None
                }
            }
        });
        futures_util::future::join_all(loading).await.into_iter().flatten().collect()
    }

    /// The table, and the backends of routes that keep the entry they have.
    fn build(
        &mut self,
        wanted: &RouteTable,
        present: &Table,
        sites: HashMap<PathBuf, Arc<Site>>,
        may_keep: bool,
    ) -> (Table, Vec<Arc<Backend>>) {
        let mut known: HashMap<Target, Arc<Backend>> = present
            .backends
            .iter()
            .filter(|backend| !backend.is_broken())
            .map(|backend| (backend.target.clone(), backend.clone()))
            .collect();
        let mut compiled = Compiled::of(present);
        let mut sleepers = std::mem::take(&mut self.sleepers);
        let mut backends: HashMap<Target, Arc<Backend>> = HashMap::new();
        let mut routes = HashMap::with_capacity(wanted.routes.len());
        let mut kept: Vec<Arc<Backend>> = Vec::new();
        for route in &wanted.routes {
            let mut targets: Vec<Arc<Backend>> = Vec::with_capacity(route.targets.len());
            for target in &route.targets {
                let backend =
                    backends.entry(target.clone()).or_insert_with(|| self.backend(target, &sites, &mut known));
                if !targets.iter().any(|other| Arc::ptr_eq(other, backend)) {
                    targets.push(backend.clone());
                }
            }
            let host = route.host.to_ascii_lowercase();
            let former = present.routes.get(&host).filter(|former| may_keep && cannot_follow(&targets, former));
            let entry = match former {
                Some(former) => {
                    kept.extend(former.backends.iter().cloned());
                    former.clone()
                }
                None => {
                    let waits = self.waits(route, &mut sleepers);
                    Arc::new(entry(route, compiled.rules(&route.rules), targets, waits))
                }
            };
            if routes.insert(host, entry).is_some() {
                tracing::warn!(host = route.host, "a host name has two routes: the last one counts");
            }
        }
        for backend in &kept {
            backends.entry(backend.target.clone()).or_insert_with(|| backend.clone());
        }
        (Table { generation: wanted.generation, routes, backends: backends.into_values().collect() }, kept)
    }

    /// `former`: those of the table before.
    fn waits(&mut self, route: &Route, former: &mut HashMap<DeploymentId, Arc<Sleeper>>) -> Option<Waits> {
        let (sleep, deployment) = (route.sleep?, route.deployment.clone()?);
        let wait_max = sleep.wait_max()?.as_duration();
        let sleeper = self.sleepers.entry(deployment).or_insert_with_key(|deployment| {
            former.remove(deployment).unwrap_or_else(|| Arc::new(Sleeper::new(deployment.clone())))
        });
        Some(Waits { sleeper: sleeper.clone(), wait_max, asks: matches!(sleep, Sleep::Asleep { .. }) })
    }

    /// The backend as the present table has it, or a new one. Its gate is open: a replica that was on its way
    /// out and is wanted again stays.
    fn backend(
        &mut self,
        target: &Target,
        sites: &HashMap<PathBuf, Arc<Site>>,
        known: &mut HashMap<Target, Arc<Backend>>,
    ) -> Arc<Backend> {
        if let Some(gate) = self.closing.remove(&target.replica) {
            gate.reopen();
            self.gates.insert(target.replica.clone(), gate);
        }
        let emptied = &self.emptied;
        let gate =
            self.gates.entry(target.replica.clone()).or_insert_with(|| Arc::new(Gate::new(emptied.clone()))).clone();
        known.remove(target).unwrap_or_else(|| {
            let service = match &target.at {
                Endpoint::Address(address) => Service::Process(*address),
                Endpoint::Site(directory) => sites.get(directory).cloned().map_or(Service::Broken, Service::Site),
            };
            Arc::new(Backend::new(target.clone(), gate, service, self.threads))
        })
    }

    fn close_unnamed(&mut self, wanted: &RouteTable, kept: &[Arc<Backend>], present: &Table) {
        let targets = wanted.routes.iter().flat_map(|route| &route.targets);
        let kept = kept.iter().map(|backend| &backend.target);
        let named: HashSet<&ReplicaId> = targets.chain(kept).map(|target| &target.replica).collect();
        let unnamed: Vec<ReplicaId> = self.gates.keys().filter(|replica| !named.contains(replica)).cloned().collect();
        for replica in unnamed {
            for backend in present.backends.iter().filter(|backend| backend.target.replica == replica) {
                backend.close();
            }
            if let Some(gate) = self.gates.remove(&replica) {
                gate.close();
                self.closing.insert(replica, gate);
            }
        }
    }

    fn report_idle(&mut self) {
        for deployment in self.idle.look(Instant::now().into_std()) {
            self.report_once(EdgeReport::Idle { deployment });
        }
    }

    fn report_wakes(&mut self) {
        for deployment in self.asks.take() {
            self.report_once(EdgeReport::WakeWanted { deployment });
        }
    }

    /// The same that still waits is taken out: this one is newer than what else waits.
    fn report_once(&mut self, report: EdgeReport) {
        self.outbox.retain(|waiting| *waiting != report);
        self.outbox.push_back(report);
    }

    fn collect_drained(&mut self) {
        let drained: Vec<ReplicaId> =
            self.closing.iter().filter(|(_, gate)| gate.is_drained()).map(|(replica, _)| replica.clone()).collect();
        for replica in drained {
            self.closing.remove(&replica);
            tracing::info!(%replica, "replica drained");
            self.outbox.push_back(EdgeReport::Drained { replica });
        }
    }
}

/// Whether nothing of a route can answer and something of its `former` entry can.
fn cannot_follow(targets: &[Arc<Backend>], former: &RouteEntry) -> bool {
    !targets.is_empty()
        && targets.iter().all(|target| target.is_broken())
        && former.backends.iter().any(|backend| !backend.is_broken())
}

/// Never, if there is no such time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Compiled rules by what they were compiled from. Tables that follow each other share most of it.
struct Compiled {
    known: Vec<(Arc<SiteRules>, Arc<Rules>)>,
    by_pointer: HashMap<*const SiteRules, usize>,
}

impl Compiled {
    fn of(present: &Table) -> Self {
        let mut compiled = Self { known: Vec::new(), by_pointer: HashMap::new() };
        for entry in present.routes.values() {
            compiled.add(entry.written_rules.clone(), entry.rules.clone());
        }
        compiled
    }

    fn add(&mut self, written: Arc<SiteRules>, rules: Arc<Rules>) {
        if let std::collections::hash_map::Entry::Vacant(place) = self.by_pointer.entry(Arc::as_ptr(&written)) {
            place.insert(self.known.len());
            self.known.push((written, rules));
        }
    }

    fn rules(&mut self, written: &Arc<SiteRules>) -> Arc<Rules> {
        if let Some(index) = self.by_pointer.get(&Arc::as_ptr(written)) {
            return self.known[*index].1.clone();
        }
        // The same rules in a new allocation: comparing is cheaper than compiling, and most differ in length.
        let equal = self.known.iter().find(|(known, _)| known == written).map(|(_, rules)| rules.clone());
        let rules = equal.unwrap_or_else(|| Arc::new(Rules::compile(written)));
        self.add(written.clone(), rules.clone());
        rules
    }
}

async fn load(directory: PathBuf, memory: MemoryBudget) -> Result<Site, SiteError> {
    let reading = tokio::task::spawn_blocking(move || Site::load(&directory, memory));
    match tokio::time::timeout(SITE_LOAD_TIMEOUT, reading).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(_)) => Err(SiteError::Panicked),
        Err(_) => Err(SiteError::TimedOut(SITE_LOAD_TIMEOUT)),
    }
}

fn entry(route: &Route, rules: Arc<Rules>, backends: Vec<Arc<Backend>>, waits: Option<Waits>) -> RouteEntry {
    RouteEntry {
        project: route.project.clone(),
        service: route.service.clone(),
        deployment: route.deployment.clone(),
        written_rules: route.rules.clone(),
        rules,
        unavailable_because: route.unavailable_because.clone(),
        stopped: matches!(route.sleep, Some(Sleep::Stopped)),
        waits,
        backends,
        turn: AtomicUsize::new(0),
    }
}
