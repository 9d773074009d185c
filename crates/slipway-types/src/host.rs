//! What control and a host say to each other.
//!
//! Replicas are desired state: the whole set with a generation. Build work is pulled: an idle worker claims, control
//! answers with phases of one deployment until it releases the worker.

use crate::agent::{ListeningSocket, Stream};
use crate::cache::{CacheInventory, Retention, SweepEnded, SweepOrder};
use crate::image::{Image, LayerRef};
use crate::log::{ReplicaLines, RunReport};
use crate::plan::{PackageManager, Toolchain};
use crate::route::Endpoint;
use crate::settings::{DurationMs, HealthSettings, ReloadMode, ResourceLimits};
use crate::site::{SiteFacts, SitePlan};
use crate::source::{Lineage, SourceFacts, SourceSpec};
use crate::{DeploymentId, Phase, ProjectName, ReplicaId, RunId, Secret, ServiceId, ServiceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Environment variables; the values may be secret.
pub type Env = BTreeMap<String, Secret>;

/// Last lines of a task's output that an [`Evidence`] carries.
pub const EVIDENCE_LINES_MAX: usize = 200;
/// A worker that is bound says so often that it lives.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// A longer line of a log is cut here, in bytes.
pub const LOG_LINE_BYTES_MAX: usize = 16 * 1024;

/// Control to host.
#[derive(Debug, Clone)]
pub enum HostCommand {
    /// Runs one phase; the worker is bound to the deployment until it is released. The same phase of the same
    /// deployment may be asked for twice: the second time it starts afresh from the outputs of the phase before.
    RunPhase { worker: u32, spec: Box<PhaseSpec> },
    /// Ends whatever phase of the deployment runs, in whichever attempt; it reports [`PhaseOutcome::Canceled`]. Unknown: no answer.
    CancelPhase { deployment: DeploymentId },
    /// The worker has nothing more to do for its deployment: its scratch is removed and it claims again.
    ReleaseWorker { worker: u32, deployment: DeploymentId },
    /// The whole desired state. An older generation than the last one is ignored.
    Replicas(ReplicaSet),
    /// The answer to [`HostReport::RetentionWanted`]. One to an older question is ignored.
    Retain(Retention),
    /// Lines of the run are written, up to this [`ReplicaLines::through`]: whoever holds them may forget them.
    LinesTaken { replica: ReplicaId, run: RunId, through: u64 },
    /// Removes what nothing needs. The host asks what is needed first, and answers with [`HostReport::Swept`].
    Sweep { sweep: String, order: SweepOrder },
}

/// All replicas that a host should have. One that is not named is stopped with its own grace time.
#[derive(Debug, Clone, Default)]
pub struct ReplicaSet {
    pub generation: u64,
    pub replicas: Vec<ReplicaSpec>,
}

#[derive(Debug, Clone)]
pub struct ReplicaSpec {
    pub replica: ReplicaId,
    pub deployment: DeploymentId,
    pub service_id: ServiceId,
    pub project: ProjectName,
    pub service: ServiceName,
    pub image: Image,
    /// The owner's run-time variables and secrets; the host adds `PORT` and `HOST`.
    pub env: Env,
    /// Of these variables. Others may come while the replica runs; what becomes of them says `reload`.
    pub env_revision: u64,
    /// With `restart` other variables count from the next start of its app.
    pub reload: ReloadMode,
    pub port: u16,
    pub limits: ResourceLimits,
    /// None: a worker; it is ready when it has stayed alive for the stable window.
    pub health: Option<HealthSettings>,
    pub stable_window: DurationMs,
    pub stop_grace: DurationMs,
    /// Its deployment is past the switch of routes: a failed start is tried again and ends nothing.
    pub served: bool,
    /// It is to sleep: nothing of it runs, and a later set wakes it. How is the host's business; now its sandbox is stopped
    /// with the grace time, and a fresh one boots at the wake.
    pub asleep: bool,
}

/// One phase for a build worker.
#[derive(Debug, Clone)]
pub struct PhaseSpec {
    pub deployment: DeploymentId,
    /// The fencing token, which each report about the phase carries: what comes under an earlier one is refused.
    pub attempt: u64,
    pub service_id: ServiceId,
    pub project: ProjectName,
    pub service: ServiceName,
    /// Whose dependencies and caches it begins from. Before the source phase has ended nothing asks for it.
    pub lineage: Lineage,
    pub work: PhaseWork,
}

#[derive(Debug, Clone)]
pub enum PhaseWork {
    Source {
        source: SourceSpec,
        /// Names of files (the last part of a path) whose text detection wants.
        wanted: Vec<String>,
    },
    Environment {
        /// As in the plan.
        toolchains: Vec<Toolchain>,
        package_manager: Option<PackageManager>,
        /// Run on the source once the environment is there; its layers and directories of `PATH` are that one's. When
        /// it ends with 0 the phase ends as [`PhaseOutcome::Ignored`].
        ignore: Option<Box<CommandSpec>>,
    },
    Install(CommandSpec),
    Build {
        command: CommandSpec,
        /// What is published of the result, when it is a site.
        site: Option<SitePlan>,
    },
    PreDeploy {
        image: Image,
        command: String,
        env: Env,
        limits: ResourceLimits,
        timeout: DurationMs,
    },
}

impl PhaseWork {
    pub fn phase(&self) -> Phase {
        match self {
            PhaseWork::Source { .. } => Phase::Source,
            PhaseWork::Environment { .. } => Phase::Environment,
            PhaseWork::Install(_) => Phase::Install,
            PhaseWork::Build { .. } => Phase::Build,
            PhaseWork::PreDeploy { .. } => Phase::PreDeploy,
        }
    }
}

/// An install or build command with what it runs on.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// Lowest first: base, toolchain; for the build also dependencies.
    pub layers: Vec<LayerRef>,
    pub command: String,
    /// Relative to the source tree.
    pub cwd: String,
    pub env: Env,
    /// Directories that go in front of `PATH`.
    pub path: Vec<String>,
    /// Relative to the source tree: whose contents decide the key (install only).
    pub key_files: Vec<String>,
    /// More words that decide the key: package manager and version, runtime version (install only).
    pub key_words: Vec<String>,
    /// Relative to `cwd`: kept between builds of the service, never part of the result (build only).
    pub cache_dirs: Vec<String>,
    /// Whether the dependencies of an earlier deployment are of use (install only).
    pub on_older_tree: OnOlderTree,
    pub limits: ResourceLimits,
    pub timeout: DurationMs,
}

