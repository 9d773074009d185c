//! The whole machine, walked: every reachable state with every event, beside a model of the world that the actions act on.
//! What is checked after each step is what the crate promises. The walk goes on until nothing new is reached, so it covers
//! event sequences of every length.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panic")]

use slipway_pipeline::{
    Action, Deployment, DeploymentState as S, Event, LiveDeployment, PhaseChange, Shape, Transition, begin,
    own_diagnosis, step,
};
use slipway_types::api::PhaseResult;
use slipway_types::settings::DurationMs;
use slipway_types::{DeploymentId, DeploymentStatus, Phase, ServiceKind, Trigger};
use std::collections::{BTreeSet, HashSet, VecDeque};

const NOW: i64 = 1_000;
const SEQUENCE: u64 = 5;
/// Of every attempt: changes are not counted here, or there would be no end of states.
const ATTEMPT: u64 = 1;

fn id(text: &str) -> DeploymentId {
    DeploymentId::parse(text).unwrap()
}

/// Every event, with values that fit and values that do not.
fn events() -> Vec<Event> {
    let mut events = vec![
        Event::WorkerClaimed { worker: 1 },
        Event::WorkerClaimed { worker: 2 },
        Event::ReplicasStarted,
        Event::ReplicasReady,
        Event::ReplicaFailed { code: "app-exited".into() },
        Event::ReplicaCrashed { code: "out-of-memory".into() },
        Event::Routed { generation: 7 },
        Event::Routed { generation: 8 },
        Event::Routed { generation: 9 },
        Event::Drained,
        Event::CleanedUp,
        Event::CancelRequested,
        Event::MemoryWanted { attempt: ATTEMPT },
        Event::LeaseExpired { attempt: ATTEMPT },
        Event::Restarted { scratch_kept: true },
        Event::Restarted { scratch_kept: false },
    ];
    for sequence in [4, SEQUENCE, 6] {
        events.push(Event::NewerCreated { sequence });
        events.push(Event::NewerLive { sequence });
    }
    for phase in Phase::ALL {
        events.push(Event::PhaseDone { phase, attempt: ATTEMPT, skipped: false });
        events.push(Event::PhaseDone { phase, attempt: ATTEMPT, skipped: true });
        let attempt = phase.on_worker().then_some(ATTEMPT);
        events.push(Event::PhaseFailed { phase, attempt, code: "build-failed".into() });
        events.push(Event::TimedOut { phase });
    }
    events
}

fn settings() -> Vec<Deployment> {
    let lives = [None, Some(("older", 3)), Some(("newer", 6))];
    let mut all = Vec::new();
    for kind in [ServiceKind::Web, ServiceKind::Worker] {
        for (install, pre_deploy) in [(false, false), (false, true), (true, false), (true, true)] {
            for trigger in [Trigger::Source, Trigger::Redeploy, Trigger::Rollback] {
                // Only a redeploy can find its image there.
                for reuses_image in [false, true].into_iter().take(1 + usize::from(trigger == Trigger::Redeploy)) {
                    let rollback_window = (trigger != Trigger::Rollback).then_some(DurationMs(1000));
                    let shape = Shape { kind, install, pre_deploy, reuses_image, rollback_window };
                    all.extend(lives.map(|live| Deployment {
                        deployment: id("this"),
                        sequence: SEQUENCE,
                        trigger,
                        shape,
                        live: live.map(|(name, sequence)| LiveDeployment { deployment: id(name), sequence }),
                        version: ATTEMPT - 1,
                        route_generation: 7,
                        state: begin(NOW, trigger, &shape).next,
                    }));
                }
            }
        }
    }
    all
}

/// The world, as far as the actions change it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct World {
    worker: Option<u32>,
    replicas: bool,
    release: bool,
    pre_deploys: u8,
    made_live: bool,
    switched: bool,
    diagnosed: bool,
    open_phase: Option<Phase>,
    finished: Vec<(Phase, u8)>,
}

impl World {
    fn new(trigger: Trigger) -> World {
        World {
            worker: None,
            replicas: false,
            release: trigger == Trigger::Rollback,
            pre_deploys: 0,
            made_live: false,
            switched: false,
            diagnosed: false,
            open_phase: None,
            finished: Vec::new(),
        }
    }

