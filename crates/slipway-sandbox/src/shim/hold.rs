//! What a shim knows, shared by its threads: the agent's reader, the supervisor's reader and writer, and the main one.

use super::rate::Bucket;
use super::ring::{self, Record, Ring};
use crate::driver::Guest;
use crate::event::{STOPPED, SandboxEvent, TaskState};
use crate::wire::{AgentFacts, FromShim};
use slipway_types::agent::{AgentCommand, ListeningSocket, OUTPUT_CREDIT_BYTES, Stream, VALUES_VERSION};
use slipway_types::host::ExitFacts;
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A grace time is never longer than a day.
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Credit is given in steps, not byte by byte: small against what the agent has ([`OUTPUT_CREDIT_BYTES`]).
const CREDIT_STEP_BYTES: u64 = 64 * 1024;
/// The agent reads its commands all along; one that does not is broken.
const AGENT_WRITE_TIME_MAX: Duration = Duration::from_secs(20);
/// Sent to a supervisor and not taken by it. More than the agent's credit, so that it bounds only what is not output: a guest
/// may say as much of that as it likes.
pub(super) const AHEAD_BYTES_MAX: u64 = 4 << 20;
/// Variables that an agent was given and has not answered to: it answers at once.
const VALUES_ORDERED_MAX: usize = 16;
/// In all of a sandbox's life; a build starts a handful. What a supervisor is told of them when it attaches is one line.
pub(crate) const TASKS_MAX: usize = 2048;

pub(super) struct Hold {
    guest: Box<dyn Guest>,
    to_agent: Mutex<UnixStream>,
    agent_version: u32,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ring: Ring,
    tasks: BTreeMap<u32, Task>,
    listening: Vec<ListeningSocket>,
    /// Revisions of variables that the agent was given and has not answered to.
    values_ordered: VecDeque<u64>,
    /// The last one that is in its file.
    values: Option<u64>,
    /// Counts supervisors; only the last one is served.
    supervisor: u64,
    connected: bool,
    /// What the supervisor was sent and has not acknowledged, and how much that is.
    ahead: VecDeque<(u64, u64)>,
    ahead_bytes: u64,
    /// Output that the agent sent and has no new credit for.
    owed_bytes: u64,
    /// Of a task whose output has a rate: without credit its agent drops.
    bucket: Option<Bucket>,
    /// Streams of which the agent said that it dropped something, and nothing since.
    dropped: Vec<(u32, Stream)>,
    agent_done: bool,
    /// Why the sandbox ends or ended.
    ending: Option<String>,
    kill_at: Option<Instant>,
    guest_ended: bool,
    gone: bool,
}

#[derive(Debug)]
struct Task {
    started: bool,
    kills_before: u64,
    disk_full: bool,
    exit: Option<ExitFacts>,
}

/// How far a task is, as the agent told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskPhase {
    Ordered,
    Started,
    Exited,
}

