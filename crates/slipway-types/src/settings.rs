//! How a service is built and run, as its owner wants it.
//!
//! Three places say it: `slipway.toml` in the source, `slipway service set`, and the defaults here, in this order
//! of precedence. The first two are a [`SettingsPatch`] each; [`ServiceSettings`] is the result.

mod patch;
mod quantity;
mod run;

pub use patch::{
    BuildPatch, HealthPatch, LimitsPatch, LivenessPatch, Manifest, SettingsError, SettingsPatch, SitePatch, SleepPatch,
};
pub use quantity::{ByteSize, DurationMs, QuantityError};
pub use run::{ReloadMode, RunPatch};

use serde::{Deserialize, Serialize};

/// What kind of thing a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceKind {
    /// Answers HTTP on `PORT`; has health checks and routes.
    Web,
    /// Runs without a port: health is skipped and there is no route.
    Worker,
    /// Files without a process, served by the edge.
    Static,
}

impl ServiceKind {
    /// Whether host names lead to it.
    pub fn is_routed(self) -> bool {
        self != ServiceKind::Worker
    }
}

/// The probe that decides whether a replica may get traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSettings {
    /// Path that must answer 2xx or 3xx. None: the port must accept a connection.
    pub path: Option<String>,
    /// Between two probes of one replica.
    pub interval: DurationMs,
    /// For one probe's whole answer.
    pub timeout: DurationMs,
    /// From the start of a replica until its first healthy answer.
    pub start_timeout: DurationMs,
    /// A replica stays healthy and alive for this long before it gets traffic.
    pub stable_window: DurationMs,
    /// Between two probes of a replica that is ready.
    #[serde(default = "watch_interval")]
    pub watch_interval: DurationMs,
    /// A release that crashes within this time after it went live is taken back. Zero: it is not.
    #[serde(default = "rollback_window")]
    pub rollback_window: DurationMs,
    #[serde(default)]
    pub liveness: LivenessSettings,
}

/// Slow, because an exit is noticed at once anyway.
fn watch_interval() -> DurationMs {
    DurationMs::seconds(10)
}

/// What a release lacks shows with the first requests.
fn rollback_window() -> DurationMs {
    DurationMs::seconds(30)
}

/// The probe that decides whether a replica that was ready is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LivenessSettings {
    /// Path that must answer 2xx or 3xx. None: any answer will do, and it is asked for only of a replica that is not ready.
    pub path: Option<String>,
    pub interval: DurationMs,
    /// For one probe's whole answer.
    pub timeout: DurationMs,
    /// In a row, before it is restarted. 0: it never is.
    pub failures: u32,
}

impl Default for LivenessSettings {
    /// A minute without a sign of life: a restart breaks off whatever it does.
    fn default() -> Self {
        let seconds = DurationMs::seconds(10);
        Self { path: None, interval: seconds, timeout: seconds, failures: 3 }
    }
}

/// Hard limits of one sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ResourceLimits {
    pub memory: ByteSize,
    /// Cores; 0.5 is half of one.
    pub cpus: f64,
    pub processes_max: u32,
    /// Of the writable layer.
    pub disk: ByteSize,
}

/// Everything about a service that is decided before a plan is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServiceSettings {
    pub kind: ServiceKind,
    /// Directory of the service in the source tree, relative; empty is the tree itself.
    pub root: String,
    /// None: the plan's detection decides. An empty command means "none".
    pub install_command: Option<String>,
    pub build_command: Option<String>,
    pub start_command: Option<String>,
    pub pre_deploy_command: Option<String>,
    /// Version range of Node.js that overrides what the source asks for.
    pub node_version: Option<String>,
    /// Version range of Python that overrides what the source asks for.
    pub python_version: Option<String>,
    /// Shell command, run on the source of a commit before it is installed: when it ends with 0, there is nothing to
    /// deploy. An empty command means "none".
    pub ignore_command: Option<String>,
    /// Removes what only the build needs from the image's dependencies.
    pub prune: bool,
    /// Names of variables that the build needs: it does not begin without them. Naming one gives nothing.
    #[serde(default)]
    pub build_variables: Vec<String>,
    /// Directory that is published without a process, relative to the root. None: the plan's detection decides.
    pub site_directory: Option<String>,
    /// File that answers for paths that are no file. None: the plan's detection decides; empty: none.
    pub site_fallback: Option<String>,
    /// The port that the app is told by `PORT` and probed at.
    pub port: u16,
    /// 1 to 32.
    pub replicas: u32,
    /// From SIGTERM to SIGKILL.
    pub stop_grace: DurationMs,
    /// How changed variables reach what runs.
    #[serde(default)]
    pub reload: ReloadMode,
    /// A web service with a process sleeps when it had no request for that long. None: it never does.
    #[serde(default)]
    pub sleep_after: Option<DurationMs>,
    /// For one build, install included.
    pub build_timeout: DurationMs,
    pub pre_deploy_timeout: DurationMs,
    pub health: HealthSettings,
    pub run: ResourceLimits,
    pub build: ResourceLimits,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            kind: ServiceKind::Web,
            root: String::new(),
            install_command: None,
            build_command: None,
            start_command: None,
            pre_deploy_command: None,
            node_version: None,
            python_version: None,
            ignore_command: None,
            prune: false,
            build_variables: Vec::new(),
            site_directory: None,
            site_fallback: None,
            port: 3000,
            replicas: 1,
            stop_grace: DurationMs::seconds(30),
            reload: ReloadMode::Restart,
            sleep_after: None,
            build_timeout: DurationMs::seconds(20 * 60),
            pre_deploy_timeout: DurationMs::seconds(5 * 60),
            health: HealthSettings {
                path: None,
                interval: DurationMs(250),
                timeout: DurationMs::seconds(5),
                start_timeout: DurationMs::seconds(60),
                stable_window: DurationMs::seconds(1),
                watch_interval: watch_interval(),
                rollback_window: rollback_window(),
                liveness: LivenessSettings::default(),
            },
            run: ResourceLimits {
                memory: ByteSize::mebibytes(512),
                cpus: 1.0,
                processes_max: 512,
                disk: ByteSize::mebibytes(1024),
            },
            build: ResourceLimits {
                memory: ByteSize::mebibytes(4096),
                cpus: 2.0,
                processes_max: 2048,
                disk: ByteSize::mebibytes(8 * 1024),
            },
        }
    }
}

/// Largest number of replicas of one service.
pub const REPLICAS_MAX: u32 = 32;