/// How an install goes on from what an earlier one has written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnOlderTree {
    /// It begins from nothing; why, for the log.
    Never { why: String },
    /// With this command; the result is what the command on an empty tree gives.
    Run { command: String },
}

/// Host to control.
#[derive(Debug, Clone)]
pub enum HostReport {
    /// A worker has nothing to do and asks for a deployment.
    Claim {
        worker: u32,
    },
    /// The worker is bound to the deployment, and lives. Every [`HEARTBEAT_INTERVAL`]; a line of a log says as much.
    Heartbeat {
        worker: u32,
        deployment: DeploymentId,
        attempt: u64,
    },
    Log {
        deployment: DeploymentId,
        attempt: u64,
        phase: Phase,
        stream: Stream,
        line: String,
    },
    PhaseFinished {
        deployment: DeploymentId,
        attempt: u64,
        phase: Phase,
        outcome: PhaseOutcome,
    },
    Replica {
        replica: ReplicaId,
        state: ReplicaState,
    },
    /// What a replica wrote; answered by [`HostCommand::LinesTaken`] once it is written.
    ReplicaLines(Box<ReplicaLines>),
    /// In the place among its lines where it happened.
    Run(Box<RunReport>),
    /// A replica that is told of other variables while it runs has those, and runs on; or why it could not be told.
    ValuesTaken {
        replica: ReplicaId,
        revision: u64,
        trouble: Option<String>,
    },
    /// What must stay? Asked before each sweep.
    RetentionWanted {
        request: u64,
    },
    Swept(SweepEnded),
    /// What there is now; after each sweep.
    Inventory(Box<CacheInventory>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum PhaseOutcome {
    Done(PhaseOutput),
    /// The user's input or command failed, or the host could not do its part; the evidence says which.
    Failed(Box<Evidence>),
    Canceled,
    /// The service's own ignore command says that there is nothing to deploy.
    Ignored,
}

impl PhaseOutcome {
    pub fn as_str(&self) -> &'static str {
        match self {
            PhaseOutcome::Done(_) => "done",
            PhaseOutcome::Failed(_) => "failed",
            PhaseOutcome::Canceled => "canceled",
            PhaseOutcome::Ignored => "ignored",
        }
    }
}

/// What a phase hands to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum PhaseOutput {
    Source(SourceFacts),
    Environment {
        /// Lowest first: base and toolchain layers.
        layers: Vec<LayerRef>,
        /// Exact versions, in the order of the plan.
        runtime_versions: Vec<String>,
        package_manager_version: Option<String>,
        /// Directories of the toolchain that go in front of `PATH`.
        path: Vec<String>,
    },
    Install {
        layer: LayerRef,
        /// The layer was there: no command ran.
        reused: bool,
    },
    Build {
        /// The source layer and, when a command ran, the output layer above it; of a site its one layer.
        layers: Vec<LayerRef>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        site: Option<SiteFacts>,
    },
    PreDeploy,
}

