//! Whether the replicas of a deployment sleep.
//!
//! ```text
//!            idle            nothing in flight, stored           a request, stored
//!   Awake ─────────▶ Falling ──────────────────────▶ Asleep ─────────────────────────▶ Rousing
//!     ▲  ◀───────────────┘                                                               │ what ran before is gone
//!     │    a request, a replica that fails, other replicas                               ▼
//!     └────────────────────────────────────── a replica is ready ───────────────────── Waking
//!                                                           └──── Failed ◀── a replica fails ┘
//! ```
//! Only what was ready as a whole falls asleep, so a release that crashes again and again never does. In `Asleep` and `Rousing`
//! the host is told to let the replicas sleep; in all other states to run them.

use super::{Fleet, Group};
use slipway_types::api::SleepView;
use slipway_types::host::ReplicaState;
use slipway_types::route::Sleep;
use slipway_types::settings::DurationMs;
use slipway_types::{DeploymentId, Diagnosis, TimestampMs};

/// Of a deployment that may sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SleepTimes {
    /// Without a request.
    pub(crate) after: DurationMs,
    /// A request waits at most that long for a wake.
    pub(crate) wait_max: DurationMs,
}

#[derive(Debug, Default)]
pub(super) enum Rest {
    #[default]
    Awake,
    /// It gets no new request; those in flight end undisturbed, however long that takes.
    Falling,
    Asleep,
    /// Woken before its replicas had stopped.
    Rousing,
    Waking,
    /// No replica became ready; the host goes on trying.
    Failed(Box<Diagnosis>),
}

/// What the state of a replica means for the sleep of its deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Nothing,
    /// Routes say something else now.
    Routes,
    /// So do the wanted replicas.
    Replicas,
    /// Tell [`Fleet::wake_failed`] why.
    WakeFailed,
}

impl Group {
    pub(super) fn sleeps(&self) -> bool {
        matches!(self.rest, Rest::Asleep | Rest::Rousing)
    }

    pub(super) fn takes_requests(&self) -> bool {
        !self.draining && matches!(self.rest, Rest::Awake | Rest::Failed(_))
    }

    pub(super) fn all(&self, is: impl Fn(&ReplicaState) -> bool) -> bool {
        self.staying().next().is_some() && self.staying().all(|(_, replica)| is(&replica.state))
    }

    /// It was stable before, so that its first healthy answer is enough, and its failures are those of a live release.
    fn wake(&mut self, now: TimestampMs) {
        self.rest = Rest::Waking;
        for replica in self.replicas.values_mut() {
            replica.spec.served = true;
            replica.spec.stable_window = DurationMs(0);
            (replica.state, replica.reported, replica.since) = (ReplicaState::Starting, false, now);
        }
    }

    /// The states of its replicas have changed, the newest to `state`.
    pub(super) fn turn(&mut self, now: TimestampMs, state: &ReplicaState) -> Turn {
        if self.goes_on_to_wake(now) {
            return Turn::Replicas;
        }
        match (&self.rest, state) {
            (Rest::Falling, ReplicaState::Unready { .. } | ReplicaState::Failed { .. })
            | (Rest::Waking | Rest::Failed(_), ReplicaState::Ready { .. }) => {
                self.rest = Rest::Awake;
                Turn::Routes
            }
            (Rest::Waking | Rest::Failed(_), ReplicaState::Unready { .. } | ReplicaState::Failed { .. }) => {
                Turn::WakeFailed
            }
            _ => Turn::Nothing,
        }
    }

    /// True: it was woken, and now all that ran before has stopped. To be asked whenever a replica stops, comes or goes.
    pub(super) fn goes_on_to_wake(&mut self, now: TimestampMs) -> bool {
        let wakes = matches!(self.rest, Rest::Rousing) && !self.draining;
        let wakes = wakes && self.all(|state| *state == ReplicaState::Stopped);
        if wakes {
            self.wake(now);
        }
        wakes
    }
}