    fn apply(&mut self, event: Option<&Event>, before: &Deployment, transition: &Transition) {
        if let (Some(Event::WorkerClaimed { worker }), Some(bound)) = (event, transition.next.worker())
            && before.state.waits_for_worker()
        {
            assert_eq!(*worker, bound);
            self.worker = Some(bound);
        }
        if matches!(event, Some(Event::Restarted { .. })) {
            // The worker's process is gone.
            self.worker = None;
        }
        for change in &transition.phases {
            self.log(*change);
        }
        for action in &transition.actions {
            self.act(action, before, transition);
        }
    }

    fn log(&mut self, change: PhaseChange) {
        match change {
            PhaseChange::Started(phase) => {
                assert_eq!(self.open_phase, None, "{phase} started while another runs");
                self.finished.retain(|(finished, _)| *finished < phase);
                self.open_phase = Some(phase);
            }
            PhaseChange::Finished(phase, result) => {
                assert_eq!(self.open_phase.take(), Some(phase), "only what started finishes");
                self.finish(phase, result as u8);
            }
            PhaseChange::Skipped(phase) => {
                assert_eq!(self.open_phase, None);
                self.finish(phase, PhaseResult::Skipped as u8);
            }
        }
    }

    fn finish(&mut self, phase: Phase, result: u8) {
        assert!(self.finished.last().is_none_or(|(last, _)| *last < phase), "{phase} in order, once");
        self.finished.push((phase, result));
    }

    fn act(&mut self, action: &Action, before: &Deployment, transition: &Transition) {
        match action {
            Action::RunPhase { worker, phase } => {
                assert_eq!(self.worker, Some(*worker), "a phase runs on the bound worker");
                assert!(phase.on_worker());
                assert!(
                    !before.shape.reuses_image || *phase == Phase::PreDeploy,
                    "{phase} ran for an image that is there"
                );
                self.pre_deploys += u8::from(*phase == Phase::PreDeploy);
            }
            Action::CancelPhase => assert!(self.worker.is_some()),
            Action::ReleaseWorker { worker } => {
                assert_eq!(self.worker.take(), Some(*worker), "released once, and only what was bound");
            }
            Action::CreateRelease => {
                assert_ne!(before.trigger, Trigger::Rollback, "a rollback makes no release");
                self.release = true;
            }
            Action::StartReplicas => {
                assert!(self.release, "replicas run a release");
                self.replicas = true;
            }
            Action::StopReplicas => {
                assert!(!self.made_live, "what is live is not stopped");
                self.replicas = false;
            }
            Action::MakeLive { generation } => {
                assert!(!self.made_live && self.replicas);
                assert!(*generation > before.route_generation);
                assert!(
                    before.live.as_ref().is_none_or(|live| live.sequence < before.sequence),
                    "an older one went live over a newer one"
                );
                self.made_live = true;
            }
            Action::SwitchRoutes => {
                assert!(self.made_live);
                assert_eq!(before.shape.kind, ServiceKind::Web);
                self.switched = true;
            }
            Action::BeginDrain | Action::StopFormerReplicas | Action::MarkSuperseded => assert!(self.made_live),
            Action::Diagnose { code } => {
                assert!(!std::mem::replace(&mut self.diagnosed, true), "one diagnosis");
                let failed = matches!(&transition.next, S::Failed { code: failed, .. } if failed == code);
                assert!(failed || transition.next.crashed() == Some(code));
                assert!(failed || before.trigger != Trigger::Rollback, "a rollback is not taken back");
            }
            Action::RemoveScratch => {}
        }
    }
}

fn rank(status: DeploymentStatus) -> u8 {
    match status {
        DeploymentStatus::Queued => 0,
        DeploymentStatus::Building => 1,
        DeploymentStatus::Deploying => 2,
        DeploymentStatus::Live => 3,
        DeploymentStatus::Failed | DeploymentStatus::Canceled | DeploymentStatus::Superseded => 4,
    }
}

