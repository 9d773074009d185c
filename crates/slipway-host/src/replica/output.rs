//! What a replica's sandbox says: its log, its sockets, its end.

use crate::line::{LineSplitter, Tail};
use slipway_sandbox::{Events, Sandbox, SandboxEvent};
use slipway_types::TimestampMs;
use slipway_types::agent::{ListeningSocket, Stream};
use slipway_types::host::{ExitFacts, HostReport, ReplicaSpec};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};

/// What is known of a sandbox at any moment.
#[derive(Debug)]
pub(super) struct Observed {
    said: Mutex<(Tail, Vec<ListeningSocket>)>,
    /// The agent's last answer: of which revision, and the trouble with it.
    values_written: watch::Sender<(Option<u64>, Option<String>)>,
    /// The app was told of other variables.
    was_signaled: AtomicBool,
}

impl Observed {
    pub(super) fn new(listening: &[ListeningSocket]) -> Self {
        let said = Mutex::new((Tail::default(), listening.to_vec()));
        Self { said, values_written: watch::Sender::new((None, None)), was_signaled: AtomicBool::new(false) }
    }

    pub(super) fn tail(&self) -> Vec<String> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).0.to_lines()
    }

    pub(super) fn listening(&self) -> Vec<ListeningSocket> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    pub(super) fn values_written(&self) -> watch::Receiver<(Option<u64>, Option<String>)> {
        self.values_written.subscribe()
    }

    pub(super) fn note_signal(&self) {
        self.was_signaled.store(true, Ordering::Relaxed);
    }

    pub(super) fn was_signaled(&self) -> bool {
        self.was_signaled.load(Ordering::Relaxed)
    }

    fn update(&self, change: impl FnOnce(&mut (Tail, Vec<ListeningSocket>))) {
        change(&mut self.said.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// How the app ended.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    Exit {
        facts: ExitFacts,
        disk_full: bool,
    },
    /// Not the app: its start or its sandbox.
    Lost(String),
}

/// Turns events into reports.
pub(super) struct Reader<'r> {
    events: Events,
    spec: &'r ReplicaSpec,
    reports: &'r mpsc::Sender<HostReport>,
    observed: &'r Observed,
    has_started: bool,
    stdout: LineSplitter,
    stderr: LineSplitter,
}

impl<'r> Reader<'r> {
    pub(super) fn new(
        sandbox: &Sandbox,
        spec: &'r ReplicaSpec,
        reports: &'r mpsc::Sender<HostReport>,
        observed: &'r Observed,
    ) -> Self {
        let (stdout, stderr) = (LineSplitter::default(), LineSplitter::default());
        let (events, has_started) = (sandbox.events(), !sandbox.tasks().is_empty());
        Self { events, spec, reports, observed, has_started, stdout, stderr }
    }

    /// Reads until the app or its sandbox ended. All output was reported before.
    pub(super) async fn until_exit(&mut self) -> Ended {
        loop {
            match self.events.next().await {
                Some(SandboxEvent::Exited { facts, disk_full, .. }) => {
                    self.finish().await;
                    return Ended::Exit { facts, disk_full };
                }
                Some(SandboxEvent::StartFailed { message, .. } | SandboxEvent::Refused { message }) => {
                    return Ended::Lost(format!("the app did not start: {message}"));
                }
                Some(SandboxEvent::ValuesWritten { trouble: Some(why), .. }) if !self.has_started => {
                    return Ended::Lost(format!("the app's variables could not be written: {why}"));
                }
                Some(SandboxEvent::Gone { reason }) => return Ended::Lost(format!("the sandbox ended: {reason}")),
                Some(event) => self.take(event).await,
                None => return Ended::Lost("the sandbox ended without a word".to_owned()),
            }
        }
    }

    /// Reads what comes until the sandbox is gone.
    pub(super) async fn until_gone(&mut self) {
        while let Some(event) = self.events.next().await {
            if matches!(event, SandboxEvent::Gone { .. }) {
                break;
            }
            self.take(event).await;
        }
        self.finish().await;
    }

    async fn take(&mut self, event: SandboxEvent) {
        match event {
            SandboxEvent::Output { stream, bytes, .. } => {
                let splitter = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
                for line in splitter.push(&bytes) {
                    self.line(stream, line).await;
                }
            }
            SandboxEvent::Started { .. } => self.has_started = true,
            SandboxEvent::ValuesWritten { revision, trouble } => {
                self.observed.values_written.send_replace((Some(revision), trouble));
            }
            SandboxEvent::Listening { sockets } => self.observed.update(|(_, listening)| *listening = sockets),
            SandboxEvent::Dropped { bytes } => {
                self.stdout.lost();
                self.stderr.lost();
                self.line(Stream::Stderr, format!("{bytes} bytes of output were lost while the server was away")).await;
            }
            _ => {}
        }
    }

    async fn finish(&mut self) {
        for (stream, rest) in [(Stream::Stdout, self.stdout.finish()), (Stream::Stderr, self.stderr.finish())] {
            if let Some(line) = rest {
                self.line(stream, line).await;
            }
        }
    }

    async fn line(&self, stream: Stream, line: String) {
        self.observed.update(|(tail, _)| tail.push(line.clone()));
        let (replica, service_id) = (self.spec.replica.clone(), self.spec.service_id.clone());
        // Waits while control is slow: the app's output waits with it, never the host's memory.
        let _ = self.reports.send(HostReport::ReplicaLog { replica, service_id, at: now(), stream, line }).await;
    }
}

pub(super) fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs::try_from(since.as_millis()).unwrap_or(TimestampMs::MAX)
}
