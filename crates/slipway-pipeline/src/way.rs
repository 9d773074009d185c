//! The ways to leave a state, each with its actions and what the phase log gets. Which way is taken, [`crate::step`] says.

use crate::{Action, Deployment, DeploymentState as S, PhaseChange, Transition};
use slipway_types::api::PhaseResult;
use slipway_types::{DeploymentId, Phase, ServiceKind, TimestampMs};

/// A deployment to which something happens, now.
pub(crate) struct At<'d> {
    pub(crate) now: TimestampMs,
    pub(crate) deployment: &'d Deployment,
}

impl At<'_> {
    pub(crate) fn older_than(&self, sequence: u64) -> bool {
        self.deployment.sequence < sequence
    }

    fn crashed(&self) -> Option<String> {
        self.deployment.state.crashed().map(str::to_owned)
    }

    pub(crate) fn again(&self, actions: Vec<Action>) -> Transition {
        Transition { next: self.deployment.state.clone(), actions, phases: Vec::new() }
    }

    pub(crate) fn becomes(&self, next: S) -> Transition {
        Transition { next, actions: Vec::new(), phases: Vec::new() }
    }

    pub(crate) fn run(&self, phase: Phase, worker: u32) -> Transition {
        Transition {
            next: S::Running {
                phase,
                worker,
                since: self.now,
                attempt: self.deployment.version + 1,
                superseded_by: None,
            },
            actions: vec![Action::RunPhase { worker, phase }],
            phases: vec![PhaseChange::Started(phase)],
        }
    }

    pub(crate) fn after_worker_phase(&self, done: Phase, worker: u32, skipped: bool) -> Transition {
        let result = if skipped { PhaseResult::Skipped } else { PhaseResult::Done };
        let mut phases = vec![PhaseChange::Finished(done, result)];
        for phase in Phase::ALL.into_iter().filter(|phase| *phase > done && phase.on_worker()) {
            if self.has(phase) {
                let mut transition = self.run(phase, worker);
                transition.phases.splice(0..0, phases);
                return transition;
            }
            phases.push(PhaseChange::Skipped(phase));
        }
        phases.push(PhaseChange::Started(Phase::Start));
        Transition {
            next: S::Starting { since: self.now },
            actions: vec![Action::ReleaseWorker { worker }, Action::CreateRelease, Action::StartReplicas],
            phases,
        }
    }

    /// What a worker does first.
    pub(crate) fn first(&self) -> Phase {
        if self.deployment.shape.reuses_image { Phase::PreDeploy } else { Phase::Source }
    }

    fn has(&self, phase: Phase) -> bool {
        match phase {
            Phase::Install => self.deployment.shape.install,
            Phase::PreDeploy => self.deployment.shape.pre_deploy,
            _ => true,
        }
    }

    /// The attempt that was lost is over; the phase starts again with the next worker.
    pub(crate) fn resuming(&self, phase: Phase) -> Transition {
        Transition {
            next: S::Resuming { phase, since: self.now },
            actions: Vec::new(),
            phases: self.finish(PhaseResult::Canceled),
        }
    }

    pub(crate) fn probing(&self) -> Transition {
        Transition {
            next: S::Health { since: self.now },
            actions: Vec::new(),
            phases: vec![PhaseChange::Finished(Phase::Start, PhaseResult::Done), PhaseChange::Started(Phase::Health)],
        }
    }

    /// The point of no return, unless something newer is live already.
    pub(crate) fn ready(&self) -> Transition {
        match &self.deployment.live {
            Some(live) if self.older_than(live.sequence) => {
                self.superseded(live.sequence, PhaseResult::Canceled, vec![Action::StopReplicas])
            }
            live => {
                let former = live.as_ref().map(|live| live.deployment.clone());
                match self.deployment.shape.kind {
                    ServiceKind::Web | ServiceKind::Static => self.switching(former),
                    ServiceKind::Worker => self.taking_over(former),
                }
            }
        }
    }

    fn switching(&self, former: Option<DeploymentId>) -> Transition {
        let generation = self.deployment.route_generation + 1;
        let mut phases = match self.deployment.state {
            S::Starting { .. } => self.probing().phases,
            _ => Vec::new(),
        };
        phases.push(PhaseChange::Finished(Phase::Health, PhaseResult::Done));
        phases.push(PhaseChange::Started(Phase::Route));
        Transition {
            next: S::Routing { since: self.now, generation, former, crashed: None },
            actions: vec![Action::MakeLive { generation }, Action::SwitchRoutes],
            phases,
        }
    }

    /// A worker has no requests to finish: the former one is told to stop, within its own grace time.
    fn taking_over(&self, former: Option<DeploymentId>) -> Transition {
        let generation = self.deployment.route_generation + 1;
        let mut actions = vec![Action::MakeLive { generation }, Action::MarkSuperseded];
        let mut phases = vec![
            PhaseChange::Finished(Phase::Start, PhaseResult::Done),
            PhaseChange::Skipped(Phase::Health),
            PhaseChange::Skipped(Phase::Route),
        ];
        if former.is_some() {
            actions.push(Action::StopFormerReplicas);
            phases.push(PhaseChange::Started(Phase::Drain));
            phases.push(PhaseChange::Finished(Phase::Drain, PhaseResult::Done));
        } else {
            phases.push(PhaseChange::Skipped(Phase::Drain));
        }
        self.cleaning_up(actions, phases)
    }

    pub(crate) fn routed(&self, former: Option<&DeploymentId>) -> Transition {
        let mut phases = vec![PhaseChange::Finished(Phase::Route, PhaseResult::Done)];
        let Some(former) = former else {
            phases.push(PhaseChange::Skipped(Phase::Drain));
            return self.cleaning_up(vec![Action::MarkSuperseded], phases);
        };
        phases.push(PhaseChange::Started(Phase::Drain));
        Transition {
            next: S::Draining { since: self.now, former: former.clone(), crashed: self.crashed() },
            actions: vec![Action::MarkSuperseded, Action::BeginDrain],
            phases,
        }
    }

    pub(crate) fn drained(&self) -> Transition {
        let phases = vec![PhaseChange::Finished(Phase::Drain, PhaseResult::Done)];
        self.cleaning_up(vec![Action::StopFormerReplicas], phases)
    }

    fn cleaning_up(&self, mut actions: Vec<Action>, mut phases: Vec<PhaseChange>) -> Transition {
        actions.push(Action::RemoveScratch);
        phases.push(PhaseChange::Started(Phase::CleanUp));
        Transition { next: S::CleaningUp { since: self.now, crashed: self.crashed() }, actions, phases }
    }

    pub(crate) fn cleaned_up(&self) -> Transition {
        Transition {
            next: S::Live { since: self.now, crashed: self.crashed() },
            actions: Vec::new(),
            phases: vec![PhaseChange::Finished(Phase::CleanUp, PhaseResult::Done)],
        }
    }

    pub(crate) fn failed(&self, code: &str, mut actions: Vec<Action>) -> Transition {
        // Only states with a phase lead here.
        let phase = self.deployment.state.phase().unwrap_or(Phase::Source);
        actions.push(Action::Diagnose { code: code.to_owned() });
        Transition {
            next: S::Failed { at: self.now, phase, code: code.to_owned() },
            actions,
            phases: self.finish(PhaseResult::Failed),
        }
    }

    pub(crate) fn in_rollback_window(&self) -> bool {
        let Some(window) = self.deployment.shape.rollback_window else { return false };
        match &self.deployment.state {
            S::Live { since, .. } => self.now.saturating_sub(*since) < i64::try_from(window.0).unwrap_or(i64::MAX),
            _ => true,
        }
    }

    /// It stays live until the newer one is: there is always something that the live pointer names.
    pub(crate) fn crashes(&self, code: &str) -> Transition {
        let crashed = Some(code.to_owned());
        let next = match self.deployment.state.clone() {
            S::Routing { since, generation, former, .. } => S::Routing { since, generation, former, crashed },
            S::Draining { since, former, .. } => S::Draining { since, former, crashed },
            S::CleaningUp { since, .. } => S::CleaningUp { since, crashed },
            S::Live { since, .. } => S::Live { since, crashed },
            other => other,
        };
        Transition { actions: vec![Action::Diagnose { code: code.to_owned() }], ..self.becomes(next) }
    }

    pub(crate) fn canceled(&self, actions: Vec<Action>) -> Transition {
        Transition {
            next: S::Canceled { at: self.now, phase: self.deployment.state.phase() },
            actions,
            phases: self.finish(PhaseResult::Canceled),
        }
    }

    pub(crate) fn superseded(&self, by: u64, result: PhaseResult, actions: Vec<Action>) -> Transition {
        // In `Routing` the edge may have switched already: such a deployment counts as one that was live.
        let was_live = matches!(
            self.deployment.state,
            S::Routing { .. } | S::Draining { .. } | S::CleaningUp { .. } | S::Live { .. }
        );
        let next = match self.crashed() {
            Some(code) => S::Failed { at: self.now, phase: Phase::Route, code },
            None => S::Superseded { at: self.now, by, was_live },
        };
        Transition { next, actions, phases: self.finish(result) }
    }

    /// The end of the phase that is open in the log.
    fn finish(&self, result: PhaseResult) -> Vec<PhaseChange> {
        if matches!(self.deployment.state, S::Resuming { .. }) {
            return Vec::new();
        }
        self.deployment.state.phase().map(|phase| PhaseChange::Finished(phase, result)).into_iter().collect()
    }
}
