//! What is stored of a deployment's progress, and the facts that a decision about it needs.

use serde::{Deserialize, Serialize};
use slipway_types::plan::Plan;
use slipway_types::settings::{DurationMs, ServiceKind, ServiceSettings};
use slipway_types::{DeploymentId, DeploymentStatus, Phase, TimestampMs, Trigger};

/// A deployment as a decision sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    pub deployment: DeploymentId,
    /// Order of creation within the service. A rollback gets a new one, like every deployment.
    pub sequence: u64,
    pub trigger: Trigger,
    pub shape: Shape,
    /// Changes of its state so far. An attempt has the number of the change that begins it.
    pub version: u64,
    /// What the service's live pointer names now.
    pub live: Option<LiveDeployment>,
    /// The newest generation of the route table that was given out.
    pub route_generation: u64,
    pub state: DeploymentState,
}

/// Whom a service's live pointer names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveDeployment {
    pub deployment: DeploymentId,
    pub sequence: u64,
}

/// Which optional phases a deployment has. Known once there is a plan, so from the end of the source phase on.
///
/// The build phase is not optional: without a build command it still publishes the source, and ends as skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub kind: ServiceKind,
    pub install: bool,
    pub pre_deploy: bool,
    /// Its image is that of an earlier deployment: source to build are skipped.
    #[serde(default)]
    pub reuses_image: bool,
    /// For so long after it went live a crash takes it back. None of a rollback: that would go back to what it was to mend.
    #[serde(default)]
    pub rollback_window: Option<DurationMs>,
}

impl Shape {
    pub fn of(plan: &Plan, settings: &ServiceSettings) -> Self {
        // An empty command means "none".
        let pre_deploy = settings.pre_deploy_command.as_deref().is_some_and(|command| !command.trim().is_empty());
        Self {
            kind: plan.kind,
            install: plan.install.is_some(),
            pre_deploy,
            reuses_image: false,
            rollback_window: Some(settings.health.rollback_window).filter(|window| window.0 > 0),
        }
    }

    /// Of a deployment whose image is there.
    pub fn reusing(plan: &Plan, settings: &ServiceSettings) -> Self {
        Self { reuses_image: true, ..Self::of(plan, settings) }
    }

    /// Before there is a plan, and for a rollback, which needs none.
    pub fn unplanned(kind: ServiceKind) -> Self {
        Self { kind, install: true, pre_deploy: false, reuses_image: false, rollback_window: None }
    }
}

/// Where a deployment is. Each state names all that is guaranteed in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DeploymentState {
    /// Nothing was done; waits for a worker.
    Queued { since: TimestampMs },
    /// `worker` is bound to the deployment and runs `phase`, one of source to pre-deploy.
    Running {
        phase: Phase,
        worker: u32,
        since: TimestampMs,
        /// The fencing token: what is said under another number is not about this. Grows with each phase that is given out.
        #[serde(default)]
        attempt: u64,
        /// Pre-deploy only: a newer deployment exists. A migration is not broken off for that; it ends first.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        superseded_by: Option<u64>,
    },
    /// The worker was lost; `phase` runs again as soon as another one claims. Never pre-deploy.
    Resuming { phase: Phase, since: TimestampMs },
    /// The release exists; no worker is bound; replicas are wanted.
    Starting { since: TimestampMs },
    /// The replicas run and are probed. Web services only.
    Health { since: TimestampMs },
    /// The live pointer names this deployment; the edge has not yet said that it routes by `generation`.
    Routing {
        since: TimestampMs,
        generation: u64,
        former: Option<DeploymentId>,
        /// The diagnosis's code, once a replica of it crashed within its window. What was live before is being brought back,
        /// and with that this one fails.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crashed: Option<String>,
    },
    /// Live. Replicas of every other deployment of the service finish what is in flight.
    Draining {
        since: TimestampMs,
        former: DeploymentId,
        /// As above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crashed: Option<String>,
    },
    /// Live. Nothing else of the service runs; scratch is being removed.
    CleaningUp {
        since: TimestampMs,
        /// As above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crashed: Option<String>,
    },
    /// Live, nothing left to do.
    Live {
        since: TimestampMs,
        /// As above.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        crashed: Option<String>,
    },
    /// A newer deployment took its place. Not live, no worker bound; replicas, if any, are drained by the newer one.
    Superseded { at: TimestampMs, by: u64, was_live: bool },
    /// Ended before it was live; what was live still is. No worker, no replicas. Or it crashed soon after it went live; a
    /// newer one took its place, which drains its replicas.
    Failed { at: TimestampMs, phase: Phase, code: String },
    /// Ended by a person before it was live. No worker, no replicas. No phase: it had not begun.
    Canceled { at: TimestampMs, phase: Option<Phase> },
}

impl DeploymentState {
    /// What people see.
    pub fn status(&self) -> DeploymentStatus {
        match self {
            Self::Queued { .. } => DeploymentStatus::Queued,
            Self::Running { .. } | Self::Resuming { .. } => DeploymentStatus::Building,
            Self::Starting { .. } | Self::Health { .. } | Self::Routing { .. } => DeploymentStatus::Deploying,
            Self::Draining { .. } | Self::CleaningUp { .. } | Self::Live { .. } => DeploymentStatus::Live,
            Self::Superseded { .. } => DeploymentStatus::Superseded,
            Self::Failed { .. } => DeploymentStatus::Failed,
            Self::Canceled { .. } => DeploymentStatus::Canceled,
        }
    }

    /// The phase that runs now.
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Running { phase, .. } | Self::Resuming { phase, .. } => Some(*phase),
            Self::Starting { .. } => Some(Phase::Start),
            Self::Health { .. } => Some(Phase::Health),
            Self::Routing { .. } => Some(Phase::Route),
            Self::Draining { .. } => Some(Phase::Drain),
            Self::CleaningUp { .. } => Some(Phase::CleanUp),
            Self::Queued { .. }
            | Self::Live { .. }
            | Self::Superseded { .. }
            | Self::Failed { .. }
            | Self::Canceled { .. } => None,
        }
    }

    /// Whether something is still to be done: what a server that comes back looks at.
    pub fn is_active(&self) -> bool {
        matches!(self, Self::Queued { .. }) || self.phase().is_some()
    }

    /// Whether replicas of the deployment are wanted for its own sake (a draining former one aside).
    pub fn wants_replicas(&self) -> bool {
        matches!(self, Self::Starting { .. } | Self::Health { .. } | Self::Routing { .. })
            || self.status() == DeploymentStatus::Live
    }

    /// Whether a worker that claims may be given this deployment.
    pub fn waits_for_worker(&self) -> bool {
        matches!(self, Self::Queued { .. } | Self::Resuming { .. })
    }

    /// The code of the diagnosis, when it went live and crashed soon after.
    pub fn crashed(&self) -> Option<&str> {
        match self {
            Self::Routing { crashed, .. }
            | Self::Draining { crashed, .. }
            | Self::CleaningUp { crashed, .. }
            | Self::Live { crashed, .. } => crashed.as_deref(),
            _ => None,
        }
    }

    /// The number of the attempt that a worker makes now.
    pub fn attempt(&self) -> Option<u64> {
        match self {
            Self::Running { attempt, .. } => Some(*attempt),
            _ => None,
        }
    }

    /// The worker that is bound to the deployment.
    pub fn worker(&self) -> Option<u32> {
        match self {
            Self::Running { worker, .. } => Some(*worker),
            _ => None,
        }
    }
}
