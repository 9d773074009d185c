//! Bodies of the HTTP API under `/v1`, and the events of a deployment's stream.

use crate::agent::Stream;
use crate::host::ExitFacts;
use crate::settings::{ServiceKind, SettingsPatch};
use crate::source::SourceSpec;
use crate::{
    DeploymentId, DeploymentStatus, Diagnosis, Phase, ProjectName, ReplicaId, RunId, ServiceName, TimestampMs, Trigger,
    UploadId,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Largest upload in bytes, compressed; the server may be set lower.
pub const UPLOAD_BYTES_MAX: u64 = 512 << 20;
/// Largest answer of a listing.
pub const LIMIT_MAX: u32 = 1000;

/// `GET /v1/server`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerView {
    pub version: String,
    pub domain: String,
    /// Port of the edge's listener.
    pub edge_port: u16,
    /// The driver that boots sandboxes: `oci`.
    pub driver: String,
}

/// `POST /v1/uploads` (body: gzip-compressed tar)
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadView {
    pub upload: UploadId,
    pub files: u64,
    /// Unpacked.
    pub bytes: u64,
}

/// `POST /v1/projects/{project}/services/{service}/deployments`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeployParams {
    pub source: SourceSpec,
    /// Text of the source's `slipway.toml` is read by the server from the source itself, not from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Begins a deployment also when one of the same source waits or runs, with the same settings and variables. Otherwise that
    /// one is the answer, with `joined`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
}

/// `POST /v1/projects/{project}/services/{service}/redeploy`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeployParams {
    /// Builds also when nothing that the build reads has changed.
    #[serde(default)]
    pub rebuild: bool,
}

/// `GET /v1/projects/{project}/services/{service}/redeploy`: what a redeploy would do now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedeployView {
    pub rebuilds: bool,
    /// One sentence.
    pub because: String,
}

/// `POST /v1/projects/{project}/services/{service}/rollback`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackParams {
    /// Release number; none: the one that was live before.
    #[serde(default)]
    pub release: Option<u32>,
}

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentView {
    pub deployment: DeploymentId,
    pub project: ProjectName,
    pub service: ServiceName,
    pub trigger: Trigger,
    pub status: DeploymentStatus,
    /// The phase that runs or ran last.
    pub phase: Option<Phase>,
    /// Release number, once there is one.
    pub release: Option<u32>,
    /// Upload digest or commit.
    pub source: String,
    /// The service's address, for a web service.
    pub url: Option<String>,
    /// The deployment's own immutable address.
    pub deployment_url: Option<String>,
    pub created_at: TimestampMs,
    pub finished_at: Option<TimestampMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<Diagnosis>,
    /// While it waits for a build worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitView>,
    /// It is an answer to somebody who wanted the same: no other deployment was made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined: bool,
}

/// Where a deployment stands in the build queue, and why it waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitView {
    /// The next one is number 1.
    pub position: u32,
    /// Deployments that wait.
    pub of: u32,
    /// Such as `waits for memory: 2 builds hold 4 GB of 6 GB, and it needs 3 GB`.
    pub because: String,
}

/// One service and what is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    pub project: ProjectName,
    pub service: ServiceName,
    pub kind: ServiceKind,
    pub url: Option<String>,
    pub live: Option<DeploymentView>,
    /// The newest deployment, when it is not the live one.
    pub newest: Option<DeploymentView>,
    pub replicas_wanted: u32,
    pub replicas: Vec<ReplicaView>,
    /// Of what is live, when that may sleep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sleep: Option<SleepView>,
    /// Nothing of it runs, because its owner said so.
    #[serde(default)]
    pub stopped: bool,
    /// The last restart of what is live, since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartView>,
    /// The last time that what is live was told of other variables while it ran, since the server started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload: Option<ReloadView>,
}

/// How many replicas have taken other variables while they run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadView {
    pub taken: u32,
    pub of: u32,
    /// Why one of them has not. It was restarted, or is about to be, and starts with the new values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl ReloadView {
    pub fn is_over(&self) -> bool {
        self.failed.is_some() || self.taken >= self.of
    }
}

/// How far a restart is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartView {
    pub replaced: u32,
    pub of: u32,
    /// Why it was given up: a new replica did not become ready, and the old ones stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Box<Diagnosis>>,
}

impl RestartView {
    pub fn is_over(&self) -> bool {
        self.failed.is_some() || self.replaced >= self.of
    }
}

/// `POST /v1/projects/{project}/services/{service}/scale`; `restart`, `stop` and `start` have an empty body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScaleParams {
    pub replicas: u32,
}