fn check_step(before: &Deployment, event: &Event, transition: &Transition) {
    let (from, to) = (before.state.status(), transition.next.status());
    assert!(rank(to) >= rank(from), "status went back from {from} to {to} by {event:?}");
    if from.is_settled() && from != to {
        let to_be =
            if before.state.crashed().is_some() { DeploymentStatus::Failed } else { DeploymentStatus::Superseded };
        assert_eq!((from, to), (DeploymentStatus::Live, to_be), "{event:?}");
    }
    let until_live = matches!(
        before.state,
        S::Queued { .. } | S::Running { .. } | S::Resuming { .. } | S::Starting { .. } | S::Health { .. }
    );
    let ended = matches!(to, DeploymentStatus::Failed | DeploymentStatus::Canceled);
    let replaced = before.state.crashed().is_some() && matches!(event, Event::NewerLive { .. });
    assert!(!ended || until_live || replaced || from == to, "{event:?} ended what was live: {:?}", before.state);
    if ended || (until_live && to == DeploymentStatus::Superseded) {
        assert!(!transition.actions.iter().any(|a| matches!(a, Action::SwitchRoutes | Action::MakeLive { .. })));
    }
    if let S::Failed { .. } = &transition.next
        && from != to
    {
        let diagnoses = transition.actions.iter().filter(|a| matches!(a, Action::Diagnose { .. })).count();
        assert_eq!(diagnoses, usize::from(!replaced), "what crashed was diagnosed then");
    }
    if !transition.next.is_active() && !before.state.is_active() && transition.next == before.state {
        assert!(transition.actions.is_empty() && transition.phases.is_empty());
    }
}

fn check_world(deployment: &Deployment, world: &World) {
    let state = &deployment.state;
    assert_eq!(world.worker, state.worker(), "{state:?}");
    assert!(world.pre_deploys <= 1, "a migration ran twice");
    let logged = if matches!(state, S::Resuming { .. }) { None } else { state.phase() };
    assert_eq!(world.open_phase, logged, "the log has open what runs: {state:?}");
    match state {
        S::Failed { phase: Phase::Route, .. } => assert!(world.made_live && world.diagnosed),
        S::Failed { .. } => assert!(!world.replicas && !world.made_live && world.diagnosed),
        S::Canceled { .. } => assert!(!world.replicas && !world.made_live),
        S::Superseded { was_live, .. } => {
            assert_eq!(*was_live, world.made_live);
            assert!(*was_live || !world.replicas);
        }
        S::Draining { .. } | S::CleaningUp { .. } | S::Live { .. } => {
            assert!(world.made_live && world.replicas);
            assert_eq!(world.switched, deployment.shape.kind == ServiceKind::Web);
        }
        S::Routing { .. } => assert!(world.switched && deployment.shape.kind == ServiceKind::Web),
        S::Starting { .. } | S::Health { .. } => assert!(world.replicas && !world.made_live),
        S::Queued { .. } | S::Running { .. } | S::Resuming { .. } => assert!(!world.replicas && !world.release),
    }
}

#[test]
fn every_reachable_state_keeps_the_promises_under_every_event() {
    let events = events();
    let (mut steps, mut names) = (0u64, BTreeSet::new());
    for start in settings() {
        let mut world = World::new(start.trigger);
        world.apply(None, &start, &begin(NOW, start.trigger, &start.shape));
        let mut seen = HashSet::from([(start.state.clone(), world.clone())]);
        let mut open = VecDeque::from([(start, world)]);
        while let Some((deployment, world)) = open.pop_front() {
            check_world(&deployment, &world);
            names.insert(format!("{:?}", deployment.state).split([' ', '{']).next().unwrap().to_owned());
            for event in &events {
                steps += 1;
                let transition = step(NOW, &deployment, event);
                check_step(&deployment, event, &transition);
                let mut world = world.clone();
                world.apply(Some(event), &deployment, &transition);
                if seen.insert((transition.next.clone(), world.clone())) {
                    open.push_back((Deployment { state: transition.next, ..deployment.clone() }, world));
                }
            }
        }
    }
    assert_eq!(names.len(), 12, "every state is reached: {names:?}");
    assert!(steps > 50_000, "{steps}");
}

