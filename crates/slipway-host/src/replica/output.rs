//! What a replica's sandbox says: its log, its sockets, its end.
//!
//! Lines go to control in batches. What they were made of stays with the shim until control has written them, so that a server that
//! is killed loses none: the next one gets them again, under the same numbers, and control leaves out what it has.

use crate::fleet::Taken;
use crate::line::{LineSplitter, Tail};
use slipway_sandbox::{Events, Sandbox, SandboxEvent};
use slipway_types::agent::{ListeningSocket, Stream};
use slipway_types::host::{ExitFacts, HostReport, ReplicaSpec};
use slipway_types::log::{LogStream, ReplicaLine, ReplicaLines};
use slipway_types::{RunId, TimestampMs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, watch};

/// Of a batch: some hundred lines. Others have their turn after one.
const BATCH_BYTES_MAX: usize = 64 * 1024;
/// What a line takes in a batch beside its text.
const LINE_BYTES: usize = 64;
/// Output behind a line that was begun and not ended, after which that line is not waited for: what the shim holds keeps the app
/// from writing.
const PART_BYTES_MAX: u64 = 256 * 1024;
/// A line's number is that of the event in which it ended, and its place in there. An event has fewer bytes than this.
const LINES_PER_EVENT: u64 = 1 << 16;

/// What is known of a sandbox at any moment.
#[derive(Debug)]
pub(super) struct Observed {
    said: Mutex<(Tail, Vec<ListeningSocket>)>,
    /// The agent's last answer: of which revision, and the trouble with it.
    values_written: watch::Sender<(Option<u64>, Option<String>)>,
    /// The app was told of other variables.
    was_signaled: AtomicBool,
    /// It is being stopped: that it listens no more says nothing of it.
    is_ending: AtomicBool,
}

impl Observed {
    pub(super) fn new(listening: &[ListeningSocket]) -> Self {
        let said = Mutex::new((Tail::default(), listening.to_vec()));
        Self {
            said,
            values_written: watch::Sender::new((None, None)),
            was_signaled: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
        }
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

    /// From now on the sockets stay as they were told last.
    pub(super) fn note_end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
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
    run: RunId,
    reports: &'r mpsc::Sender<HostReport>,
    written: watch::Receiver<Taken>,
    observed: &'r Observed,
    has_started: bool,
    stdout: LineSplitter,
    stderr: LineSplitter,
    batch: Vec<ReplicaLine>,
    batch_bytes: usize,
    /// The last event, and how many lines it has had.
    sequence: u64,
    lines: u64,
    /// No line that was begun before this event's end is unended.
    whole_through: u64,
    /// Output since then.
    part_bytes: u64,
    /// Of the last batch that was sent.
    sent_through: u64,
}

impl<'r> Reader<'r> {
    pub(super) fn new(
        sandbox: &Sandbox,
        spec: &'r ReplicaSpec,
        run: RunId,
        reports: &'r mpsc::Sender<HostReport>,
        written: watch::Receiver<Taken>,
        observed: &'r Observed,
    ) -> Self {
        Self {
            events: sandbox.events(),
            spec,
            run,
            reports,
            written,
            observed,
            has_started: !sandbox.tasks().is_empty(),
            stdout: LineSplitter::default(),
            stderr: LineSplitter::default(),
            batch: Vec::new(),
            batch_bytes: 0,
            sequence: 0,
            lines: 0,
            whole_through: 0,
            part_bytes: 0,
            sent_through: 0,
        }
    }

    /// Reads until the app or its sandbox ended. All output was reported before. Cancel safe, but for the end itself.
    pub(super) async fn until_exit(&mut self) -> Ended {
        loop {
            match self.next().await {
                Some(SandboxEvent::Exited { facts, disk_full, .. }) => {
                    self.finish();
                    self.flush().await;
                    return Ended::Exit { facts, disk_full };
                }
                Some(SandboxEvent::StartFailed { message, .. } | SandboxEvent::Refused { message }) => {
                    return Ended::Lost(format!("the app did not start: {message}"));
                }
                Some(SandboxEvent::ValuesWritten { trouble: Some(why), .. }) if !self.has_started => {
                    return Ended::Lost(format!("the app's variables could not be written: {why}"));
                }
                Some(SandboxEvent::Gone { reason }) => return Ended::Lost(format!("the sandbox ended: {reason}")),
                Some(event) => self.take(event),
                None => return Ended::Lost("the sandbox ended without a word".to_owned()),
            }
        }
    }

    /// Reads what comes until the sandbox is gone.
    pub(super) async fn until_gone(&mut self) {
        while let Some(event) = self.next().await {
            if matches!(event, SandboxEvent::Gone { .. }) {
                break;
            }
            self.take(event);
        }
        self.finish();
        self.flush().await;
    }

