//! The deployment machine: one `match` over state and event, without a wildcard, so that a new state or event does not
//! compile until every pair is decided.
//!
//! ```text
//!   Queued ──WorkerClaimed──► Running{source … pre-deploy}   PhaseDone: the next phase; after the last ─┐
//!                                │              ▲                                                       │
//!      Restarted, LeaseExpired, WorkerClaimed                                                           │
//!                  MemoryWanted │              │                                                        │
//!                                ▼              │                                                       │
//!                                Resuming{phase}                                                        │
//!                                                                                                       │
//!   a rollback begins here ──► Starting ◄───────────────────────────────────────────────────────────────┘
//!                                │   └──ReplicasStarted (web)──► Health
//!                          ReplicasReady                    ReplicasReady       a newer one is live: Superseded
//!   ═════════════════════════════╪══════════════════════════════╪══ point of no return: the live pointer moves ══
//!             worker: no route   │              web             ▼
//!                                │ ◄──Routed, nothing before── Routing
//!                                │                              │ Routed
//!                                ▼                              ▼
//!                            CleaningUp ◄──Drained, TimedOut── Draining (when something was live before)
//!                                │ CleanedUp
//!                                ▼
//!                              Live ──NewerLive──► Superseded
//!
//!   after it: ReplicaCrashed within the window only marks the state; NewerLive then leads to Failed, not Superseded.
//!   before the point of no return:  PhaseFailed, ReplicaFailed, TimedOut → Failed    CancelRequested → Canceled
//!                                   NewerCreated, NewerLive → Superseded (a running pre-deploy ends first)
//! ```
//!
//! A deployment that reuses an image has source to build skipped before it begins: a worker claims it for pre-deploy, and
//! without a pre-deploy command it begins at Starting.
//!
//! Restarted asks again for what the state wants, except for a running pre-deploy: whether its migration ran is not
//! known, so it fails with `interrupted-pre-deploy` rather than run twice. So it is when a worker's lease expires. What a
//! worker says counts under the number of the present attempt only.

use crate::own_diagnosis::{INTERRUPTED_PRE_DEPLOY, PHASE_TIMED_OUT, START_TIMED_OUT};
use crate::way::At;
use crate::{Action, Deployment, DeploymentState as S, Event as E, PhaseChange, Shape, Transition};
use slipway_types::api::PhaseResult;
use slipway_types::{Phase, TimestampMs, Trigger};

/// The first state of a deployment.
pub fn begin(now: TimestampMs, trigger: Trigger, shape: &Shape) -> Transition {
    let starting = |actions, phases| Transition { next: S::Starting { since: now }, actions, phases };
    if !trigger.builds() {
        return starting(vec![Action::StartReplicas], vec![PhaseChange::Started(Phase::Start)]);
    }
    let skipped = |last: Phase| Phase::ALL.into_iter().filter(move |phase| *phase <= last).map(PhaseChange::Skipped);
    if shape.reuses_image && !shape.pre_deploy {
        let phases = skipped(Phase::PreDeploy).chain([PhaseChange::Started(Phase::Start)]).collect();
        return starting(vec![Action::CreateRelease, Action::StartReplicas], phases);
    }
    let phases = if shape.reuses_image { skipped(Phase::Build).collect() } else { Vec::new() };
    Transition { next: S::Queued { since: now }, actions: Vec::new(), phases }
}

