//! What a decision asks for.

use crate::DeploymentState;
use slipway_types::Phase;
use slipway_types::api::PhaseResult;

/// The answer of [`crate::step`]. An event that does not fit gives the same state, no actions and no phases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub next: DeploymentState,
    /// In this order.
    pub actions: Vec<Action>,
    /// In this order.
    pub phases: Vec<PhaseChange>,
}

/// Something to do. Each may be asked for twice (after a restart), so each is an `ensure`.
///
/// `MakeLive`, `MarkSuperseded` and `Diagnose` are done by the store, in the transaction of the state change. The
/// others are done after it, by whoever called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    RunPhase {
        worker: u32,
        phase: Phase,
    },
    /// Ends what the worker runs; its answer is not waited for.
    CancelPhase,
    ReleaseWorker {
        worker: u32,
    },
    /// Image and configuration become a numbered release.
    CreateRelease,
    StartReplicas,
    /// Of this deployment; it will not be live.
    StopReplicas,
    /// The service's live pointer names this deployment, and the route table has this generation.
    MakeLive {
        generation: u64,
    },
    /// The edge is given the route table. Web services only.
    SwitchRoutes,
    /// Replicas of all other deployments of the service get no new request; [`crate::Event::Drained`] when none is in
    /// flight.
    BeginDrain,
    /// Replicas of all other deployments of the service are stopped, with their grace time.
    StopFormerReplicas,
    /// Every older deployment of the service that is live or not settled hears [`crate::Event::NewerLive`].
    MarkSuperseded,
    /// The deployment's diagnosis is the one of this code.
    Diagnose {
        code: String,
    },
    /// [`crate::Event::CleanedUp`] when done.
    RemoveScratch,
}

impl Action {
    /// Whether the store does it in the transaction of the state change.
    pub fn in_transaction(&self) -> bool {
        matches!(self, Action::MakeLive { .. } | Action::MarkSuperseded | Action::Diagnose { .. })
    }
}

/// What the phase log gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseChange {
    /// Also when it starts again: its earlier start is forgotten.
    Started(Phase),
    Finished(Phase, PhaseResult),
    /// It had nothing to do: started and finished now.
    Skipped(Phase),
}
