//! The replicas that should run and what the host says of them.
//!
//! Desired: every replica of the deployments that are live, starting or draining, handed to the host whole with a
//! generation. Observed: the last state of each. What no [`ReplicaSpec`] names any more is forgotten.

mod sleep;

pub(crate) use sleep::{SleepTimes, Turn};

use sleep::Rest;
use slipway_types::api::ReplicaView;
use slipway_types::cache::Keeper;
use slipway_types::host::{ReplicaSet, ReplicaSpec, ReplicaState};
use slipway_types::id::IdError;
use slipway_types::route::Endpoint;
use slipway_types::site::SiteRules;
use slipway_types::{DeploymentId, LayerRef, ReplicaId, ServiceId, TimestampMs};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The generation of a set begins with the number of the run, which the database counts; these bits are the time of its start,
/// which goes on by one with each set. The clock alone would not do: after one that was set back, a host that lives on
/// would refuse all that it is told.
const CLOCK_BITS: u32 = 40;

/// The replicas of one deployment.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) service: ServiceId,
    /// Order of creation of the deployment within the service.
    sequence: u64,
    /// They get no new request and will be stopped.
    pub(crate) draining: bool,
    /// Of its image; shared by all route tables.
    rules: Arc<SiteRules>,
    replicas: BTreeMap<ReplicaId, Replica>,
    /// None: it never sleeps.
    times: Option<SleepTimes>,
    rest: Rest,
}

#[derive(Debug)]
struct Replica {
    spec: ReplicaSpec,
    state: ReplicaState,
    /// The host has said something of it, so its sandbox is at least being booted.
    reported: bool,
    since: TimestampMs,
}

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    groups: BTreeMap<DeploymentId, Group>,
    generation: u64,
}

/// The id of a deployment's replica: the same after a restart, so that the host adopts what runs.
pub(crate) fn replica_id(deployment: &DeploymentId, number: u32) -> Result<ReplicaId, IdError> {
    ReplicaId::parse(format!("{deployment}-{number}"))
}

impl Fleet {
    /// Wants these replicas of `deployment`; those that are wanted already keep their state.
    pub(crate) fn ensure(
        &mut self,
        now: TimestampMs,
        deployment: &DeploymentId,
        (service, sequence): (&ServiceId, u64),
        specs: Vec<ReplicaSpec>,
    ) {
        let group = self.groups.entry(deployment.clone()).or_insert_with(|| Group {
            service: service.clone(),
            sequence,
            draining: false,
            rules: specs.first().map(|spec| Arc::new(spec.image.rules.clone())).unwrap_or_default(),
            replicas: BTreeMap::new(),
            times: None,
            rest: Rest::default(),
        });
        for spec in specs {
            group.replicas.entry(spec.replica.clone()).or_insert(Replica {
                spec,
                state: ReplicaState::Starting,
                reported: false,
                since: now,
            });
        }
    }

    pub(crate) fn drop_deployment(&mut self, deployment: &DeploymentId) {
        self.groups.remove(deployment);
    }

    pub(crate) fn drain(&mut self, deployment: &DeploymentId) {
        if let Some(group) = self.groups.get_mut(deployment) {
            group.draining = true;
        }
    }

    /// Older deployments of the same service that have replicas. Newer ones are none of its business: they may just
    /// be starting.
    pub(crate) fn older(&self, deployment: &DeploymentId) -> Vec<DeploymentId> {
        let Some(own) = self.groups.get(deployment) else { return Vec::new() };
        let older = |group: &Group| group.service == own.service && group.sequence < own.sequence;
        self.groups.iter().filter(|(_, group)| older(group)).map(|(id, _)| id.clone()).collect()
    }

    pub(crate) fn of_service(&self, service: &ServiceId) -> Vec<DeploymentId> {
        self.groups.iter().filter(|(_, group)| group.service == *service).map(|(id, _)| id.clone()).collect()
    }

    /// Takes a report. Some: the deployment whose replica it is, whether that was ready, and what it means for its sleep; None:
    /// nobody wants it.
    pub(crate) fn report(
        &mut self,
        now: TimestampMs,
        replica: &ReplicaId,
        state: ReplicaState,
    ) -> Option<(DeploymentId, bool, Turn)> {
        let (deployment, group) = self.groups.iter_mut().find(|(_, group)| group.replicas.contains_key(replica))?;
        let known = group.replicas.get_mut(replica)?;
        if std::mem::discriminant(&known.state) != std::mem::discriminant(&state) {
            known.since = now;
        }
        let was_ready = matches!(known.state, ReplicaState::Ready { .. });
        known.state = state.clone();
        known.reported = true;
        let turn = group.turn(now, &state);
        Some((deployment.clone(), was_ready, turn))
    }

