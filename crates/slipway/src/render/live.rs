//! A terminal: the phase that runs has one line with a spinner, its time and the newest line of its log, drawn over
//! again and again; finished phases stay above it. When the deployment fails, the end of the log stays too.

use super::plain::upload_text;
use super::quantity::{bytes, duration};
use super::{Listener, Progress, Received, UploadFacts, diagnosis, phase};
use crate::failure::Failure;
use crate::output::{self, Palette, printable};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use slipway_types::Phase;
use slipway_types::api::{DeploymentEvent, DeploymentView, PhaseResult};
use std::collections::VecDeque;
use std::time::Duration;

/// Fast enough to look alive, slow enough to cost nothing.
const TICK: Duration = Duration::from_millis(100);
/// Lines of the failed phase's log that stay on the screen.
const TAIL_LINES_MAX: usize = 20;

pub(crate) struct Live {
    palette: Palette,
    style: ProgressStyle,
    bar: Option<ProgressBar>,
    running: Option<Phase>,
    tail: VecDeque<String>,
}

impl Live {
    pub(crate) fn new() -> Self {
        let template = "{spinner} {prefix} {took} {wide_msg}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let took = |state: &indicatif::ProgressState, target: &mut dyn std::fmt::Write| {
            // Tenths of a second also below one: milliseconds would only flicker.
            let ms = u64::try_from(state.elapsed().as_millis()).unwrap_or(u64::MAX);
            let text = if ms < 1000 { format!("0.{}s", ms / 100) } else { duration(ms) };
            let _ = write!(target, " {text:>width$} ", width = phase::TIME_COLUMNS);
        };
        let style = style.tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "]).with_key("took", took);
        Self { palette: Palette::of_stderr(), style, bar: None, running: None, tail: VecDeque::new() }
    }

    fn start(&mut self, name: &str) {
        self.close();
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(self.style.clone());
        bar.set_prefix(format!("{name:<width$}", width = phase::NAME_COLUMNS));
        bar.enable_steady_tick(TICK);
        self.bar = Some(bar);
    }

    fn show(&self, text: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        }
    }

    fn log(&mut self, phase: Phase, line: &str) {
        let line = printable(line);
        if self.running == Some(phase) {
            self.show(self.palette.dim(&line));
        }
        if self.tail.len() == TAIL_LINES_MAX {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    fn finish(&mut self, line: &str, result: PhaseResult) {
        self.close();
        output::say(line);
        if result == PhaseResult::Failed {
            for line in &self.tail {
                output::say(&self.palette.dim(&format!("  │ {line}")));
            }
        }
        self.tail.clear();
    }
}

impl Listener for Live {
    fn event(&mut self, received: &Received) -> Result<(), Failure> {
        match &received.event {
            Some(DeploymentEvent::Waits { because, .. }) => self.show(printable(because)),
            Some(DeploymentEvent::PhaseStarted { phase, .. }) => {
                self.tail.clear();
                self.running = Some(*phase);
                self.start(phase.as_str());
            }
            Some(DeploymentEvent::Log { phase, line, .. }) => self.log(*phase, line),
            Some(DeploymentEvent::PhaseFinished { phase, duration_ms, result, note, .. }) => {
                self.running = None;
                let line = phase::finished(*phase, *duration_ms, *result, note.as_deref(), self.palette);
                self.finish(&line, *result);
            }
            _ => {}
        }
        Ok(())
    }

    fn outcome(&mut self, event: &DeploymentEvent) -> Result<(), Failure> {
        self.close();
        diagnosis::outcome(event, self.palette)
    }
}

impl Progress for Live {
    fn uploading(&mut self, sent_bytes: u64) {
        if self.bar.is_none() {
            self.start("upload");
        }
        self.show(bytes(sent_bytes));
    }

    fn uploaded(&mut self, facts: UploadFacts) {
        self.close();
        let mark = self.palette.green("✓");
        output::say(&phase::line(&mark, "upload", &duration(facts.duration_ms), &upload_text(facts), self.palette));
    }

    fn created(&mut self, deployment: &DeploymentView) {
        self.close();
        let service = self.palette.bold(&format!("{}/{}", deployment.project, deployment.service));
        output::say(&format!("{service} {}", self.palette.dim(deployment.deployment.as_str())));
        if deployment.joined {
            output::say(super::JOINED);
        }
        self.start("queued");
    }

    fn note(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| output::say(text)),
            None => output::say(text),
        }
    }

    fn close(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
