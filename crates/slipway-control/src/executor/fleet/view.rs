//! The fleet as people see it.

use super::{Fleet, Group, Replica};
use slipway_types::api::{ReplicaTrouble, ReplicaView, RestartView};
use slipway_types::host::{ReplicaState, Restart};
use slipway_types::{DeploymentId, Diagnosis, ReplicaId, ServiceId, TimestampMs};
use std::collections::BTreeMap;

/// Those that are worth a number also when none is in it.
const STATES: [&str; 6] = ["starting", "ready", "unready", "restarting", "crash-looping", "draining"];

/// Why a replica is not ready any more.
#[derive(Debug, Clone)]
pub(crate) struct Trouble {
    pub(crate) at: TimestampMs,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) exit: Option<slipway_types::host::ExitFacts>,
    pub(crate) restart: Option<Restart>,
}

impl Trouble {
    fn view(&self) -> ReplicaTrouble {
        let next_start_at = self.restart.map(|restart| {
            let pause = i64::try_from(restart.pause_ms).unwrap_or(i64::MAX);
            self.at.saturating_add(pause)
        });
        ReplicaTrouble {
            code: self.diagnosis.code.clone(),
            what: self.diagnosis.what.clone(),
            exit: self.exit,
            crashes: self.restart.map_or(0, |restart| restart.crashes),
            next_start_at,
        }
    }
}

impl Replica {
    fn state_name(&self) -> &'static str {
        match (&self.state, self.trouble.as_ref().and_then(|trouble| trouble.restart)) {
            (ReplicaState::Unready { .. }, Some(restart)) if restart.is_crash_loop() => "crash-looping",
            (ReplicaState::Unready { .. }, Some(_)) => "restarting",
            (state, _) => state.as_str(),
        }
    }
}

impl Fleet {
    pub(crate) fn note_trouble(&mut self, replica: &ReplicaId, trouble: Trouble) {
        let Some(group) = self.groups.values_mut().find(|group| group.replicas.contains_key(replica)) else { return };
        let has_failed = |replica: &Replica| matches!(replica.state, ReplicaState::Failed { .. });
        if trouble.restart.is_some() || group.replicas.get(replica).is_some_and(has_failed) {
            group.reload_fails(replica, &trouble.diagnosis.what);
        }
        if let Some(replica) = group.replicas.get_mut(replica) {
            replica.trouble = Some(trouble);
        }
    }

    /// What sleeps or is stopped has none, but for those that are on their way out.
    pub(crate) fn views(&self, service: &ServiceId) -> Vec<ReplicaView> {
        let groups = self.groups.iter().filter(|(_, group)| group.service == *service && !group.sleeps());
        let of_group = |(deployment, group): (&DeploymentId, &Group)| {
            let of_replica = |(id, replica): (&ReplicaId, &Replica)| ReplicaView {
                replica: id.clone(),
                deployment: deployment.clone(),
                state: match group.draining || replica.leaving_until.is_some() {
                    true => "draining".to_owned(),
                    false => replica.state_name().to_owned(),
                },
                since: replica.since,
                trouble: replica.trouble.as_ref().map(Trouble::view),
            };
            group.replicas.iter().map(of_replica).collect::<Vec<_>>()
        };
        groups.flat_map(of_group).collect()
    }

    /// How many replicas are to run, and how many there are in each state.
    pub(crate) fn counts(&self) -> (u64, BTreeMap<&'static str, u64>) {
        let awake = || self.groups.values().filter(|group| !group.draining && !group.sleeps());
        let wanted = awake().map(|group| group.roster.running().len() as u64).sum();
        let mut states: BTreeMap<_, _> = STATES.into_iter().map(|state| (state, 0)).collect();
        for group in self.groups.values().filter(|group| !group.sleeps()) {
            for replica in group.replicas.values() {
                let leaves = group.draining || replica.leaving_until.is_some();
                *states.entry(if leaves { "draining" } else { replica.state_name() }).or_default() += 1;
            }
        }
        (wanted, states)
    }

    /// How many replicas the deployment is to have, stopped or not.
    pub(crate) fn wanted(&self, deployment: &DeploymentId) -> Option<u32> {
        self.groups.get(deployment).map(|group| group.roster.count())
    }

    pub(crate) fn is_stopped(&self, deployment: &DeploymentId) -> bool {
        self.groups.get(deployment).is_some_and(|group| group.roster.is_stopped())
    }

    pub(crate) fn restart_view(&self, deployment: &DeploymentId) -> Option<RestartView> {
        self.groups.get(deployment)?.restart.clone()
    }
}
