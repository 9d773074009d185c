//! The phases of a deployment that run on a build worker, and what they share.

mod archive;
mod build;
pub(crate) mod command;
mod environment;
mod ignore;
mod install;
mod older;
mod pre_deploy;
mod room;
mod site;
mod source;
mod tier;

use crate::hold::Hold;
use crate::host::Host;
use crate::line::Tail;
use crate::process::LineSink;
use slipway_layers::LayerError;
use slipway_types::agent::Stream;
use slipway_types::cache::layers_of;
use slipway_types::host::{
    Evidence, HostError, HostReport, LimitFacts, PhaseOutcome, PhaseOutput, PhaseSpec, PhaseWork,
};
use slipway_types::settings::ResourceLimits;
use slipway_types::{DeploymentId, Phase};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Why a phase has no output.
#[derive(Debug)]
pub(crate) enum PhaseEnd {
    Failed(Box<Evidence>),
    Canceled,
    /// There is nothing to deploy.
    Ignored,
}

impl PhaseEnd {
    /// The host could not do its part.
    fn host_error(code: &str, message: impl Into<String>) -> Self {
        let error = HostError { code: code.to_owned(), message: message.into() };
        PhaseEnd::Failed(Box::new(Evidence { host_error: Some(error), ..Evidence::default() }))
    }
}

impl From<LayerError> for PhaseEnd {
    fn from(error: LayerError) -> Self {
        let code = if matches!(error, LayerError::DiskFull { .. }) { "disk-full" } else { "layer-failed" };
        PhaseEnd::host_error(code, with_causes(&error))
    }
}

/// An error with the errors behind it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The output of one phase: to control as it comes, and its end kept for the evidence.
#[derive(Debug)]
pub(crate) struct PhaseLog {
    reports: mpsc::Sender<HostReport>,
    deployment: DeploymentId,
    attempt: u64,
    phase: Phase,
    tail: Mutex<Tail>,
}

impl PhaseLog {
    async fn say(&self, line: impl Into<String>) {
        self.line(Stream::Stdout, line.into()).await;
    }

    fn tail(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).to_lines()
    }
}

impl LineSink for PhaseLog {
    async fn line(&self, stream: Stream, line: String) {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).push(line.clone());
        let (deployment, attempt, phase) = (self.deployment.clone(), self.attempt, self.phase);
        // Waits while control is slow. Control gone: the phase ends by the host's shutdown, not here.
        let _ = self.reports.send(HostReport::Log { deployment, attempt, phase, stream, line }).await;
    }
}

/// What a phase works with.
#[derive(Debug)]
pub(crate) struct PhaseContext<'h> {
    host: &'h Arc<Host>,
    spec: &'h PhaseSpec,
    /// Of the deployment; on the disk of the layers.
    scratch: PathBuf,
    log: PhaseLog,
    cancel: CancellationToken,
    hold: Arc<Hold>,
}

/// Runs one phase to its end, whatever that is.
pub(crate) async fn run(
    host: &Arc<Host>,
    spec: &PhaseSpec,
    reports: &mpsc::Sender<HostReport>,
    cancel: CancellationToken,
    hold: &Arc<Hold>,
) -> PhaseOutcome {
    let log = PhaseLog {
        reports: reports.clone(),
        deployment: spec.deployment.clone(),
        attempt: spec.attempt,
        phase: spec.work.phase(),
        tail: Mutex::default(),
    };
    let context =
        PhaseContext { host, spec, scratch: host.scratch(&spec.deployment), log, cancel, hold: Arc::clone(hold) };
    match Box::pin(context.work()).await {
        Ok(output) => PhaseOutcome::Done(output),
        Err(PhaseEnd::Canceled) => PhaseOutcome::Canceled,
        Err(PhaseEnd::Ignored) => PhaseOutcome::Ignored,
        Err(PhaseEnd::Failed(_)) if context.cancel.is_cancelled() => PhaseOutcome::Canceled,
        Err(PhaseEnd::Failed(evidence)) => PhaseOutcome::Failed(Box::new(context.complete(*evidence))),
    }
}

impl PhaseContext<'_> {
    async fn work(&self) -> Result<PhaseOutput, PhaseEnd> {
        let made = tokio::fs::create_dir_all(&self.scratch).await;
        made.map_err(|error| self.disk_error("make the directory", &self.scratch, &error))?;
        // What it makes for itself must stay from its first moment.
        self.hold(&layers_of(&self.spec.deployment).collect::<Vec<_>>()).await;
        match &self.spec.work {
            PhaseWork::Source { source, wanted } => {
                self.check_room().await?;
                self.source(source, wanted).await
            }
            PhaseWork::Environment { toolchains, package_manager, ignore } => {
                let environment = self.environment(toolchains, package_manager.as_ref()).await?;
                if let Some(ignore) = ignore {
                    self.ignore(ignore, &environment).await?;
                }
                Ok(environment)
            }
            PhaseWork::Install(command) => self.install(command).await,
            PhaseWork::Build { command, site } => self.build(command, site.as_ref()).await,
            PhaseWork::PreDeploy { image, command, env, limits, timeout } => {
                self.pre_deploy(image, command, env, *limits, *timeout).await
            }
        }
    }

    /// Adds what holds for every failure.
    fn complete(&self, mut evidence: Evidence) -> Evidence {
        evidence.phase = Some(self.log.phase);
        if evidence.tail.is_empty() {
            evidence.tail = self.log.tail();
        }
        match &self.spec.work {
            PhaseWork::Install(spec) | PhaseWork::Build { command: spec, .. } => {
                evidence.command = Some(spec.command.clone());
                evidence.limits = Some(limit_facts(&spec.limits));
            }
            PhaseWork::PreDeploy { command, limits, .. } => {
                evidence.command = Some(command.clone());
                evidence.limits = Some(limit_facts(limits));
            }
            PhaseWork::Source { .. } | PhaseWork::Environment { .. } => {}
        }
        evidence
    }

    fn disk_error(&self, action: &str, path: &std::path::Path, error: &std::io::Error) -> PhaseEnd {
        let full = error.kind() == std::io::ErrorKind::StorageFull;
        let code = if full { "disk-full" } else { "layer-failed" };
        PhaseEnd::host_error(code, format!("cannot {action} `{}`: {error}", path.display()))
    }
}

pub(crate) fn limit_facts(limits: &ResourceLimits) -> LimitFacts {
    LimitFacts { memory_bytes: limits.memory.0, disk_bytes: limits.disk.0 }
}