/// Any state at all, reachable or not: the pair is decided and a settled state stays.
#[test]
fn every_state_answers_every_event() {
    let mut states = vec![
        S::Queued { since: 0 },
        S::Starting { since: 0 },
        S::Health { since: 0 },
        S::Routing { since: 0, generation: 8, former: None, crashed: None },
        S::Routing { since: 0, generation: 8, former: Some(id("older")), crashed: Some("x".into()) },
        S::Draining { since: 0, former: id("older"), crashed: None },
        S::CleaningUp { since: 0, crashed: None },
        S::Live { since: 0, crashed: None },
        S::Live { since: 0, crashed: Some("x".into()) },
        S::Superseded { at: 0, by: 6, was_live: true },
        S::Canceled { at: 0, phase: None },
    ];
    for phase in Phase::ALL {
        states.push(S::Running { phase, worker: 1, since: 0, attempt: ATTEMPT, superseded_by: None });
        states.push(S::Running { phase, worker: 1, since: 0, attempt: ATTEMPT, superseded_by: Some(6) });
        states.push(S::Resuming { phase, since: 0 });
        states.push(S::Failed { at: 0, phase, code: "x".into() });
    }
    for mut deployment in settings() {
        for state in &states {
            deployment.state = state.clone();
            for event in events() {
                check_step(&deployment, &event, &step(NOW, &deployment, &event));
            }
        }
    }
}

fn walk(mut deployment: Deployment, events: &[Event]) -> (Deployment, Vec<Action>, Vec<PhaseChange>) {
    let (mut actions, mut phases) = (Vec::new(), Vec::new());
    for event in events {
        let transition = step(NOW, &deployment, event);
        deployment.state = transition.next;
        actions.extend(transition.actions);
        phases.extend(transition.phases);
    }
    (deployment, actions, phases)
}

fn deployment(kind: ServiceKind, trigger: Trigger, live: Option<(&str, u64)>) -> Deployment {
    let rollback_window = Some(DurationMs(1000));
    let shape = Shape { kind, install: true, pre_deploy: false, reuses_image: false, rollback_window };
    Deployment {
        deployment: id("this"),
        sequence: SEQUENCE,
        trigger,
        shape,
        live: live.map(|(name, sequence)| LiveDeployment { deployment: id(name), sequence }),
        version: ATTEMPT - 1,
        route_generation: 7,
        state: begin(NOW, trigger, &shape).next,
    }
}

fn done(phase: Phase) -> Event {
    Event::PhaseDone { phase, attempt: ATTEMPT, skipped: false }
}

#[test]
fn a_web_service_goes_through_all_ten_phases() {
    let (end, actions, phases) = walk(
        deployment(ServiceKind::Web, Trigger::Source, Some(("older", 3))),
        &[
            Event::WorkerClaimed { worker: 1 },
            done(Phase::Source),
            done(Phase::Environment),
            done(Phase::Install),
            Event::PhaseDone { phase: Phase::Build, attempt: ATTEMPT, skipped: true },
            Event::ReplicasStarted,
            Event::ReplicasReady,
            Event::Routed { generation: 8 },
            Event::Drained,
            Event::CleanedUp,
        ],
    );
    assert_eq!(end.state, S::Live { since: NOW, crashed: None });
    let ended: Vec<_> = phases
        .iter()
        .filter_map(|change| match change {
            PhaseChange::Started(_) => None,
            PhaseChange::Finished(phase, result) => Some((*phase, *result)),
            PhaseChange::Skipped(phase) => Some((*phase, PhaseResult::Skipped)),
        })
        .collect();
    let expected = Phase::ALL.map(|phase| match phase {
        Phase::Build | Phase::PreDeploy => (phase, PhaseResult::Skipped),
        other => (other, PhaseResult::Done),
    });
    assert_eq!(ended, expected);
    let after_build: Vec<_> = actions.into_iter().filter(|action| !matches!(action, Action::RunPhase { .. })).collect();
    assert_eq!(
        after_build,
        [
            Action::ReleaseWorker { worker: 1 },
            Action::CreateRelease,
            Action::StartReplicas,
            Action::MakeLive { generation: 8 },
            Action::SwitchRoutes,
            Action::MarkSuperseded,
            Action::BeginDrain,
            Action::StopFormerReplicas,
            Action::RemoveScratch,
        ]
    );
}

#[test]
fn a_worker_service_has_neither_health_nor_route() {
    let start = deployment(ServiceKind::Worker, Trigger::Rollback, Some(("older", 3)));
    let (end, actions, phases) = walk(start, &[Event::ReplicasStarted, Event::ReplicasReady]);
    assert_eq!(end.state.status(), DeploymentStatus::Live);
    assert!(
        phases.contains(&PhaseChange::Skipped(Phase::Health)) && phases.contains(&PhaseChange::Skipped(Phase::Route))
    );
    assert!(!actions.contains(&Action::SwitchRoutes));
    assert!(actions.contains(&Action::StopFormerReplicas));
}

