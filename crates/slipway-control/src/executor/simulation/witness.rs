//! What must never be, looked for after each step, and what must have come to pass when a world has come to rest.

use super::edge::Edge;
use super::host::Host;
use super::server::Server;
use crate::executor::fleet::replica_id;
use crate::executor::route::{deployment_host, service_host};
use slipway_pipeline::Roster;
use slipway_store::{DeploymentSummary, Store};
use slipway_types::host::ReplicaState;
use slipway_types::route::{RouteTable, Sleep};
use slipway_types::{DeploymentId, DeploymentStatus, Phase, ReplicaId, ServiceId, ServiceKind};
use std::collections::{BTreeMap, BTreeSet};

/// More than any world has.
const DEPLOYMENTS_MAX: u32 = 50;

type Checked = Result<(), String>;

#[derive(Debug, Default)]
pub(super) struct Witness {
    /// What this run of the executor was told of replicas, last.
    told: BTreeMap<ReplicaId, ReplicaState>,
    table_generation: u64,
    commits: u64,
    settled: BTreeMap<DeploymentId, (DeploymentStatus, Option<i64>)>,
    /// Sequence of what each service's live pointer names.
    live: BTreeMap<ServiceId, u64>,
    /// Something was said of it under an attempt that is over; with the phase in which it was then.
    late: Option<(DeploymentId, Option<Phase>)>,
    /// Not settled yet.
    pub(super) unsettled: Vec<DeploymentId>,
}

impl Witness {
    pub(super) fn told(&mut self, replica: &ReplicaId, state: &ReplicaState) {
        self.told.insert(replica.clone(), state.clone());
    }

    pub(super) fn server_is_new(&mut self) {
        self.told.clear();
    }

    /// After each step. `commits`: of the database so far.
    pub(super) async fn check(&mut self, server: &Server, store: &Store, commits: u64) -> Checked {
        // A table that the database gave no generation for is due, and what the edge has is older than what is known.
        if !server.executor.routes_changed {
            self.check_table(&server.executor.edge.tables.borrow().clone())?;
        }
        self.check_late(store).await?;
        if std::mem::replace(&mut self.commits, commits) != commits {
            self.check_stored(server, store).await?;
        }
        Ok(())
    }

    /// What is said next is said under an attempt that is over.
    pub(super) async fn hears_late(&mut self, deployment: &DeploymentId, store: &Store) {
        self.late = store.deployment(deployment).await.ok().map(|row| (deployment.clone(), row.state.phase()));
    }

    /// Nothing comes of what was said under an expired lease.
    async fn check_late(&mut self, store: &Store) -> Checked {
        let Some((deployment, before)) = self.late.take() else { return Ok(()) };
        // Destroyed meanwhile.
        let Ok(row) = store.deployment(&deployment).await else { return Ok(()) };
        let after = row.state.phase();
        ensure(after.is_none() || after <= before, || {
            format!("{deployment} went from {before:?} to {after:?} by the word of an attempt that is over")
        })
    }

    fn check_table(&mut self, table: &RouteTable) -> Checked {
        // The first one of a server is empty until it has something to say.
        if table.generation != 0 {
            ensure(table.generation >= self.table_generation, || {
                format!("table {} came after table {}", table.generation, self.table_generation)
            })?;
            self.table_generation = table.generation;
        }
        for route in &table.routes {
            let sleeps = matches!(route.sleep, Some(Sleep::Asleep { .. } | Sleep::Waking { .. }));
            ensure(!sleeps || route.targets.is_empty(), || format!("{} sleeps and has targets", route.host))?;
            for target in &route.targets {
                let ready =
                    matches!(self.told.get(&target.replica), Some(ReplicaState::Ready { at }) if *at == target.at);
                ensure(ready, || format!("{} leads to {}, which is not ready there", route.host, target.replica))?;
                let own = route.deployment.as_ref().is_some_and(|d| target.replica.as_str().starts_with(d.as_str()));
                ensure(own, || format!("{} leads to {}, of another deployment", route.host, target.replica))?;
            }
        }
        Ok(())
    }

    async fn check_stored(&mut self, server: &Server, store: &Store) -> Checked {
        let all = store.deployments(None, DEPLOYMENTS_MAX).await.unwrap();
        let mut live = BTreeMap::<&ServiceId, &DeploymentId>::new();
        for one in &all {
            let id = &one.deployment;
            if one.status == DeploymentStatus::Live
                && let Some(other) = live.insert(&one.service_id, id)
            {
                return Err(format!("{id} and {other} are live at once"));
            }
            self.check_settled(one)?;
        }
        self.unsettled = all.iter().filter(|one| !one.status.is_settled()).map(|one| one.deployment.clone()).collect();
        for (service, routed) in &server.executor.services {
            let Some(live) = &routed.live else { continue };
            let sequence = all.iter().find(|one| one.deployment == *live).map_or(0, |one| one.sequence);
            let before = self.live.insert(service.clone(), sequence).unwrap_or(0);
            ensure(before <= sequence, || format!("{live}, number {sequence}, took the place of number {before}"))?;
        }
        Ok(())
    }

