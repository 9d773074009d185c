//! Other replicas of a deployment than before: new ones come, and who leaves is let go once nothing is in flight to it.

use super::{Fleet, Group, Replica, Rest, replica_id};
use slipway_pipeline::Roster;
use slipway_types::api::RestartView;
use slipway_types::host::{ReplicaSpec, ReplicaState};
use slipway_types::id::IdError;
use slipway_types::route::Sleep;
use slipway_types::settings::DurationMs;
use slipway_types::{DeploymentId, Diagnosis, ReplicaId, TimestampMs};

/// A request waits that long for a deployment whose replicas have just ended and start again. Longer than a start takes; whoever
/// waits longer has gone.
const RECOVERY_WAIT_MAX: DurationMs = DurationMs::seconds(10);

impl Group {
    /// Replicas that are wanted, in the order of their ids.
    pub(super) fn staying(&self) -> impl Iterator<Item = (&ReplicaId, &Replica)> {
        self.replicas.iter().filter(|(_, replica)| replica.leaving_until.is_none())
    }

    /// `served`: a failed start is tried again and ends nothing.
    pub(super) fn add_missing(
        &mut self,
        now: TimestampMs,
        deployment: &DeploymentId,
        served: bool,
    ) -> Result<(), IdError> {
        for number in self.roster.running() {
            let replica = replica_id(deployment, *number)?;
            let spec = ReplicaSpec { replica: replica.clone(), served, ..self.template.clone() };
            self.replicas.entry(replica).or_insert(Replica {
                spec,
                state: ReplicaState::Starting,
                reported: false,
                since: now,
                run: None,
                is_fresh: false,
                at: None,
                trouble: None,
                leaving_until: None,
            });
        }
        Ok(())
    }
}

impl Fleet {
    pub(crate) fn roster(&self, deployment: &DeploymentId) -> Option<&Roster> {
        self.groups.get(deployment).map(|group| &group.roster)
    }

    /// Whether the deployment has no process that could be restarted.
    pub(crate) fn is_site(&self, deployment: &DeploymentId) -> bool {
        self.groups.get(deployment).is_some_and(|group| group.template.image.process().is_none())
    }

    /// It is stored that these run. Who is not among them leaves, at the latest at `leaving_until`.
    pub(crate) fn enroll(
        &mut self,
        (now, leaving_until): (TimestampMs, TimestampMs),
        deployment: &DeploymentId,
        roster: Roster,
    ) -> Result<(), IdError> {
        let Some(group) = self.groups.get_mut(deployment) else { return Ok(()) };
        let restarts = roster.left_to_replace() > 0;
        let starts = group.roster.is_stopped() && !roster.is_stopped();
        if starts || matches!(group.rest, Rest::Falling) {
            group.rest = Rest::Awake;
        }
        group.roster = roster;
        let stays = group.roster.running().iter().map(|number| replica_id(deployment, *number));
        let stays = stays.collect::<Result<std::collections::BTreeSet<_>, _>>()?;
        for (id, replica) in &mut group.replicas {
            if !stays.contains(id) {
                replica.leaving_until.get_or_insert(leaving_until);
            }
        }
        group.add_missing(now, deployment, !restarts)?;
        group.goes_on_to_wake(now);
        Ok(())
    }

    /// Lets those go that leave and to which nothing is in flight, or whose time is over. True: there were some.
    pub(crate) fn let_go(&mut self, now: TimestampMs, is_drained: impl Fn(&ReplicaId) -> bool) -> bool {
        let mut gone = false;
        for group in self.groups.values_mut() {
            group.replicas.retain(|id, replica| {
                let goes = replica.leaving_until.is_some_and(|until| until <= now || is_drained(id));
                gone |= goes;
                !goes
            });
            group.goes_on_to_wake(now);
        }
        gone
    }

    /// When the first of those that leave has had its time.
    pub(crate) fn next_leave(&self) -> Option<TimestampMs> {
        self.groups.values().flat_map(|group| group.replicas.values()).filter_map(|replica| replica.leaving_until).min()
    }

    /// Deployments that a restart has not yet gone through.
    pub(crate) fn restarting(&self) -> Vec<DeploymentId> {
        let restarting = |group: &Group| !group.draining && group.roster.left_to_replace() > 0;
        self.groups.iter().filter(|(_, group)| restarting(group)).map(|(deployment, _)| deployment.clone()).collect()
    }

    /// The next step of a restart. None: it has to wait.
    pub(crate) fn next_step(&self, deployment: &DeploymentId) -> Option<Roster> {
        let group = self.groups.get(deployment)?;
        let is_ready = |number| {
            let replica = replica_id(deployment, number).ok().and_then(|id| group.replicas.get(&id));
            replica.is_some_and(|replica| matches!(replica.state, ReplicaState::Ready { .. }))
        };
        // What sleeps starts afresh when it wakes: there is nothing to wait for.
        group.roster.step(|number| group.sleeps() || is_ready(number))
    }

    /// Whether it is the new replica of a restart that is under way.
    pub(crate) fn is_replacement(&self, deployment: &DeploymentId, replica: &ReplicaId) -> bool {
        let replacement = self.groups.get(deployment).and_then(|group| group.roster.replacement());
        replacement.is_some_and(|number| replica_id(deployment, number).is_ok_and(|id| id == *replica))
    }

    pub(crate) fn restart_begins(&mut self, deployment: &DeploymentId) {
        if let Some(group) = self.groups.get_mut(deployment) {
            group.restart = Some(RestartView { replaced: 0, of: group.roster.left_to_replace(), failed: None });
        }
    }

    pub(crate) fn restart_goes_on(&mut self, deployment: &DeploymentId) {
        if let Some(group) = self.groups.get_mut(deployment) {
            let left = group.roster.left_to_replace();
            if let Some(restart) = &mut group.restart {
                restart.replaced = restart.of.saturating_sub(left);
            }
        }
    }

    pub(crate) fn restart_fails(&mut self, deployment: &DeploymentId, diagnosis: Diagnosis) {
        if let Some(restart) = self.groups.get_mut(deployment).and_then(|group| group.restart.as_mut()) {
            restart.failed = Some(Box::new(diagnosis));
        }
    }

    /// What had been ready and is not, and is about to be: its requests wait a moment. What crashes again and again is not waited
    /// for, unless something else is about to take its place.
    pub(super) fn recovery(&self, deployment: &DeploymentId) -> Option<Sleep> {
        let group = self.groups.get(deployment).filter(|_| self.ready(deployment).is_empty())?;
        let newer = |other: &Group| other.service == group.service && other.sequence > group.sequence;
        let comes = |replica: &Replica| match &replica.state {
            ReplicaState::Starting => true,
            ReplicaState::Unready { evidence } => evidence.restart.is_some_and(|restart| !restart.is_crash_loop()),
            _ => false,
        };
        let ended = |replica: &Replica| replica.at.is_none();
        let waits = group.was_ready
            && (group.staying().any(|(_, replica)| comes(replica))
                || (group.staying().all(|(_, replica)| ended(replica)) && self.groups.values().any(newer)));
        waits.then_some(Sleep::Waking { wait_max: RECOVERY_WAIT_MAX })
    }
}
