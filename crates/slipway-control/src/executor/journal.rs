//! What a deployment's log gets: its status, its phases with their times, the output of what runs, and its end. All of
//! it masked. A log that can't be written is reported and goes on: the deployment matters more.

use crate::log::mask::Masker;
use crate::log::segment::SegmentLog;
use slipway_types::agent::Stream;
use slipway_types::api::{DeploymentEvent, DeploymentView};
use slipway_types::{DeploymentStatus, Phase, TimestampMs};
use std::sync::Arc;

/// Lines of the app itself that its deployment's log gets while the app starts: enough to see why it does not, and
/// not the whole log of an app that talks a lot.
const START_LINES_MAX: u32 = 1000;

#[derive(Debug)]
pub(crate) struct Journal {
    log: Arc<SegmentLog>,
    /// The outcome is in it.
    pub(crate) ended: bool,
    start_lines: u32,
}

impl Journal {
    pub(crate) fn new(log: Arc<SegmentLog>, ended: bool) -> Self {
        Self { log, ended, start_lines: 0 }
    }

    /// A line of a phase's output.
    pub(crate) fn line(&self, at: TimestampMs, phase: Phase, stream: Stream, line: &str, masker: &Masker) {
        let line = masker.mask(line).into_owned();
        self.write(&DeploymentEvent::Log { at, phase, stream, line });
    }

    /// A line of the app while it starts or is probed, masked already.
    pub(crate) fn start_line(&mut self, at: TimestampMs, phase: Phase, stream: Stream, line: String) {
        if self.start_lines < START_LINES_MAX {
            self.start_lines += 1;
            self.write(&DeploymentEvent::Log { at, phase, stream, line });
        }
    }

    pub(crate) fn write(&self, event: &DeploymentEvent) {
        let written = serde_json::to_string(event).map_err(std::io::Error::other).and_then(|line| {
            if let DeploymentEvent::PhaseStarted { .. } = event {
                self.log.begin_chapter()?;
            }
            self.log.append(&line)
        });
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
