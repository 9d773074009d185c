//! The replicas that should run and what the host says of them.
//!
//! Desired: every replica of the deployments that are live, starting or draining, handed to the host whole with a
//! generation. Observed: the last state of each. What no [`ReplicaSpec`] names any more is forgotten.

mod roster;
mod sleep;
mod variables;
mod view;

pub(crate) use sleep::{SleepTimes, Turn};
pub(crate) use variables::Reach;
pub(crate) use view::Trouble;

use sleep::Rest;
use slipway_pipeline::Roster;
use slipway_types::api::RestartView;
use slipway_types::cache::Keeper;
use slipway_types::host::{ProbeResult, ReplicaSet, ReplicaSpec, ReplicaState};
use slipway_types::id::IdError;
use slipway_types::route::Endpoint;
use slipway_types::site::SiteRules;
use slipway_types::{DeploymentId, LayerRef, ReplicaId, RunId, ServiceId, TimestampMs};
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
    /// What a further replica is made of.
    template: ReplicaSpec,
    roster: Roster,
    /// The last restart, when there was one.
    restart: Option<RestartView>,
    reload: Option<variables::Reload>,
    /// A replica of it was ready at some time: it is worth to wait for.
    was_ready: bool,
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
    /// Its present life; and whether it has not been ready in it, and this server saw its beginning.
    run: Option<RunId>,
    is_fresh: bool,
    /// Where its sandbox answers, ready or not.
    at: Option<Endpoint>,
    /// Since it was ready last.
    trouble: Option<Trouble>,
    /// It gets no new request, and is stopped when nothing is in flight to it any more, at the latest then.
    leaving_until: Option<TimestampMs>,
}

/// What the report of a replica means.
#[derive(Debug)]
pub(crate) struct Reported {
    pub(crate) deployment: DeploymentId,
    pub(crate) turn: Turn,
    /// It is ready for the first time in its run, or again after some trouble: in words.
    pub(crate) turned_ready: Option<&'static str>,
}

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    groups: BTreeMap<DeploymentId, Group>,
    generation: u64,
}

/// It fails its probes, and answers them.
fn answers_unready(state: &ReplicaState) -> bool {
    let ReplicaState::Unready { evidence } = state else { return false };
    let last_probe = evidence.health.as_ref().and_then(|health| health.last_probe.as_ref());
    evidence.restart.is_none() && matches!(last_probe, Some(ProbeResult::Status { .. }))
}

/// The id of a deployment's replica: the same after a restart, so that the host adopts what runs.
pub(crate) fn replica_id(deployment: &DeploymentId, number: u32) -> Result<ReplicaId, IdError> {
    ReplicaId::parse(format!("{deployment}-{number}"))
}

impl Fleet {
    /// Wants the replicas of the roster; those that are wanted already keep their state.
    pub(crate) fn ensure(
        &mut self,
        now: TimestampMs,
        deployment: &DeploymentId,
        (service, sequence): (&ServiceId, u64),
        template: ReplicaSpec,
        roster: Roster,
    ) -> Result<(), IdError> {
        let group = self.groups.entry(deployment.clone()).or_insert_with(|| Group {
            service: service.clone(),
            sequence,
            draining: false,
            rules: Arc::new(template.image.rules.clone()),
            template,
            // One that a former run of the server began.
            restart: Some(roster.left_to_replace()).filter(|left| *left > 0).map(|of| RestartView {
                replaced: 0,
                of,
                failed: None,
            }),
            roster,
            reload: None,
            was_ready: false,
            replicas: BTreeMap::new(),
            times: None,
            rest: Rest::default(),
        });
        group.add_missing(now, deployment, group.template.served)
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

    /// Takes a report. None: nobody wants the replica.
    pub(crate) fn report(&mut self, now: TimestampMs, replica: &ReplicaId, state: ReplicaState) -> Option<Reported> {
        let (deployment, group) = self.groups.iter_mut().find(|(_, group)| group.replicas.contains_key(replica))?;
        let known = group.replicas.get_mut(replica)?;
        if std::mem::discriminant(&known.state) != std::mem::discriminant(&state) {
            known.since = now;
        }
        let is_ready = matches!(state, ReplicaState::Ready { .. });
        let turned_ready = match (is_ready, known.trouble.is_some()) {
            (true, true) => Some("is ready again"),
            (true, false) if known.is_fresh => Some("is ready"),
            _ => None,
        };
        known.is_fresh &= !is_ready;
        match &state {
            ReplicaState::Ready { at } => (known.at, known.trouble) = (Some(at.clone()), None),
            ReplicaState::Unready { evidence } if evidence.restart.is_none() => {}
            _ => known.at = None,
        }
        known.state = state.clone();
        known.reported = true;
        group.was_ready |= is_ready;
        let turn = group.turn(now, &state);
        Some(Reported { deployment: deployment.clone(), turn, turned_ready })
    }

    /// `is_fresh`: it has just begun.
    pub(crate) fn set_run(&mut self, replica: &ReplicaId, run: RunId, is_fresh: bool) {
        if let Some(known) = self.groups.values_mut().find_map(|group| group.replicas.get_mut(replica)) {
            (known.run, known.is_fresh) = (Some(run), is_fresh);
        }
    }

    pub(crate) fn run_of(&self, replica: &ReplicaId) -> Option<RunId> {
        self.groups.values().find_map(|group| group.replicas.get(replica))?.run.clone()
    }

    /// Whether the host has begun with each replica.
    pub(crate) fn all_started(&self, deployment: &DeploymentId) -> bool {
        self.groups.get(deployment).is_some_and(|group| {
            group.staying().next().is_some() && group.staying().all(|(_, replica)| replica.reported)
        })
    }

    pub(crate) fn all_ready(&self, deployment: &DeploymentId) -> bool {
        self.groups.get(deployment).is_some_and(|group| group.all(|state| matches!(state, ReplicaState::Ready { .. })))
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
        let mut states = group.staying().map(|(_, replica)| &replica.state);
        !self.ready(deployment).is_empty() || !states.any(|state| matches!(state, ReplicaState::Starting))
    }

    /// Replicas that may get traffic. When none is ready, those that at least answer their probes: whatever they say to people is
    /// better than that nobody answers.
    pub(crate) fn ready(&self, deployment: &DeploymentId) -> Vec<(ReplicaId, Endpoint)> {
        let Some(group) = self.groups.get(deployment).filter(|group| group.takes_requests()) else { return Vec::new() };
        let those = |may: fn(&ReplicaState) -> bool| {
            let may = group.staying().filter(|(_, replica)| may(&replica.state));
            may.filter_map(|(id, replica)| Some((id.clone(), replica.at.clone()?))).collect::<Vec<_>>()
        };
        let ready = those(|state| matches!(state, ReplicaState::Ready { .. }));
        if ready.is_empty() { those(answers_unready) } else { ready }
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