    /// The next event. Meanwhile a full batch, or one behind which nothing has come yet, is sent, and what is written is let go.
    async fn next(&mut self) -> Option<SandboxEvent> {
        loop {
            let has_room = self.batch_bytes < BATCH_BYTES_MAX;
            tokio::select! {
                biased;
                Ok(()) = self.written.changed() => self.forget_written(),
                event = self.events.next_kept(), if has_room => {
                    let (sequence, event) = event?;
                    (self.sequence, self.lines) = (sequence, 0);
                    return Some(event);
                }
                permit = self.reports.reserve(), if !self.batch.is_empty() => match permit {
                    Ok(permit) => {
                        let lines = self.take_batch();
                        permit.send(lines);
                    }
                    // Control has gone, and this host is about to.
                    Err(_) => self.batch.clear(),
                },
            }
        }
    }

    async fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Ok(permit) = self.reports.reserve().await {
            let lines = self.take_batch();
            permit.send(lines);
        }
    }

    fn take_batch(&mut self) -> HostReport {
        self.batch_bytes = 0;
        self.sent_through = self.whole_through;
        HostReport::ReplicaLines(Box::new(ReplicaLines {
            replica: self.spec.replica.clone(),
            deployment: self.spec.deployment.clone(),
            service_id: self.spec.service_id.clone(),
            run: self.run.clone(),
            lines: std::mem::take(&mut self.batch),
            through: self.whole_through,
        }))
    }

    fn forget_written(&mut self) {
        let through = match &*self.written.borrow_and_update() {
            Some((run, through)) if *run == self.run => *through,
            _ => return,
        };
        // Whatever came since without a line of its own, or waits for no answer, goes with it.
        let all_written = through >= self.sent_through && self.batch.is_empty();
        self.events.acknowledge(if all_written { self.whole_through } else { through });
    }

    fn take(&mut self, event: SandboxEvent) {
        match event {
            SandboxEvent::Output { stream, bytes, .. } => {
                self.part_bytes += bytes.len() as u64;
                let splitter = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
                for line in splitter.push(&bytes) {
                    self.line(stream.into(), line);
                }
            }
            SandboxEvent::Started { .. } => self.has_started = true,
            SandboxEvent::ValuesWritten { revision, trouble } => {
                self.observed.values_written.send_replace((Some(revision), trouble));
            }
            SandboxEvent::Listening { sockets } if !self.observed.is_ending.load(Ordering::Relaxed) => {
                self.observed.update(|(_, listening)| *listening = sockets);
            }
            SandboxEvent::Dropped { bytes } => {
                self.stdout.lost();
                self.stderr.lost();
                let line = format!("{bytes} bytes of output were lost while the server was away");
                self.line(LogStream::System, line);
            }
            SandboxEvent::Skipped { stream, bytes, lines, .. } => {
                let splitter = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
                splitter.lost();
                let line = format!(
                    "{lines} lines ({bytes} bytes) were dropped here: the app writes faster than `logs.replica_rate` allows"
                );
                self.line(LogStream::System, line);
            }
            _ => {}
        }
        self.event_taken();
    }

    /// What came so far may be told to control as a whole, unless a line is cut by its end.
    fn event_taken(&mut self) {
        let is_whole = !self.stdout.holds_part() && !self.stderr.holds_part();
        if is_whole || self.part_bytes > PART_BYTES_MAX {
            self.whole_through = self.sequence;
            self.part_bytes = 0;
            // Nothing is on its way that would be answered: what has no lines needs no answer.
            if self.batch.is_empty() && self.is_answered() {
                self.events.acknowledge(self.whole_through);
            }
        }
    }

    fn is_answered(&self) -> bool {
        let answered =
            self.written.borrow().as_ref().filter(|(run, _)| *run == self.run).map_or(0, |(_, through)| *through);
        answered >= self.sent_through
    }

    fn finish(&mut self) {
        for (stream, rest) in [(LogStream::Stdout, self.stdout.finish()), (LogStream::Stderr, self.stderr.finish())] {
            if let Some(line) = rest {
                self.line(stream, line);
            }
        }
        self.event_taken();
    }

    fn line(&mut self, stream: LogStream, line: String) {
        self.observed.update(|(tail, _)| tail.push(line.clone()));
        let number = self.sequence * LINES_PER_EVENT + self.lines;
        self.lines += 1;
        self.batch_bytes += line.len() + LINE_BYTES;
        self.batch.push(ReplicaLine { at: now(), stream, number: Some(number), line });
    }
}

pub(super) fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs::try_from(since.as_millis()).unwrap_or(TimestampMs::MAX)
}