impl Hold {
    pub(super) fn new(guest: Box<dyn Guest>, agent_version: u32) -> std::io::Result<Self> {
        let stream = guest.stream()?;
        stream.set_write_timeout(Some(AGENT_WRITE_TIME_MAX))?;
        Ok(Self {
            guest,
            to_agent: Mutex::new(stream),
            agent_version,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(super) fn guest(&self) -> &dyn Guest {
        self.guest.as_ref()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, command: &AgentCommand) {
        let mut line = serde_json::to_vec(command).unwrap_or_default();
        line.push(b'\n');
        let sent = self.to_agent.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
        // A sandbox that ends takes no command: that is told elsewhere.
        if sent.is_err() && !self.state().guest_ended {
            self.end("the agent does not take commands".to_owned());
        }
    }

    // From the supervisor.

    /// Serves this supervisor from now on, and nobody else: its number, and what it has to know first.
    pub(super) fn attach(&self, after: Option<u64>) -> (u64, FromShim) {
        let mut state = self.state();
        state.supervisor += 1;
        state.connected = true;
        state.ahead.clear();
        state.ahead_bytes = 0;
        state.ring.give(after.unwrap_or(0));
        if let Some(after) = after {
            state.acknowledge(after);
        }
        let tasks = state.tasks.iter().map(|(number, task)| TaskState {
            task: *number,
            exit: task.exit,
            disk_full: task.disk_full,
        });
        let agent = AgentFacts { version: self.agent_version, values: state.values };
        let attached = FromShim::Attached { tasks: tasks.collect(), listening: state.listening.clone(), agent };
        self.changed.notify_all();
        (state.supervisor, attached)
    }

    /// This supervisor's connection broke: what the agent writes is held from now on, and never waited for.
    pub(super) fn detach(&self, supervisor: u64) {
        let mut state = self.state();
        if state.supervisor == supervisor {
            state.connected = false;
            let credit = state.due_credit();
            self.changed.notify_all();
            drop(state);
            self.credit(credit);
        }
    }

    pub(super) fn acknowledge(&self, sequence: u64) {
        let mut state = self.state();
        state.acknowledge(sequence);
        let credit = state.due_credit();
        self.changed.notify_all();
        drop(state);
        self.credit(credit);
    }

    pub(super) fn command(&self, command: &AgentCommand) {
        let started = match command {
            AgentCommand::StartTask(task) => Some(task.task),
            AgentCommand::StartArchive(archive) => Some(archive.task),
            _ => None,
        };
        if let Some(task) = started {
            let kills_before = self.guest.out_of_memory_kills();
            let mut state = self.state();
            if state.tasks.len() >= TASKS_MAX || state.tasks.contains_key(&task) {
                let message = format!("task {task} cannot be started: its number is taken or too many were");
                state.ring.push(SandboxEvent::Refused { message });
                self.changed.notify_all();
                return;
            }
            if let AgentCommand::StartTask(spec) = command
                && let Some(rate) = spec.output_rate
            {
                state.bucket = Some(Bucket::new(rate, Instant::now()));
            }
            state.tasks.insert(task, Task { started: false, kills_before, disk_full: false, exit: None });
        }
        if let AgentCommand::WriteValues(spec) = command {
            return self.write_values(spec.revision, command);
        }
        // Credit and shutdown are the shim's own.
        if started.is_some() || matches!(command, AgentCommand::Signal { .. } | AgentCommand::Stats) {
            self.send(command);
        }
    }

    fn write_values(&self, revision: u64, command: &AgentCommand) {
        let mut state = self.state();
        let refused = match state.values_ordered.len() {
            _ if self.agent_version < VALUES_VERSION => Some("its agent is of an older version of Slipway".to_owned()),
            VALUES_ORDERED_MAX.. => Some("its agent does not answer".to_owned()),
            _ => None,
        };
        if refused.is_some() {
            state.ring.push(SandboxEvent::ValuesWritten { revision, trouble: refused });
            self.changed.notify_all();
            return;
        }
        state.values_ordered.push_back(revision);
        drop(state);
        self.send(command);
    }

    pub(super) fn stop(&self, grace: Duration) {
        let grace = grace.min(GRACE_MAX);
        {
            let mut state = self.state();
            let kill_at = Instant::now() + grace + self.guest.stop_margin();
            // A second, more urgent stop shortens the first.
            state.kill_at = Some(state.kill_at.map_or(kill_at, |before| before.min(kill_at)));
            state.ending.get_or_insert_with(|| STOPPED.to_owned());
            let credit = state.due_credit();
            self.changed.notify_all();
            drop(state);
            self.credit(credit);
        }
        self.send(&AgentCommand::Shutdown { grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX) });
    }

    /// The next event for this supervisor; none when it is not the last one any more or its connection broke.
    pub(super) fn next_for(&self, supervisor: u64, after: u64) -> Option<Record> {
        let mut state = self.state();
        loop {
            if state.supervisor != supervisor || !state.connected {
                return None;
            }
            if let Some(record) = state.next(after) {
                return Some(record);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn is_served(&self, supervisor: u64) -> bool {
        self.state().supervisor == supervisor
    }

    // From the agent.

    /// False: it is more than the agent has credit for.
    pub(super) fn output(&self, event: SandboxEvent, task: u32, bytes: u64) -> bool {
        // A program that fails for lack of room says so, often before it tidies up and ends.
        let full = self.guest.disk_full();
        let mut state = self.state();
        if state.owed_bytes + bytes > OUTPUT_CREDIT_BYTES {
            return false;
        }
        if full && let Some(task) = state.tasks.get_mut(&task) {
            task.disk_full = true;
        }
        state.owed_bytes += bytes;
        if let (Some(bucket), SandboxEvent::Output { stream, bytes, .. }) = (&mut state.bucket, &event) {
            bucket.take(bytes, Instant::now());
            let stream = *stream;
            state.dropped.retain(|dropped| *dropped != (task, stream));
        }
        state.ring.push(event);
        let credit = state.due_credit();
        self.changed.notify_all();
        drop(state);
        self.credit(credit);
        true
    }

    /// The agent left output out. False: nobody asked it to, or it said so already; each time costs it output that it has credit
    /// for.
    pub(super) fn skipped(&self, event: SandboxEvent, task: u32, stream: Stream) -> bool {
        let mut state = self.state();
        if state.bucket.is_none() || state.dropped.contains(&(task, stream)) {
            return false;
        }
        state.dropped.push((task, stream));
        state.ring.push(event);
        self.changed.notify_all();
        true
    }

    /// Adds what only the host knows to the exit of a task. What the agent says of memory and disk counts too: a lie of a guest's
    /// makes the diagnosis of its own failure wrong, and nothing else. Unknown to the host: false.
    pub(super) fn exited(&self, task: u32, said: ExitFacts, said_full: bool) -> bool {
        let kills = self.guest.out_of_memory_kills();
        let full = said_full || self.guest.disk_full();
        let mut state = self.state();
        let Some(known) = state.tasks.get_mut(&task).filter(|known| known.exit.is_none()) else { return false };
        let facts = ExitFacts { out_of_memory: said.out_of_memory || kills > known.kills_before, ..said };
        known.exit = Some(facts);
        known.disk_full |= full;
        let disk_full = known.disk_full;
        state.ring.push(SandboxEvent::Exited { task, facts, disk_full });
        self.changed.notify_all();
        true
    }

    /// The agent answers in the order in which it was asked. False: it was not asked.
    pub(super) fn values_written(&self, revision: u64, trouble: Option<String>) -> bool {
        let mut state = self.state();
        if state.values_ordered.front() != Some(&revision) {
            return false;
        }
        state.values_ordered.pop_front();
        if trouble.is_none() {
            state.values = Some(revision);
        }
        state.ring.push(SandboxEvent::ValuesWritten { revision, trouble });
        self.changed.notify_all();
        true
    }

    /// None: nobody asked for such a task.
    pub(super) fn phase(&self, task: u32) -> Option<TaskPhase> {
        self.state().tasks.get(&task).map(|task| match task {
            Task { exit: Some(_), .. } => TaskPhase::Exited,
            Task { started: true, .. } => TaskPhase::Started,
            Task { .. } => TaskPhase::Ordered,
        })
    }

    pub(super) fn event(&self, event: SandboxEvent) {
        let mut state = self.state();
        if let SandboxEvent::Listening { sockets } = &event {
            state.listening.clone_from(sockets);
        }
        match &event {
            SandboxEvent::Started { task, .. } => {
                state.tasks.entry(*task).and_modify(|task| task.started = true);
            }
            SandboxEvent::StartFailed { task, .. } => drop(state.tasks.remove(task)),
            _ => {}
        }
        state.ring.push(event);
        self.changed.notify_all();
    }

    /// The connection to the agent is over. A reason: because of what it said.
    pub(super) fn agent_done(&self, broken: Option<String>) {
        let mut state = self.state();
        state.agent_done = true;
        if let Some(why) = broken {
            state.ending.get_or_insert(why);
            state.kill_at = Some(Instant::now());
        }
        // The end of the agent is the end of the sandbox. A machine has things to put in order first.
        state.kill_at.get_or_insert_with(|| Instant::now() + self.guest.stop_margin());
        self.changed.notify_all();
    }

    fn credit(&self, bytes: u64) {
        if bytes > 0 {
            self.send(&AgentCommand::Credit { bytes });
        }
    }

    /// Like [`Hold::next_for`], without waiting.
    #[cfg(any(test, fuzzing))]
    pub(super) fn next_now(&self, after: u64) -> Option<Record> {
        self.state().next(after)
    }

    /// Bytes that are held for a supervisor, and of these what it was sent.
    #[cfg(any(test, fuzzing))]
    pub(super) fn held_bytes(&self) -> (u64, u64) {
        let state = self.state();
        (state.ring.bytes(), state.ahead_bytes)
    }

    // From the main thread.

    fn end(&self, reason: String) {
        let mut state = self.state();
        state.ending.get_or_insert(reason);
        state.kill_at = Some(Instant::now());
        self.changed.notify_all();
    }

    /// Notices the end of the guest.
    pub(super) fn watch_guest(self: &Arc<Self>) {
        /// Any bound does: the wait is taken up again.
        const WAIT: Duration = Duration::from_secs(3600);
        let hold = Arc::clone(self);
        std::thread::spawn(move || {
            while !hold.guest.wait(WAIT) {}
            hold.state().guest_ended = true;
            hold.changed.notify_all();
        });
    }

    /// Until the guest ended or is to be killed; why.
    pub(super) fn wait_for_end(&self) -> String {
        let mut state = self.state();
        loop {
            if state.guest_ended {
                break;
            }
            let left = state.kill_at.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            let credit = state.due_credit();
            if credit > 0 {
                drop(state);
                self.credit(credit);
                state = self.state();
                continue;
            }
            let left = left.into_iter().chain(state.pause()).min();
            state = match left {
                Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
        let ending = state.ending.clone();
        drop(state);
        ending.unwrap_or_else(|| match self.guest.out_of_memory_kills() {
            0 => "its agent ended".to_owned(),
            _ => "its agent ended after the kernel killed processes of the sandbox for memory".to_owned(),
        })
    }

    pub(super) fn wait_for_last_output(&self, bound: Duration) {
        let state = self.state();
        let waited = self.changed.wait_timeout_while(state, bound, |state| !state.agent_done);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// The last event.
    pub(super) fn gone(&self, reason: String) {
        let mut state = self.state();
        state.ring.push(SandboxEvent::Gone { reason });
        state.gone = true;
        self.changed.notify_all();
    }

    /// Whether all events, the last one too, were taken within `bound`.
    pub(super) fn wait_until_taken(&self, bound: Duration) -> bool {
        let state = self.state();
        let left = |state: &mut State| !(state.gone && state.ring.is_empty());
        let waited = self.changed.wait_timeout_while(state, bound, left).unwrap_or_else(PoisonError::into_inner);
        !waited.1.timed_out()
    }
}

impl State {
    /// The first event behind `after`, unless the supervisor is too far behind.
    fn next(&mut self, after: u64) -> Option<Record> {
        let may_send = self.ahead_bytes < AHEAD_BYTES_MAX || self.gone;
        let record = self.ring.after(after).filter(|_| may_send)?;
        let bytes = ring::size(&record.event);
        self.ring.give(record.sequence);
        self.ahead.push_back((record.sequence, bytes));
        self.ahead_bytes += bytes;
        Some(record)
    }

    fn acknowledge(&mut self, sequence: u64) {
        self.ring.acknowledge(sequence);
        while let Some((_, bytes)) = self.ahead.pop_front_if(|(sent, _)| *sent <= sequence) {
            self.ahead_bytes -= bytes;
        }
    }

    /// How long no credit is given because the task wrote too fast. It is not when the sandbox ends: its last words matter.
    fn pause(&mut self) -> Option<Duration> {
        let owes = self.owed_bytes >= CREDIT_STEP_BYTES && self.ending.is_none();
        self.bucket.as_mut().filter(|_| owes)?.pause(Instant::now())
    }

    /// While a supervisor is connected, what it has not acknowledged keeps its bytes from the agent's credit: that is
    /// the back-pressure. While none is, or when the sandbox ends, the agent never waits.
    fn due_credit(&mut self) -> u64 {
        let held = if self.connected && self.ending.is_none() { self.ring.bytes() } else { 0 };
        let due = self.owed_bytes.saturating_sub(held);
        if due < CREDIT_STEP_BYTES || self.pause().is_some() {
            return 0;
        }
        self.owed_bytes -= due;
        due
    }
}