/// What is known about a failure. Facts for a diagnosis, in the words of nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub phase: Option<Phase>,
    /// The command as its owner knows it, such as `npm run build`.
    pub command: Option<String>,
    pub exit: Option<ExitFacts>,
    pub timed_out_after: Option<u64>,
    /// The writable layer was full when the command ended.
    pub disk_full: bool,
    pub limits: Option<LimitFacts>,
    /// Newest output, oldest line first.
    pub tail: Vec<String>,
    /// What the host itself could not do: stable code and message.
    pub host_error: Option<HostError>,
    pub health: Option<HealthFacts>,
    /// Of a replica that was ready and ended, or is being ended: when it starts again.
    #[serde(default)]
    pub restart: Option<Restart>,
    /// Its process was sent SIGUSR1, because its variables had changed.
    #[serde(default)]
    pub was_signaled: bool,
}

/// What a host does about a replica that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// How often it ended since it last ran well; at least 1.
    pub crashes: u32,
    /// Until its next start.
    pub pause_ms: u64,
}

/// A replica that ended so often without having run well in between is in a crash loop.
pub const CRASH_LOOP_FROM: u32 = 3;

impl Restart {
    pub fn is_crash_loop(self) -> bool {
        self.crashes >= CRASH_LOOP_FROM
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitFacts {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The kernel killed a process of the sandbox for memory, as the host's cgroup counted it.
    pub out_of_memory: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitFacts {
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

/// Stable codes: `git-unreachable`, `git-reference-missing`, `git-authentication`, `git-failed`, `upload-missing`,
/// `upload-unusable`, `toolchain-unavailable`, `version-unavailable`, `sandbox-failed`, `layer-failed`, `disk-full`,
/// `disk-nearly-full`, `release-gone`, `driver-changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostError {
    pub code: String,
    pub message: String,
}

/// Why a replica did not become ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthFacts {
    pub port: u16,
    pub path: Option<String>,
    pub last_probe: Option<ProbeResult>,
    /// What the agent saw the app listen on.
    pub listening: Vec<ListeningSocket>,
    pub waited_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "probe")]
pub enum ProbeResult {
    Healthy,
    /// Nothing accepts on the port at the sandbox's address.
    Refused,
    /// No answer within the probe's timeout.
    TimedOut,
    /// An HTTP status outside 200 to 399.
    Status {
        status: u16,
    },
    /// The connection broke or what came was not HTTP.
    Broken {
        message: String,
    },
}

/// Where a replica is in its life. Each state names all that is guaranteed in it.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplicaState {
    /// Its app's process runs in its sandbox and has not yet answered.
    Starting,
    /// Healthy and stable: it may get traffic here.
    Ready { at: Endpoint },
    /// It was ready and is not. With [`Evidence::restart`] it has ended, or is being ended, and is started again; without, it
    /// runs and fails its probes.
    Unready { evidence: Box<Evidence> },
    /// It never became ready; its sandbox is gone.
    Failed { evidence: Box<Evidence> },
    /// Stopped because the set does not name it any more or wants it asleep; its sandbox is gone.
    Stopped,
}

impl ReplicaState {
    pub fn as_str(&self) -> &'static str {
        match self {
            ReplicaState::Starting => "starting",
            ReplicaState::Ready { .. } => "ready",
            ReplicaState::Unready { .. } => "unready",
            ReplicaState::Failed { .. } => "failed",
            ReplicaState::Stopped => "stopped",
        }
    }
}
