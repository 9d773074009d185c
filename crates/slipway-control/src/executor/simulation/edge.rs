//! An edge as the executor can tell it from a real one (`slipway_edge`, `apply.rs`), with requests that come and go.

use super::Planted;
use slipway_types::route::{EdgeReport, RouteTable, Sleep};
use slipway_types::{DeploymentId, ReplicaId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokio::sync::{mpsc, watch};

#[derive(Debug)]
pub(super) struct EdgeEnd {
    pub(super) tables: watch::Receiver<RouteTable>,
    pub(super) reports: mpsc::Sender<EdgeReport>,
}

/// Something that goes on at the edge.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Comes(ReplicaId),
    Ends(ReplicaId),
    /// For what sleeps.
    Waits(DeploymentId),
    /// There was none for long.
    Misses(DeploymentId),
}

#[derive(Debug, Default)]
pub(super) struct Edge {
    link: Option<EdgeEnd>,
    planted: Option<Planted>,
    pub(super) present: Option<RouteTable>,
    in_flight: BTreeMap<ReplicaId, u32>,
    /// No target any more, and not reported as drained.
    closing: BTreeSet<ReplicaId>,
    reports: VecDeque<EdgeReport>,
    /// Tables that lost their way with an earlier link.
    late: Vec<RouteTable>,
}

impl Edge {
    pub(super) fn new(planted: Option<Planted>) -> Self {
        Self { planted, ..Self::default() }
    }

    pub(super) fn connect(&mut self, link: EdgeEnd) {
        self.disconnect();
        self.link = Some(link);
    }

    pub(super) fn disconnect(&mut self) {
        if let Some(mut link) = self.link.take() {
            self.late.push(link.tables.borrow_and_update().clone());
            // One that was taken may come once more.
            self.late.extend(self.present.clone());
        }
        self.reports.clear();
    }

    /// The process of the edge is over.
    pub(super) fn end(&mut self) {
        *self = Self::new(self.planted);
    }

    pub(super) fn has_table(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.tables.has_changed().unwrap_or(false))
    }

    pub(super) fn take(&mut self) -> Option<String> {
        let table = self.link.as_mut()?.tables.borrow_and_update().clone();
        Some(self.apply(table))
    }

    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty() && self.link.is_some()
    }

    pub(super) fn take_late(&mut self) -> Option<String> {
        let table = self.late.pop()?;
        Some(format!("{}, late", self.apply(table)))
    }

    fn apply(&mut self, table: RouteTable) -> String {
        let said = said(&table);
        let newest = self.present.as_ref().map(|present| present.generation);
        if newest >= Some(table.generation) && self.planted != Some(Planted::EdgeTakesOlderTables) {
            return format!("{said}, refused");
        }
        let before = self.targets();
        let generation = table.generation;
        self.present = Some(table);
        let now = self.targets();
        self.closing.extend(before.difference(&now).cloned());
        self.closing.retain(|replica| !now.contains(replica));
        let closing = self.closing.iter().filter(|replica| self.in_flight.contains_key(*replica)).cloned().collect();
        self.reports.push_back(EdgeReport::Applied { generation, closing });
        self.collect_drained();
        said
    }

    pub(super) fn targets(&self) -> BTreeSet<ReplicaId> {
        let routes = self.present.iter().flat_map(|table| &table.routes);
        routes.flat_map(|route| route.targets.iter().map(|target| target.replica.clone())).collect()
    }

    fn collect_drained(&mut self) {
        let busy = |replica: &ReplicaId| self.in_flight.get(replica).copied().unwrap_or(0) > 0;
        let drained: Vec<_> = self.closing.iter().filter(|replica| !busy(replica)).cloned().collect();
        for replica in drained {
            self.closing.remove(&replica);
            self.reports.push_back(EdgeReport::Drained { replica });
        }
    }

    pub(super) fn doings(&self, faults: bool) -> Vec<(usize, Request)> {
        let mut doings: Vec<_> = self.in_flight.keys().map(|replica| (10, Request::Ends(replica.clone()))).collect();
        if !faults || self.link.is_none() {
            return doings;
        }
        for route in self.present.iter().flat_map(|table| &table.routes) {
            doings.extend(route.targets.iter().map(|target| (4, Request::Comes(target.replica.clone()))));
            let Some(deployment) = &route.deployment else { continue };
            match route.sleep {
                Some(Sleep::Asleep { .. }) => doings.push((6, Request::Waits(deployment.clone()))),
                Some(Sleep::After { .. }) if !route.targets.is_empty() => {
                    doings.push((6, Request::Misses(deployment.clone())));
                }
                _ => {}
            }
        }
        doings
    }

    pub(super) fn go_on(&mut self, request: &Request) -> String {
        match request {
            Request::Comes(replica) => {
                *self.in_flight.entry(replica.clone()).or_default() += 1;
                format!("edge: a request for {replica}")
            }
            Request::Ends(replica) => {
                if let Some(count) = self.in_flight.get_mut(replica) {
                    *count -= 1;
                }
                self.in_flight.retain(|_, count| *count > 0);
                self.collect_drained();
                format!("edge: a request at {replica} has ended")
            }
            Request::Waits(deployment) => {
                self.reports.push_back(EdgeReport::WakeWanted { deployment: deployment.clone() });
                format!("edge: a request waits for {deployment}")
            }
            Request::Misses(deployment) => {
                self.reports.push_back(EdgeReport::Idle { deployment: deployment.clone() });
                format!("edge: {deployment} is idle")
            }
        }
    }

    pub(super) fn has_reports(&self) -> bool {
        !self.reports.is_empty() && self.link.as_ref().is_some_and(|link| link.reports.capacity() > 0)
    }

    pub(super) fn report(&mut self) -> Option<EdgeReport> {
        let permit = self.link.as_ref()?.reports.try_reserve().ok()?;
        let report = self.reports.pop_front()?;
        permit.send(report.clone());
        Some(report)
    }
}

fn said(table: &RouteTable) -> String {
    let of_route = |route: &slipway_types::route::Route| {
        let targets: Vec<_> = route.targets.iter().map(|target| target.replica.as_str()).collect();
        format!("{} > {}", route.host, targets.join(" "))
    };
    let routes: Vec<_> = table.routes.iter().map(of_route).collect();
    format!("edge: table {}: {}", table.generation, routes.join(", "))
}