impl Fleet {
    /// None: it never sleeps.
    pub(crate) fn may_sleep(&mut self, deployment: &DeploymentId, times: Option<SleepTimes>) {
        if let Some(group) = self.groups.get_mut(deployment) {
            group.times = times;
        }
    }

    /// It had no request for long enough. True: it gets none from now on, and [`Fleet::falling`] names it.
    pub(crate) fn begin_sleep(&mut self, deployment: &DeploymentId) -> bool {
        let Some(group) = self.groups.get_mut(deployment) else { return false };
        let ready = group.all(|state| matches!(state, ReplicaState::Ready { .. }));
        // A restart ends first, and whoever leaves.
        let ready = ready && group.roster.left_to_replace() == 0 && group.staying().count() == group.replicas.len();
        let begins = ready && group.times.is_some() && !group.draining && matches!(group.rest, Rest::Awake);
        if begins {
            group.rest = Rest::Falling;
        }
        begins
    }

    /// Those that fall asleep as soon as nothing is in flight to them.
    pub(crate) fn falling(&self) -> Vec<DeploymentId> {
        let falling = |group: &Group| matches!(group.rest, Rest::Falling);
        self.groups.iter().filter(|(_, group)| falling(group)).map(|(deployment, _)| deployment.clone()).collect()
    }

    /// It is stored that it sleeps.
    pub(crate) fn fell_asleep(&mut self, deployment: &DeploymentId) {
        if let Some(group) = self.groups.get_mut(deployment).filter(|group| group.times.is_some()) {
            group.rest = Rest::Asleep;
        }
    }

    /// It does not sleep after all. True: it was about to.
    pub(crate) fn stay_awake(&mut self, deployment: &DeploymentId) -> bool {
        let Some(group) = self.groups.get_mut(deployment) else { return false };
        let falling = matches!(group.rest, Rest::Falling);
        if falling {
            group.rest = Rest::Awake;
        }
        falling
    }

    pub(crate) fn is_asleep(&self, deployment: &DeploymentId) -> bool {
        self.groups.get(deployment).is_some_and(|group| matches!(group.rest, Rest::Asleep))
    }

    /// It is stored that it sleeps no more.
    pub(crate) fn woken(&mut self, now: TimestampMs, deployment: &DeploymentId) {
        let Some(group) = self.groups.get_mut(deployment).filter(|group| matches!(group.rest, Rest::Asleep)) else {
            return;
        };
        group.rest = Rest::Rousing;
        group.goes_on_to_wake(now);
    }

    /// The server came back and what is live starts, or is taken over: requests may wait for it as for a wake.
    pub(crate) fn starts_again(&mut self, deployment: &DeploymentId) {
        let Some(group) = self.groups.get_mut(deployment) else { return };
        group.was_ready = true;
        if group.times.is_some() && !group.roster.is_stopped() {
            group.rest = Rest::Waking;
        }
    }

    pub(crate) fn wake_failed(&mut self, deployment: &DeploymentId, diagnosis: Diagnosis) {
        if let Some(group) = self.groups.get_mut(deployment)
            && matches!(group.rest, Rest::Waking | Rest::Failed(_))
        {
            group.rest = Rest::Failed(Box::new(diagnosis));
        }
    }

    /// For the edge.
    pub(crate) fn route_sleep(&self, deployment: &DeploymentId) -> Option<Sleep> {
        let group = self.groups.get(deployment).filter(|group| !group.draining)?;
        if group.roster.is_stopped() {
            return Some(Sleep::Stopped);
        }
        let recovery = self.recovery(deployment);
        let Some(SleepTimes { after, wait_max }) = group.times else { return recovery };
        match group.rest {
            Rest::Awake => recovery.or(Some(Sleep::After { idle: after })),
            Rest::Falling | Rest::Asleep => Some(Sleep::Asleep { wait_max }),
            Rest::Rousing | Rest::Waking => Some(Sleep::Waking { wait_max }),
            Rest::Failed(_) => None,
        }
    }

