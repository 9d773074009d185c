//! Plain lines on standard error, for a pipe or a file: nothing is drawn over, every log line is there.

use super::quantity::{bytes, duration};
use super::{Listener, Progress, Received, UploadFacts, diagnosis, phase};
use crate::failure::Failure;
use crate::output::{self, Palette, printable};
use slipway_types::api::{DeploymentEvent, DeploymentView};

#[derive(Debug)]
pub(crate) struct Plain;

impl Listener for Plain {
    fn event(&mut self, received: &Received) -> Result<(), Failure> {
        if let Some(line) = received.event.as_ref().and_then(line) {
            output::say(&line);
        }
        Ok(())
    }

    fn outcome(&mut self, event: &DeploymentEvent) -> Result<(), Failure> {
        diagnosis::outcome(event, Palette::of_stderr())
    }
}

impl Progress for Plain {
    fn uploading(&mut self, _: u64) {}

    fn uploaded(&mut self, facts: UploadFacts) {
        output::say(&format!("[upload] {} in {}", upload_text(facts), duration(facts.duration_ms)));
    }

    fn created(&mut self, deployment: &DeploymentView) {
        output::say(&format!("{}/{} {}", deployment.project, deployment.service, deployment.deployment));
        if deployment.joined {
            output::say(super::JOINED);
        }
    }

    fn note(&mut self, text: &str) {
        output::say(text);
    }

    fn close(&mut self) {}
}

pub(super) fn upload_text(facts: UploadFacts) -> String {
    let files = if facts.files == 1 { "1 file".to_owned() } else { format!("{} files", facts.files) };
    format!("{files}, {} ({} sent)", bytes(facts.bytes), bytes(facts.sent_bytes))
}

fn line(event: &DeploymentEvent) -> Option<String> {
    match event {
        DeploymentEvent::Waits { because, .. } => Some(format!("[queue] {}", printable(because))),
        DeploymentEvent::PhaseStarted { phase, .. } => Some(format!("[{phase}] started")),
        DeploymentEvent::Log { phase, line, .. } => Some(format!("[{phase}] {}", printable(line))),
        DeploymentEvent::PhaseFinished { phase, duration_ms, result, note, .. } => {
            let said = phase::said(*result, note.as_deref());
            let said = if said.is_empty() { "done".to_owned() } else { said };
            Some(format!("[{phase}] {said} in {}", duration(*duration_ms)))
        }
        _ => None,
    }
}