/// Whether what is live sleeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum SleepView {
    Awake,
    /// Nothing of it runs; the next request wakes it.
    Asleep,
    Waking,
    /// Its last wake failed. It is not asleep: its start is tried again.
    WakeFailed {
        diagnosis: Box<Diagnosis>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaView {
    pub replica: ReplicaId,
    pub deployment: DeploymentId,
    /// `starting`, `ready`, `unready` (it fails its probes), `restarting` (it ended), `crash-looping` (again and again), `draining`
    pub state: String,
    pub since: TimestampMs,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<ReplicaTrouble>,
}

/// What became of a replica that had been ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaTrouble {
    /// Of the diagnosis.
    pub code: String,
    pub what: String,
    /// How its process ended, if it did by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitFacts>,
    /// How often it ended since it last ran well.
    pub crashes: u32,
    /// When it starts again. None: it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_at: Option<TimestampMs>,
}

/// A past event of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// Grows with each event of the server.
    #[serde(default)]
    pub id: u64,
    pub at: TimestampMs,
    pub project: ProjectName,
    pub service: ServiceName,
    pub deployment: Option<DeploymentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaId>,
    /// Which life of the replica; what `slipway logs --restart` takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Past tense, kebab-case: `deployment-created`, `phase-finished`, `deployment-live`, `replica-exited`, …
    pub kind: String,
    pub message: String,
}

/// `GET`, `PUT /v1/projects/{project}/services/{service}/settings`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SettingsView {
    pub settings: SettingsPatch,
}

/// `PATCH /v1/projects/{project}/services/{service}/env`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvParams {
    #[serde(default)]
    pub set: BTreeMap<String, EnvValue>,
    #[serde(default)]
    pub unset: Vec<String>,
}

/// `POST /v1/projects/{project}/services/{service}/env/apply`: brings the newest variables to what is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvApplyView {
    /// Names of those that are other than those that what is live had, in order.
    pub variables: Vec<String>,
    #[serde(flatten)]
    pub action: EnvAction,
    /// A deployment that began before the change and has not ended: it comes with the former values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<DeploymentId>,
}

/// What the change of variables leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum EnvAction {
    /// Nothing runs that they would change; one sentence says why.
    Nothing { because: String },
    /// They count from the next start on: what is live is stopped, or asleep.
    NextStart { release: u32 },
    /// Replicas are replaced one by one: `restart` of the service's view says how far that is.
    Restarting { release: u32, replicas: u32 },
    /// Replicas are told while they run: `reload` of the service's view.
    Reloading { release: u32, replicas: u32 },
    /// Only a build makes them count; nothing was done.
    NeedsBuild { because: String },
}

/// A variable as it is sent. A secret's value is never answered again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvValue {
    pub value: crate::Secret,
    #[serde(default)]
    pub secret: bool,
    /// Given to install and build commands. Variables with a public prefix that are no secrets always are.
    #[serde(default)]
    pub build: bool,
    /// Given to the running app and the pre-deploy command.
    #[serde(default = "given")]
    pub run: bool,
}

fn given() -> bool {
    true
}

/// A variable as it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnvView {
    pub name: String,
    /// None for a secret.
    pub value: Option<String>,
    pub secret: bool,
    pub build: bool,
    pub run: bool,
    pub updated_at: TimestampMs,
}

/// `GET /v1/deployments/{deployment}/events?follow=true`: one JSON object a line, past events first.
/// With `follow` the stream ends after `Deployed` or `Failed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum DeploymentEvent {
    Status {
        at: TimestampMs,
        status: DeploymentStatus,
    },
    /// No worker can take it yet.
    Waits {
        at: TimestampMs,
        because: String,
    },
    PhaseStarted {
        at: TimestampMs,
        phase: Phase,
    },
    Log {
        at: TimestampMs,
        phase: Phase,
        stream: Stream,
        line: String,
    },
    PhaseFinished {
        at: TimestampMs,
        phase: Phase,
        duration_ms: u64,
        result: PhaseResult,
        /// One sentence, such as `dependencies unchanged, 0 commands run`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// The last event of a deployment that went live.
    Deployed {
        at: TimestampMs,
        deployment: Box<DeploymentView>,
    },
    /// The last event of one that failed, was canceled or superseded before it was live.
    Failed {
        at: TimestampMs,
        deployment: Box<DeploymentView>,
    },
    /// The last line of `--detach`; made by the CLI.
    Deploying {
        at: TimestampMs,
        deployment: Box<DeploymentView>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhaseResult {
    Done,
    Skipped,
    Failed,
    Canceled,
}
