//! What a deployment's log gets: its status, its phases with their times, the output of what runs, and its end. All of
//! it masked. A log that can't be written is reported and goes on: the deployment matters more.

use crate::log::mask::Masker;
use crate::log::segment::SegmentLog;
use slipway_types::agent::Stream;
use slipway_types::api::{DeploymentEvent, DeploymentView, PhaseResult};
use slipway_types::{DeploymentStatus, Phase, TimestampMs};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Lines of the app itself that its deployment's log gets while the app starts: enough to see why it does not, and
/// not the whole log of an app that talks a lot.
const START_LINES_MAX: u32 = 1000;

#[derive(Debug)]
pub(crate) struct Journal {
    log: Arc<SegmentLog>,
    pub(crate) masker: Masker,
    started_at: BTreeMap<Phase, TimestampMs>,
    status: Option<DeploymentStatus>,
    start_lines: u32,
}

impl Journal {
    pub(crate) fn new(log: Arc<SegmentLog>, masker: Masker, status: Option<DeploymentStatus>) -> Self {
        Self { log, masker, started_at: BTreeMap::new(), status, start_lines: 0 }
    }

    /// Only a change is written.
    pub(crate) fn status(&mut self, at: TimestampMs, status: DeploymentStatus) {
        if self.status != Some(status) {
            self.status = Some(status);
            self.write(&DeploymentEvent::Status { at, status });
        }
    }

    pub(crate) fn phase_started(&mut self, at: TimestampMs, phase: Phase) {
        self.started_at.insert(phase, at);
        self.write(&DeploymentEvent::PhaseStarted { at, phase });
    }

    pub(crate) fn phase_finished(&mut self, at: TimestampMs, phase: Phase, result: PhaseResult, note: Option<String>) {
        let since = self.started_at.remove(&phase).unwrap_or(at);
        let duration_ms = u64::try_from(at - since).unwrap_or(0);
        let note = note.map(|note| self.masker.mask(&note).into_owned());
        self.write(&DeploymentEvent::PhaseFinished { at, phase, duration_ms, result, note });
    }

    /// A line of a phase's output.
    pub(crate) fn line(&self, at: TimestampMs, phase: Phase, stream: Stream, line: &str) {
        let line = self.masker.mask(line).into_owned();
        self.write(&DeploymentEvent::Log { at, phase, stream, line });
    }

    /// A line of the app while it starts or is probed.
    pub(crate) fn start_line(&mut self, at: TimestampMs, phase: Phase, stream: Stream, line: &str) {
        if self.start_lines < START_LINES_MAX {
            self.start_lines += 1;
            self.line(at, phase, stream, line);
        }
    }

    /// The outcome: the last line that a follower gets.
    pub(crate) fn outcome(&self, event: &DeploymentEvent) {
        self.write(event);
    }

    fn write(&self, event: &DeploymentEvent) {
        let written =
            serde_json::to_string(event).map_err(std::io::Error::other).and_then(|line| self.log.append(&line));
        if let Err(error) = written {
            tracing::error!(%error, "could not write to a deployment's log");
        }
    }
}

/// The line that ends a stream of this deployment. None: its outcome is not known yet.
pub(crate) fn outcome_event(at: TimestampMs, view: DeploymentView) -> Option<DeploymentEvent> {
    let deployment = Box::new(view);
    match deployment.status {
        DeploymentStatus::Live => Some(DeploymentEvent::Deployed { at, deployment }),
        DeploymentStatus::Superseded | DeploymentStatus::Failed | DeploymentStatus::Canceled => {
            Some(DeploymentEvent::Failed { at, deployment })
        }
        DeploymentStatus::Queued | DeploymentStatus::Building | DeploymentStatus::Deploying => None,
    }
}
