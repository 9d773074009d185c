//! The phases and statuses of a deployment.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One step of the pipeline, in order of execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Fetch the commit or unpack the upload.
    Source,
    /// Base layer and toolchain at hand, plan made.
    Environment,
    /// Dependencies by lockfile; skipped on an exact key hit.
    Install,
    /// The build command.
    Build,
    /// The migration command, in the new image, once.
    PreDeploy,
    /// Replicas of the new release in fresh sandboxes.
    Start,
    /// Probed from the host, then stable for a window. Skipped for workers.
    Health,
    /// One atomic switch of the service's routes.
    Route,
    /// Old replicas finish what is in flight, then stop.
    Drain,
    /// Scratch removed.
    CleanUp,
}

impl Phase {
    pub const ALL: [Phase; 10] = [
        Phase::Source,
        Phase::Environment,
        Phase::Install,
        Phase::Build,
        Phase::PreDeploy,
        Phase::Start,
        Phase::Health,
        Phase::Route,
        Phase::Drain,
        Phase::CleanUp,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Source => "source",
            Phase::Environment => "environment",
            Phase::Install => "install",
            Phase::Build => "build",
            Phase::PreDeploy => "pre-deploy",
            Phase::Start => "start",
            Phase::Health => "health",
            Phase::Route => "route",
            Phase::Drain => "drain",
            Phase::CleanUp => "clean-up",
        }
    }

    /// The phase of that name, if there is one.
    pub fn parse(text: &str) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| phase.as_str() == text)
    }

    /// Whether the phase runs on a build worker (the first five do).
    pub fn on_worker(self) -> bool {
        self <= Phase::PreDeploy
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The public status of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStatus {
    /// Waits for a build worker.
    Queued,
    /// In one of the phases source to pre-deploy.
    Building,
    /// In one of the phases start to health; what was live still is.
    Deploying,
    /// Its release serves. Drain and clean-up of the former one may still run.
    Live,
    /// A newer deployment took its place, before or after it was live.
    Superseded,
    /// Ended with a diagnosis; what was live still is.
    Failed,
    /// Ended by a person; what was live still is.
    Canceled,
}

impl DeploymentStatus {
    pub const ALL: [DeploymentStatus; 7] = [
        DeploymentStatus::Queued,
        DeploymentStatus::Building,
        DeploymentStatus::Deploying,
        DeploymentStatus::Live,
        DeploymentStatus::Superseded,
        DeploymentStatus::Failed,
        DeploymentStatus::Canceled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            DeploymentStatus::Queued => "queued",
            DeploymentStatus::Building => "building",
            DeploymentStatus::Deploying => "deploying",
            DeploymentStatus::Live => "live",
            DeploymentStatus::Superseded => "superseded",
            DeploymentStatus::Failed => "failed",
            DeploymentStatus::Canceled => "canceled",
        }
    }

    pub fn parse(text: &str) -> Option<DeploymentStatus> {
        DeploymentStatus::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether the outcome that a person waits for is known.
    pub fn is_settled(self) -> bool {
        !matches!(self, DeploymentStatus::Queued | DeploymentStatus::Building | DeploymentStatus::Deploying)
    }
}

impl fmt::Display for DeploymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a deployment begins from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A source is given: every phase runs.
    Source,
    /// The source of the newest deployment is built again.
    Redeploy,
    /// An existing release is made live again: begins at the start phase, builds nothing.
    Rollback,
}

impl Trigger {
    pub fn as_str(self) -> &'static str {
        match self {
            Trigger::Source => "source",
            Trigger::Redeploy => "redeploy",
            Trigger::Rollback => "rollback",
        }
    }

    pub fn parse(text: &str) -> Option<Trigger> {
        [Trigger::Source, Trigger::Redeploy, Trigger::Rollback].into_iter().find(|trigger| trigger.as_str() == text)
    }

    /// Whether phases source to pre-deploy run.
    pub fn builds(self) -> bool {
        self != Trigger::Rollback
    }
}