    pub(crate) fn deployment_of(&self, replica: &ReplicaId) -> Option<&DeploymentId> {
        self.groups.iter().find(|(_, group)| group.replicas.contains_key(replica)).map(|(deployment, _)| deployment)
    }

    /// Whether the host has begun with each replica.
    pub(crate) fn all_started(&self, deployment: &DeploymentId) -> bool {
        self.groups
            .get(deployment)
            .is_some_and(|group| !group.replicas.is_empty() && group.replicas.values().all(|replica| replica.reported))
    }

    pub(crate) fn all_ready(&self, deployment: &DeploymentId) -> bool {
        self.groups.get(deployment).is_some_and(|group| {
            !group.replicas.is_empty()
                && group.replicas.values().all(|replica| matches!(replica.state, ReplicaState::Ready { .. }))
        })
    }

    pub(crate) fn service_of(&self, deployment: &DeploymentId) -> Option<&ServiceId> {
        self.groups.get(deployment).map(|group| &group.service)
    }

    pub(crate) fn replicas(&self, deployment: &DeploymentId) -> Vec<ReplicaId> {
        self.groups.get(deployment).map(|group| group.replicas.keys().cloned().collect()).unwrap_or_default()
    }

    /// Whether one is ready, or the host has said of each that it is not: nothing is to be waited for.
    pub(crate) fn is_settled(&self, deployment: &DeploymentId) -> bool {
        let Some(group) = self.groups.get(deployment) else { return true };
        let mut states = group.replicas.values().map(|replica| &replica.state);
        !self.ready(deployment).is_empty() || !states.any(|state| matches!(state, ReplicaState::Starting))
    }

    /// Replicas that may get traffic.
    pub(crate) fn ready(&self, deployment: &DeploymentId) -> Vec<(ReplicaId, Endpoint)> {
        let Some(group) = self.groups.get(deployment).filter(|group| group.takes_requests()) else { return Vec::new() };
        let ready = |(id, replica): (&ReplicaId, &Replica)| match &replica.state {
            ReplicaState::Ready { at } => Some((id.clone(), at.clone())),
            _ => None,
        };
        group.replicas.iter().filter_map(ready).collect()
    }

    /// Redirects and headers of the deployment's image.
    pub(crate) fn rules(&self, deployment: &DeploymentId) -> Arc<SiteRules> {
        self.groups.get(deployment).map(|group| group.rules.clone()).unwrap_or_default()
    }

    /// Deployments with replicas, those that drain left out.
    pub(crate) fn serving(&self) -> impl Iterator<Item = (&DeploymentId, &ServiceId)> {
        self.groups.iter().filter(|(_, group)| !group.draining).map(|(id, group)| (id, &group.service))
    }

    /// Layers of all wanted replicas.
    pub(crate) fn kept(&self) -> Vec<(Keeper, Vec<LayerRef>)> {
        let of_group = |(deployment, group): (&DeploymentId, &Group)| {
            let keeper = Keeper::Running { service: group.service.clone(), deployment: deployment.clone() };
            let layers = group.replicas.values().flat_map(|replica| replica.spec.image.layers.iter().cloned());
            (keeper, layers.collect())
        };
        self.groups.iter().map(of_group).collect()
    }

    /// For people. What sleeps has none.
    pub(crate) fn views(&self, service: &ServiceId) -> Vec<ReplicaView> {
        let groups = self.groups.iter().filter(|(_, group)| group.service == *service && !group.sleeps());
        let of_group = |(deployment, group): (&DeploymentId, &Group)| {
            let of_replica = |(id, replica): (&ReplicaId, &Replica)| ReplicaView {
                replica: id.clone(),
                deployment: deployment.clone(),
                state: if group.draining { "draining" } else { replica.state.as_str() }.to_owned(),
                since: replica.since,
            };
            group.replicas.iter().map(of_replica).collect::<Vec<_>>()
        };
        groups.flat_map(of_group).collect()
    }

    /// Sets of this run of the server are newer than those of all runs before it.
    pub(crate) fn begin_run(&mut self, now: TimestampMs, run: u64) {
        self.generation = (run << CLOCK_BITS) + now.unsigned_abs() % (1 << CLOCK_BITS);
    }

    /// The whole desired state, newer than any before it.
    pub(crate) fn replica_set(&mut self) -> ReplicaSet {
        self.generation += 1;
        let of_group = |group: &Group| {
            let asleep = group.sleeps();
            let specs = group.replicas.values().map(|replica| ReplicaSpec { asleep, ..replica.spec.clone() });
            specs.collect::<Vec<_>>()
        };
        ReplicaSet { generation: self.generation, replicas: self.groups.values().flat_map(of_group).collect() }
    }
}