#[test]
fn a_redeploy_that_reuses_its_image_runs_pre_deploy_and_nothing_before_it() {
    let mut start = deployment(ServiceKind::Web, Trigger::Redeploy, Some(("older", 3)));
    start.shape.reuses_image = true;
    let begun = begin(NOW, start.trigger, &start.shape);
    assert_eq!(begun.next, S::Starting { since: NOW }, "without a pre-deploy command no worker is waited for");
    assert_eq!(begun.actions, [Action::CreateRelease, Action::StartReplicas]);
    let skipped = Phase::ALL.into_iter().filter(|phase| phase.on_worker()).map(PhaseChange::Skipped);
    assert!(begun.phases.iter().copied().eq(skipped.chain([PhaseChange::Started(Phase::Start)])));

    start.shape.pre_deploy = true;
    start.state = begin(NOW, start.trigger, &start.shape).next;
    let (end, actions, _) = walk(start, &[Event::WorkerClaimed { worker: 1 }, done(Phase::PreDeploy)]);
    assert_eq!(end.state, S::Starting { since: NOW });
    assert_eq!(
        actions,
        [
            Action::RunPhase { worker: 1, phase: Phase::PreDeploy },
            Action::ReleaseWorker { worker: 1 },
            Action::CreateRelease,
            Action::StartReplicas,
        ]
    );
}

#[test]
fn an_older_one_that_becomes_ready_late_is_superseded() {
    let start = deployment(ServiceKind::Web, Trigger::Rollback, Some(("newer", 6)));
    let (end, actions, _) = walk(start, &[Event::ReplicasReady]);
    assert_eq!(end.state, S::Superseded { at: NOW, by: 6, was_live: false });
    assert_eq!(actions, [Action::StopReplicas]);
}

#[test]
fn a_migration_is_neither_run_twice_nor_broken_off_for_a_newer_deployment() {
    let mut start = deployment(ServiceKind::Web, Trigger::Source, None);
    start.state = S::Running { phase: Phase::PreDeploy, worker: 1, since: 0, attempt: ATTEMPT, superseded_by: None };
    let (end, _, _) = walk(start.clone(), &[Event::Restarted { scratch_kept: true }]);
    let S::Failed { code, phase, .. } = &end.state else { panic!("{:?}", end.state) };
    assert!(own_diagnosis(code, *phase).is_some_and(|diagnosis| diagnosis.code == "interrupted-pre-deploy"));

    let (lost, actions, _) = walk(start.clone(), &[Event::LeaseExpired { attempt: ATTEMPT }]);
    assert!(matches!(&lost.state, S::Failed { code, .. } if code == "interrupted-pre-deploy"), "{:?}", lost.state);
    assert_eq!(actions[..2], [Action::CancelPhase, Action::ReleaseWorker { worker: 1 }], "it may still run");

    let (waiting, actions, _) = walk(start, &[Event::NewerCreated { sequence: 6 }]);
    assert_eq!((waiting.state.status(), actions.len()), (DeploymentStatus::Building, 0));
    let (end, actions, _) = walk(waiting, &[done(Phase::PreDeploy)]);
    assert_eq!(end.state, S::Superseded { at: NOW, by: 6, was_live: false });
    assert_eq!(actions, [Action::ReleaseWorker { worker: 1 }]);
}

#[test]
fn what_comes_late_changes_nothing() {
    let mut start = deployment(ServiceKind::Web, Trigger::Source, None);
    start.state = S::Running { phase: Phase::Build, worker: 1, since: 0, attempt: ATTEMPT, superseded_by: None };
    let of_an_earlier_attempt = Event::PhaseDone { phase: Phase::Build, attempt: ATTEMPT - 1, skipped: false };
    let failed = Event::PhaseFailed { phase: Phase::Build, attempt: Some(ATTEMPT - 1), code: "build-failed".into() };
    let late = [of_an_earlier_attempt, failed, Event::LeaseExpired { attempt: ATTEMPT - 1 }];
    for event in late.into_iter().chain([
        done(Phase::Install),
        Event::ReplicasReady,
        Event::Routed { generation: 99 },
        Event::Drained,
    ]) {
        let transition = step(NOW, &start, &event);
        assert_eq!(transition, Transition { next: start.state.clone(), actions: Vec::new(), phases: Vec::new() });
    }
}