/// What becomes of a deployment when something happens.
#[allow(clippy::too_many_lines, reason = "one arm per decision; splitting the table would hide pairs")]
pub fn step(now: TimestampMs, deployment: &Deployment, event: &E) -> Transition {
    let at = At { now, deployment };
    match (&deployment.state, event) {
        // A worker takes it.
        (S::Queued { .. }, E::WorkerClaimed { worker }) => at.run(at.first(), *worker),
        (S::Resuming { phase, .. }, E::WorkerClaimed { worker }) => at.run(*phase, *worker),

        // A phase on the worker ends.
        (
            S::Running { phase, worker, superseded_by: None, attempt, .. },
            E::PhaseDone { phase: done, attempt: of, skipped },
        ) if phase == done && attempt == of => at.after_worker_phase(*phase, *worker, *skipped),
        (
            S::Running { phase, worker, superseded_by: Some(by), attempt, .. },
            E::PhaseDone { phase: done, attempt: of, .. },
        ) if phase == done && attempt == of => {
            at.superseded(*by, PhaseResult::Done, vec![Action::ReleaseWorker { worker: *worker }])
        }
        (
            S::Running { phase, worker, superseded_by, attempt, .. },
            E::PhaseFailed { phase: failed, attempt: of, code },
        ) if phase == failed && of.is_none_or(|of| of == *attempt) => {
            let actions = vec![Action::ReleaseWorker { worker: *worker }];
            match superseded_by {
                None => at.failed(code, actions),
                Some(by) => at.superseded(*by, PhaseResult::Failed, actions),
            }
        }
        (S::Running { phase, worker, superseded_by, .. }, E::TimedOut { phase: late }) if phase == late => {
            match superseded_by {
                None => at.failed(PHASE_TIMED_OUT, stop_worker(*worker)),
                Some(by) => at.superseded(*by, PhaseResult::Failed, stop_worker(*worker)),
            }
        }

        // Its worker goes on with another deployment meanwhile: what waits must hold nothing that others wait for.
        (S::Running { phase: Phase::Source, worker, attempt, .. }, E::MemoryWanted { attempt: of })
            if attempt == of =>
        {
            Transition { actions: vec![Action::ReleaseWorker { worker: *worker }], ..at.resuming(Phase::Source) }
        }

        // Nothing is heard of the worker. It is told to stop all the same: it may only be slow.
        (S::Running { phase, worker, superseded_by, attempt, .. }, E::LeaseExpired { attempt: of })
            if attempt == of =>
        {
            let stop = stop_worker(*worker);
            match (phase, superseded_by) {
                (_, Some(by)) => at.superseded(*by, PhaseResult::Failed, stop),
                (Phase::PreDeploy, None) => at.failed(INTERRUPTED_PRE_DEPLOY, stop),
                (_, None) => Transition { actions: stop, ..at.resuming(Phase::Source) },
            }
        }

        // The replicas come up, or don't.
        (S::Starting { .. }, E::ReplicasStarted) if deployment.shape.kind.is_routed() => at.probing(),
        (S::Starting { .. } | S::Health { .. }, E::ReplicasReady) => at.ready(),
        (S::Starting { .. } | S::Health { .. }, E::ReplicaFailed { code }) => {
            at.failed(code, vec![Action::StopReplicas])
        }
        (S::Starting { .. } | S::Health { .. }, E::PhaseFailed { phase, code, .. })
            if deployment.state.phase() == Some(*phase) =>
        {
            at.failed(code, vec![Action::StopReplicas])
        }
        (S::Starting { .. } | S::Health { .. }, E::TimedOut { phase }) if deployment.state.phase() == Some(*phase) => {
            at.failed(START_TIMED_OUT, vec![Action::StopReplicas])
        }

        // Live, then what is left behind.
        (S::Routing { generation, former, .. }, E::Routed { generation: applied }) if applied >= generation => {
            at.routed(former.as_ref())
        }
        (S::Routing { .. }, E::TimedOut { phase: Phase::Route }) => at.again(vec![Action::SwitchRoutes]),
        (S::Draining { .. }, E::Drained | E::TimedOut { phase: Phase::Drain }) => at.drained(),
        (S::CleaningUp { .. }, E::CleanedUp) => at.cleaned_up(),
        (S::CleaningUp { .. }, E::TimedOut { phase: Phase::CleanUp }) => at.again(vec![Action::RemoveScratch]),

        // A person ends it; too late once the live pointer has moved.
        (S::Queued { .. }, E::CancelRequested) => at.canceled(Vec::new()),
        (S::Running { worker, .. }, E::CancelRequested) => at.canceled(stop_worker(*worker)),
        (S::Resuming { .. }, E::CancelRequested) => at.canceled(vec![Action::RemoveScratch]),
        (S::Starting { .. } | S::Health { .. }, E::CancelRequested) => at.canceled(vec![Action::StopReplicas]),

        // A newer one takes its place.
        (S::Queued { .. }, E::NewerCreated { sequence } | E::NewerLive { sequence }) if at.older_than(*sequence) => {
            at.superseded(*sequence, PhaseResult::Canceled, Vec::new())
        }
        (
            S::Running { phase: Phase::PreDeploy, worker, since, attempt, superseded_by: None },
            E::NewerCreated { sequence } | E::NewerLive { sequence },
        ) if at.older_than(*sequence) => at.becomes(S::Running {
            phase: Phase::PreDeploy,
            worker: *worker,
            since: *since,
            attempt: *attempt,
            superseded_by: Some(*sequence),
        }),
        (S::Running { phase, worker, .. }, E::NewerCreated { sequence } | E::NewerLive { sequence })
            if at.older_than(*sequence) && *phase != Phase::PreDeploy =>
        {
            at.superseded(*sequence, PhaseResult::Canceled, stop_worker(*worker))
        }
        (S::Resuming { .. }, E::NewerCreated { sequence } | E::NewerLive { sequence }) if at.older_than(*sequence) => {
            at.superseded(*sequence, PhaseResult::Canceled, vec![Action::RemoveScratch])
        }
        (S::Starting { .. } | S::Health { .. }, E::NewerCreated { sequence } | E::NewerLive { sequence })
            if at.older_than(*sequence) =>
        {
            at.superseded(*sequence, PhaseResult::Canceled, vec![Action::StopReplicas])
        }
        (S::Routing { .. } | S::Draining { .. } | S::CleaningUp { .. }, E::NewerLive { sequence })
            if at.older_than(*sequence) =>
        {
            at.superseded(*sequence, PhaseResult::Canceled, vec![Action::RemoveScratch])
        }
        (S::Live { .. }, E::NewerLive { sequence }) if at.older_than(*sequence) => {
            at.superseded(*sequence, PhaseResult::Done, Vec::new())
        }

        // It crashes soon after it went live: what was live before is brought back by a newer deployment.
        (
            S::Routing { crashed: None, .. }
            | S::Draining { crashed: None, .. }
            | S::CleaningUp { crashed: None, .. }
            | S::Live { crashed: None, .. },
            E::ReplicaCrashed { code },
        ) if at.in_rollback_window() => at.crashes(code),

        // The server came back.
        (S::Running { phase: Phase::PreDeploy, superseded_by: None, .. }, E::Restarted { .. }) => {
            at.failed(INTERRUPTED_PRE_DEPLOY, vec![Action::RemoveScratch])
        }
        (S::Running { superseded_by: Some(by), .. }, E::Restarted { .. }) => {
            at.superseded(*by, PhaseResult::Failed, vec![Action::RemoveScratch])
        }
        (S::Running { phase, .. } | S::Resuming { phase, .. }, E::Restarted { scratch_kept }) => {
            at.resuming(if *scratch_kept { *phase } else { Phase::Source })
        }
        (S::Starting { .. }, E::Restarted { .. }) if deployment.trigger.builds() => Transition {
            actions: vec![Action::CreateRelease, Action::StartReplicas],
            ..at.becomes(S::Starting { since: now })
        },
        // The time that the server was away is not the replicas': their deadline begins anew.
        (S::Starting { .. }, E::Restarted { .. }) => {
            Transition { actions: vec![Action::StartReplicas], ..at.becomes(S::Starting { since: now }) }
        }
        (S::Health { .. }, E::Restarted { .. }) => {
            Transition { actions: vec![Action::StartReplicas], ..at.becomes(S::Health { since: now }) }
        }
        (S::Routing { .. }, E::Restarted { .. }) => at.again(vec![Action::SwitchRoutes]),
        (S::Draining { .. }, E::Restarted { .. }) => at.again(vec![Action::BeginDrain]),
        (S::CleaningUp { .. }, E::Restarted { .. }) => at.again(vec![Action::RemoveScratch]),

        // Late, double, or for another phase.
        (
            S::Queued { .. } | S::Resuming { .. },
            E::PhaseDone { .. }
            | E::PhaseFailed { .. }
            | E::MemoryWanted { .. }
            | E::LeaseExpired { .. }
            | E::ReplicasStarted
            | E::ReplicasReady
            | E::ReplicaFailed { .. }
            | E::ReplicaCrashed { .. }
            | E::Routed { .. }
            | E::Drained
            | E::CleanedUp
            | E::TimedOut { .. }
            | E::NewerCreated { .. }
            | E::NewerLive { .. },
        )
        | (S::Queued { .. }, E::Restarted { .. })
        | (
            S::Running { .. },
            E::WorkerClaimed { .. }
            | E::PhaseDone { .. }
            | E::PhaseFailed { .. }
            | E::MemoryWanted { .. }
            | E::LeaseExpired { .. }
            | E::ReplicasStarted
            | E::ReplicasReady
            | E::ReplicaFailed { .. }
            | E::ReplicaCrashed { .. }
            | E::Routed { .. }
            | E::Drained
            | E::CleanedUp
            | E::TimedOut { .. }
            | E::NewerCreated { .. }
            | E::NewerLive { .. },
        )
        | (
            S::Starting { .. } | S::Health { .. },
            E::WorkerClaimed { .. }
            | E::PhaseDone { .. }
            | E::PhaseFailed { .. }
            | E::MemoryWanted { .. }
            | E::LeaseExpired { .. }
            | E::ReplicasStarted
            | E::ReplicaCrashed { .. }
            | E::Routed { .. }
            | E::Drained
            | E::CleanedUp
            | E::TimedOut { .. }
            | E::NewerCreated { .. }
            | E::NewerLive { .. },
        )
        | (
            S::Routing { .. } | S::Draining { .. } | S::CleaningUp { .. },
            E::WorkerClaimed { .. }
            | E::PhaseDone { .. }
            | E::PhaseFailed { .. }
            | E::MemoryWanted { .. }
            | E::LeaseExpired { .. }
            | E::ReplicasStarted
            | E::ReplicasReady
            | E::ReplicaFailed { .. }
            | E::ReplicaCrashed { .. }
            | E::Routed { .. }
            | E::TimedOut { .. }
            | E::CancelRequested
            | E::NewerCreated { .. }
            | E::NewerLive { .. },
        )
        | (S::Routing { .. } | S::CleaningUp { .. }, E::Drained)
        | (S::Routing { .. } | S::Draining { .. }, E::CleanedUp)
        | (
            S::Live { .. },
            E::WorkerClaimed { .. }
            | E::PhaseDone { .. }
            | E::PhaseFailed { .. }
            | E::MemoryWanted { .. }
            | E::LeaseExpired { .. }
            | E::ReplicasStarted
            | E::ReplicasReady
            | E::ReplicaFailed { .. }
            | E::ReplicaCrashed { .. }
            | E::Routed { .. }
            | E::Drained
            | E::CleanedUp
            | E::TimedOut { .. }
            | E::CancelRequested
            | E::NewerCreated { .. }
            | E::NewerLive { .. }
            | E::Restarted { .. },
        )
        | (
            S::Superseded { .. } | S::Failed { .. } | S::Canceled { .. },
            E::WorkerClaimed { .. }
            | E::PhaseDone { .. }
            | E::PhaseFailed { .. }
            | E::MemoryWanted { .. }
            | E::LeaseExpired { .. }
            | E::ReplicasStarted
            | E::ReplicasReady
            | E::ReplicaFailed { .. }
            | E::ReplicaCrashed { .. }
            | E::Routed { .. }
            | E::Drained
            | E::CleanedUp
            | E::TimedOut { .. }
            | E::CancelRequested
            | E::NewerCreated { .. }
            | E::NewerLive { .. }
            | E::Restarted { .. },
        ) => at.again(Vec::new()),
    }
}

fn stop_worker(worker: u32) -> Vec<Action> {
    vec![Action::CancelPhase, Action::ReleaseWorker { worker }]
}