    pub(crate) fn failed_to_wake(&self, deployment: &DeploymentId) -> bool {
        self.groups.get(deployment).is_some_and(|group| matches!(group.rest, Rest::Failed(_)))
    }

    /// For people.
    pub(crate) fn sleep_view(&self, deployment: &DeploymentId) -> Option<SleepView> {
        let group = self.groups.get(deployment)?;
        let group = Some(group).filter(|group| group.times.is_some() && !group.roster.is_stopped())?;
        Some(match &group.rest {
            Rest::Awake | Rest::Falling => SleepView::Awake,
            Rest::Asleep => SleepView::Asleep,
            Rest::Rousing | Rest::Waking => SleepView::Waking,
            Rest::Failed(diagnosis) => SleepView::WakeFailed { diagnosis: diagnosis.clone() },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::fleet::replica_id;
    use slipway_pipeline::Roster;
    use slipway_types::host::{Evidence, ReplicaSpec};
    use slipway_types::image::{Image, ImageStart};
    use slipway_types::route::Endpoint;
    use slipway_types::{ProjectName, ServiceId, ServiceName, ServiceSettings};

    /// A deployment of two replicas, and what is said of them.
    struct Case {
        fleet: Fleet,
        deployment: DeploymentId,
    }

    impl Case {
        fn new() -> Case {
            let deployment = DeploymentId::parse("dpl-1").unwrap();
            let service = ServiceId::parse("svc-1").unwrap();
            let settings = ServiceSettings::default();
            let spec = |number| ReplicaSpec {
                replica: replica_id(&deployment, number).unwrap(),
                deployment: deployment.clone(),
                service_id: service.clone(),
                project: ProjectName::parse("shop").unwrap(),
                service: ServiceName::parse("web").unwrap(),
                image: Image { layers: Vec::new(), start: ImageStart::Site, rules: Default::default() },
                env: Default::default(),
                env_revision: 0,
                reload: settings.reload,
                port: settings.port,
                limits: settings.run,
                health: None,
                stable_window: settings.health.stable_window,
                stop_grace: settings.stop_grace,
                served: false,
                asleep: false,
            };
            let mut fleet = Fleet::default();
            fleet.ensure(0, &deployment, (&service, 1), spec(1), Roster::new(2)).unwrap();
            let times = SleepTimes { after: DurationMs::seconds(600), wait_max: DurationMs::seconds(60) };
            fleet.may_sleep(&deployment, Some(times));
            Case { fleet, deployment }
        }

        fn report(&mut self, number: u32, state: ReplicaState) -> Turn {
            let replica = replica_id(&self.deployment, number).unwrap();
            self.fleet.report(1, &replica, state).unwrap().turn
        }

        fn ready(&mut self, number: u32) -> Turn {
            self.report(number, ReplicaState::Ready { at: Endpoint::Address(([10, 0, 0, 1], 80).into()) })
        }

        fn unready(&mut self, number: u32) -> Turn {
            self.report(number, ReplicaState::Unready { evidence: Box::new(Evidence::default()) })
        }

        fn asleep(&mut self) -> bool {
            let set = self.fleet.replica_set().replicas;
            assert!(set.iter().all(|spec| spec.asleep == set[0].asleep));
            set[0].asleep
        }

        fn serving(&self) -> usize {
            self.fleet.ready(&self.deployment).len()
        }
    }

    #[test]
    fn all_of_it_is_ready_before_it_sleeps_and_gone_before_it_wakes() {
        let mut case = Case::new();
        let deployment = case.deployment.clone();
        case.ready(1);
        assert!(!case.fleet.begin_sleep(&deployment));
        case.ready(2);
        assert!(case.fleet.begin_sleep(&deployment));
        assert!(!case.fleet.begin_sleep(&deployment), "it is about to");
        assert_eq!((case.serving(), case.asleep()), (0, false));
        case.fleet.fell_asleep(&deployment);
        assert!(case.asleep() && case.fleet.is_asleep(&deployment));
        assert_eq!(case.report(1, ReplicaState::Stopped), Turn::Nothing);
        case.fleet.woken(1, &deployment);
        assert!(case.asleep(), "one of it runs still");
        assert_eq!(case.fleet.sleep_view(&deployment), Some(SleepView::Waking));
        assert_eq!(case.report(2, ReplicaState::Stopped), Turn::Replicas);
        assert!(!case.asleep());
        // The first that is ready is enough.
        assert_eq!(case.ready(2), Turn::Routes);
        assert_eq!((case.serving(), case.fleet.sleep_view(&deployment)), (1, Some(SleepView::Awake)));
        assert_eq!(case.ready(1), Turn::Nothing);
    }

    #[test]
    fn a_replica_that_fails_ends_the_way_to_sleep() {
        let mut case = Case::new();
        let deployment = case.deployment.clone();
        case.ready(1);
        case.ready(2);
        assert!(case.fleet.begin_sleep(&deployment));
        assert_eq!(case.unready(1), Turn::Routes);
        assert_eq!((case.serving(), case.fleet.falling().len()), (1, 0));
        assert!(!case.fleet.begin_sleep(&deployment));
    }

    #[test]
    fn a_wake_that_fails_is_over_with_the_first_replica_that_is_ready() {
        let mut case = Case::new();
        let deployment = case.deployment.clone();
        case.fleet.fell_asleep(&deployment);
        assert_eq!(case.report(1, ReplicaState::Stopped), Turn::Nothing);
        assert_eq!(case.report(2, ReplicaState::Stopped), Turn::Nothing);
        case.fleet.woken(1, &deployment);
        assert!(!case.asleep());
        assert_eq!(case.unready(1), Turn::WakeFailed);
        let diagnosis = Diagnosis::new("x", slipway_types::Blame::User, "it exits");
        case.fleet.wake_failed(&deployment, diagnosis.clone());
        let failed = SleepView::WakeFailed { diagnosis: Box::new(diagnosis) };
        assert_eq!((case.fleet.sleep_view(&deployment), case.fleet.route_sleep(&deployment)), (Some(failed), None));
        assert!(!case.fleet.begin_sleep(&deployment));
        assert_eq!(case.ready(2), Turn::Routes);
        assert_eq!(case.fleet.sleep_view(&deployment), Some(SleepView::Awake));
    }

    #[test]
    fn other_replicas_end_the_way_to_sleep_and_are_not_waited_for_by_a_wake() {
        let mut case = Case::new();
        let deployment = case.deployment.clone();
        case.ready(1);
        case.ready(2);
        assert!(case.fleet.begin_sleep(&deployment));
        case.fleet.enroll((1, 9), &deployment, Roster::new(2).scaled(3)).unwrap();
        assert_eq!(case.fleet.falling(), []);
        case.ready(3);
        assert!(case.fleet.begin_sleep(&deployment));
        case.fleet.fell_asleep(&deployment);
        case.report(1, ReplicaState::Stopped);
        case.report(2, ReplicaState::Stopped);
        case.fleet.woken(1, &deployment);
        assert!(case.asleep(), "the third runs still");
        case.fleet.enroll((1, 9), &deployment, Roster::new(2)).unwrap();
        assert!(!case.asleep());
    }

    #[test]
    fn what_drains_is_not_woken() {
        let mut case = Case::new();
        let deployment = case.deployment.clone();
        case.fleet.fell_asleep(&deployment);
        case.fleet.drain(&deployment);
        case.fleet.woken(1, &deployment);
        assert_eq!(case.report(1, ReplicaState::Stopped), Turn::Nothing);
        assert_eq!(case.report(2, ReplicaState::Stopped), Turn::Nothing);
        assert!(case.asleep());
        assert_eq!(case.fleet.route_sleep(&deployment), None);
    }
}
