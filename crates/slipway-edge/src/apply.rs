//! Puts route tables in force and reports what follows from them.
//!
//! One task owns the change: build the new table, swap it in, close the gates of replicas that it does not name.
//! Each closed gate is watched until it is empty and reported exactly once, unless a later table names the
//! replica again before that.

use crate::backend::Backend;
use crate::gate::Gate;
use crate::table::{RouteEntry, Table};
use arc_swap::ArcSwap;
use slipway_types::ReplicaId;
use slipway_types::route::{EdgeReport, Route, RouteTable, Target};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// The owner of the present table.
pub(crate) struct Applier {
    table: Arc<ArcSwap<Table>>,
    threads: usize,
    applied: bool,
    emptied: Arc<Notify>,
    gates: HashMap<ReplicaId, Arc<Gate>>,
    closing: HashMap<ReplicaId, Arc<Gate>>,
    /// Reports that wait for room in the channel: at most one `Applied`, and one `Drained` for each replica.
    outbox: VecDeque<EdgeReport>,
}

impl Applier {
    pub(crate) fn new(table: Arc<ArcSwap<Table>>, threads: usize) -> Self {
        Self {
            table,
            threads,
            applied: false,
            emptied: Arc::new(Notify::new()),
            gates: HashMap::new(),
            closing: HashMap::new(),
            outbox: VecDeque::new(),
        }
    }

    /// Runs until `finished`: requests that end during a shutdown are still reported.
    pub(crate) async fn run(
        mut self,
        mut tables: watch::Receiver<RouteTable>,
        reports: mpsc::Sender<EdgeReport>,
        finished: CancellationToken,
    ) {
        let emptied = self.emptied.clone();
        let (mut tables_open, mut reports_open) = (true, true);
        loop {
            if !reports_open {
                self.outbox.clear();
            }
            tokio::select! {
                () = finished.cancelled() => break,
                changed = tables.changed(), if tables_open => match changed {
                    Ok(()) => {
                        let wanted = tables.borrow_and_update().clone();
                        self.apply(&wanted);
                    }
                    Err(_) => tables_open = false,
                },
                () = emptied.notified() => self.collect_drained(),
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

    pub(crate) fn apply(&mut self, wanted: &RouteTable) {
        let present = self.table.load_full();
        if self.applied && wanted.generation <= present.generation {
            if wanted.generation < present.generation {
                let (refused, present) = (wanted.generation, present.generation);
                tracing::warn!(refused, present, "an older route table was refused");
            }
            return;
        }
        let next = self.build(wanted, &present);
        self.table.store(Arc::new(next));
        self.close_unnamed(wanted, &present);
        self.applied = true;
        self.outbox.retain(|report| !matches!(report, EdgeReport::Applied { .. }));
        self.outbox.push_back(EdgeReport::Applied { generation: wanted.generation });
        self.collect_drained();
        tracing::info!(generation = wanted.generation, routes = wanted.routes.len(), "route table applied");
    }

    fn build(&mut self, wanted: &RouteTable, present: &Table) -> Table {
        let mut known: HashMap<Target, Arc<Backend>> =
            present.backends.iter().map(|backend| (backend.target.clone(), backend.clone())).collect();
        let mut backends: HashMap<Target, Arc<Backend>> = HashMap::new();
        let mut routes = HashMap::with_capacity(wanted.routes.len());
        for route in &wanted.routes {
            let mut targets: Vec<Arc<Backend>> = Vec::with_capacity(route.targets.len());
            for target in &route.targets {
                let backend = backends.entry(target.clone()).or_insert_with(|| self.backend(target, &mut known));
                if !targets.iter().any(|other| Arc::ptr_eq(other, backend)) {
                    targets.push(backend.clone());
                }
            }
            let host = route.host.to_ascii_lowercase();
            if routes.insert(host, Arc::new(entry(route, targets))).is_some() {
                tracing::warn!(host = route.host, "a host name has two routes: the last one counts");
            }
        }
        Table { generation: wanted.generation, routes, backends: backends.into_values().collect() }
    }

    /// The backend as the present table has it, or a new one. Its gate is open: a replica that was on its way
    /// out and is wanted again stays.
    fn backend(&mut self, target: &Target, known: &mut HashMap<Target, Arc<Backend>>) -> Arc<Backend> {
        if let Some(gate) = self.closing.remove(&target.replica) {
            gate.reopen();
            self.gates.insert(target.replica.clone(), gate);
        }
        let emptied = &self.emptied;
        let gate =
            self.gates.entry(target.replica.clone()).or_insert_with(|| Arc::new(Gate::new(emptied.clone()))).clone();
        known.remove(target).unwrap_or_else(|| Arc::new(Backend::new(target.clone(), gate, self.threads)))
    }

    fn close_unnamed(&mut self, wanted: &RouteTable, present: &Table) {
        let named: HashSet<&ReplicaId> =
            wanted.routes.iter().flat_map(|route| &route.targets).map(|target| &target.replica).collect();
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

fn entry(route: &Route, backends: Vec<Arc<Backend>>) -> RouteEntry {
    RouteEntry {
        project: route.project.clone(),
        service: route.service.clone(),
        deployment: route.deployment.clone(),
        unavailable_because: route.unavailable_because.clone(),
        backends,
        turn: AtomicUsize::new(0),
    }
}