    /// What has ended stays as it ended, and says why.
    fn check_settled(&mut self, one: &DeploymentSummary) -> Checked {
        let id = &one.deployment;
        if one.status == DeploymentStatus::Failed && one.diagnosis.is_none() {
            return Err(format!("{id} failed without a diagnosis"));
        }
        if !one.status.is_settled() {
            return Ok(());
        }
        let now = (one.status, one.finished_at);
        match self.settled.insert(id.clone(), now) {
            Some((DeploymentStatus::Live, at))
                if one.status == DeploymentStatus::Superseded && at == one.finished_at =>
            {
                Ok(())
            }
            // It crashed soon after it went live.
            Some((DeploymentStatus::Live, _)) if one.status == DeploymentStatus::Failed => Ok(()),
            Some(before) if before != now => Err(format!("{id} was {before:?} and is {now:?}")),
            _ => Ok(()),
        }
    }

    /// When nothing happens any more.
    pub(super) async fn check_rest(&self, server: &Server, host: &Host, edge: &Edge, store: &Store) -> Checked {
        let executor = &server.executor;
        ensure(executor.active.is_empty(), || format!("left at hand: {:?}", executor.active.keys()))?;
        ensure(executor.again.is_empty() && executor.events.is_empty(), || "decisions are left".to_owned())?;
        ensure(executor.outbox.is_empty(), || "commands are left".to_owned())?;
        let active = store.active_deployments().await.unwrap();
        let ids: Vec<_> = active.iter().map(|row| (&row.summary.deployment, &row.state)).collect();
        ensure(ids.is_empty(), || format!("never ended: {ids:?}"))?;
        ensure(host.bound().is_empty(), || format!("workers are bound to {:?}", host.bound()))?;
        let overviews = store.overviews().await.unwrap();
        let known: BTreeSet<_> = overviews.iter().map(|overview| &overview.service.service_id).collect();
        ensure(executor.services.keys().collect::<BTreeSet<_>>().is_subset(&known), || "a service is left".to_owned())?;
        ensure(executor.maskers.keys().collect::<BTreeSet<_>>().is_subset(&known), || "secrets are left".to_owned())?;

        let (mut wanted, mut targets) = (BTreeSet::new(), BTreeMap::new());
        let ready = host.ready();
        for overview in &overviews {
            let Some(live) = &overview.service.live else { continue };
            let row = store.deployment(live).await.unwrap();
            let release = store.release(&row.release.unwrap()).await.unwrap();
            let asleep = overview.service.asleep.as_ref() == Some(live);
            let roster = store.roster(live).await.unwrap().unwrap_or(Roster::new(release.settings.replicas));
            ensure(asleep || roster.left_to_replace() == 0, || {
                format!("a restart of {live} has not ended: {roster:?}")
            })?;
            let numbers = if asleep { &[] } else { roster.running() };
            let replicas: BTreeSet<_> = numbers.iter().map(|number| replica_id(live, *number).unwrap()).collect();
            if release.settings.kind == ServiceKind::Web {
                let serving: BTreeSet<_> = replicas.intersection(&ready).cloned().collect();
                let (project, service) = (&overview.service.project, &overview.service.service);
                targets.insert(service_host(project, service, "localhost"), serving.clone());
                targets.insert(deployment_host(live, "localhost"), serving);
            }
            for (replica, has) in host.variables().filter(|(replica, _)| replicas.contains(*replica)) {
                let is = release.env_revision;
                ensure(has == is, || format!("{replica} has variables {has} and not {is}"))?;
            }
            wanted.extend(replicas);
        }
        let running = host.running();
        ensure(running == wanted, || format!("the host runs {running:?} and not {wanted:?}"))?;
        check_routes(edge, &targets)
    }
}

fn check_routes(edge: &Edge, targets: &BTreeMap<String, BTreeSet<ReplicaId>>) -> Checked {
    let empty = BTreeSet::new();
    let routes = edge.present.iter().flat_map(|table| &table.routes);
    let present: BTreeMap<_, BTreeSet<_>> = routes
        .map(|route| (route.host.clone(), route.targets.iter().map(|target| target.replica.clone()).collect()))
        .collect();
    for host in present.keys().chain(targets.keys()) {
        let (is, should) = (present.get(host).unwrap_or(&empty), targets.get(host).unwrap_or(&empty));
        ensure(is == should, || format!("{host} leads to {is:?} and not to {should:?}"))?;
    }
    Ok(())
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}
