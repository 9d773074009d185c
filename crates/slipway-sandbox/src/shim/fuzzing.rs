//! A shim between an agent that says what the fuzzer wants and a supervisor that does what the fuzzer wants.
//!
//! The input is a script of lines. Most are the agent's, as they are; those that begin with `!` are not:
//!
//! ```text
//! !start N      a supervisor asks for task N         !output N B   the agent sends B bytes of task N's output
//! !attach       a new supervisor                     !long K       the agent sends K KiB without a line's end
//! !detach       it breaks                            !sockets C    the agent listens on C sockets
//! !take C       it reads at most C events            !facts N      the agent says that task N started
//! !values R     it gives the app variables           (their answer is one of the agent's lines)
//! !ack          it acknowledges what it read         !stop         it asks for the end
//! ```
//!
//! A model beside the shim knows what must come of it.

use super::agent::{Reader, take};
use super::hold::{AHEAD_BYTES_MAX, Hold};
use super::ring::{self, RING_BYTES_MAX, Record};
use crate::driver::{DriverError, Guest};
use crate::event::SandboxEvent;
use crate::home::{BootSpec, Home};
use crate::wire::{FromShim, ToShim, WIRE_LINE_BYTES_MAX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slipway_types::agent::{
    AgentCommand, AgentEvent, LINE_BYTES_MAX, OUTPUT_CREDIT_BYTES, PROTOCOL_VERSION, Stream, TaskSpec, ValuesSpec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::time::Duration;

#[cfg(test)]
pub(crate) use super::hold::TASKS_MAX;

/// Of one directive's number: more shows nothing new and takes long.
const OUTPUT_BYTES_MAX: usize = 40_000;
const LONG_KIBIBYTES_MAX: usize = 300;
const SOCKETS_MAX: usize = 30_000;
/// Of all directives of a script together: more than the credit.
const SAID_BYTES_MAX: usize = 3 << 20;
/// Of the events that are written and read once more; output is the same however long.
const AGAIN_BYTES_MAX: u64 = 4096;
/// What an event takes in a ring that drops.
const GAP_BYTES: u64 = 128;

pub(crate) fn order(lines: &mut &[u8]) -> Option<ToShim> {
    super::serve::next(lines)
}

/// The rule is read off the lines once more: ready counts only behind the confirmation.
pub(crate) fn greeting(data: &[u8]) {
    const RESEED: u64 = 7;
    if Reader::of(data).wait_until_ready(Some(RESEED)).is_ok() {
        let events = data.split(|byte| *byte == b'\n').map(serde_json::from_slice::<AgentEvent>);
        let events: Vec<AgentEvent> = events.map_while(Result::ok).collect();
        let at = |wanted: AgentEvent| events.iter().position(|event| *event == wanted);
        let confirmed = at(AgentEvent::Reseeded { reseed: RESEED }).expect("a confirmation");
        assert!(at(AgentEvent::Ready).expect("ready") > confirmed);
    }
}

struct Peer(UnixStream);

impl Guest for Peer {
    fn attach(&mut self, _: &Home, _: &BootSpec) -> Result<(), DriverError> {
        Ok(())
    }
    fn stream(&self) -> std::io::Result<UnixStream> {
        self.0.try_clone()
    }
    fn pid(&self) -> i32 {
        0
    }
    fn wait(&self, _: Duration) -> bool {
        false
    }
    fn kill(&self) {}
    fn out_of_memory_kills(&self) -> u64 {
        0
    }
    fn disk_full(&self) -> bool {
        false
    }
    fn clean_up(&self) -> Result<(), DriverError> {
        Ok(())
    }
}

struct Model {
    hold: Hold,
    agent: BufReader<UnixStream>,
    supervisor: u64,
    /// Last event that a supervisor was given.
    seen: u64,
    credit: u64,
    output_bytes: u64,
    delivered_bytes: u64,
    /// Of events that are never dropped.
    facts_bytes: u64,
    ordered: BTreeSet<u32>,
    /// Revisions of variables that it was given.
    values: std::collections::VecDeque<u64>,
    exited: BTreeMap<u32, u64>,
}

pub(crate) fn script(data: &[u8]) {
    let Ok((ours, theirs)) = UnixStream::pair() else { return };
    theirs.set_nonblocking(true).expect("a socket");
    let mut model = Model {
        hold: Hold::new(Box::new(Peer(ours)), PROTOCOL_VERSION).expect("a hold"),
        agent: BufReader::new(theirs),
        supervisor: 0,
        seen: 0,
        credit: OUTPUT_CREDIT_BYTES,
        output_bytes: 0,
        delivered_bytes: 0,
        facts_bytes: 0,
        ordered: BTreeSet::new(),
        values: Default::default(),
        exited: BTreeMap::new(),
    };
    let (mut said, mut left) = (Vec::new(), SAID_BYTES_MAX);
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"!").map(|words| String::from_utf8_lossy(words).into_owned()) {
            None => said.extend_from_slice(line),
            Some(words) => {
                let mut words = words.split_ascii_whitespace();
                let verb = words.next().unwrap_or_default().to_owned();
                let numbers: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
                let before = said.len();
                if agent_says(&mut said, &verb, &numbers) {
                    left = left.saturating_sub(said.len() - before);
                    if left == 0 {
                        break;
                    }
                    continue;
                }
                if !model.hear(&std::mem::take(&mut said)) {
                    break;
                }
                model.supervise(&verb, numbers.first().copied().unwrap_or(1));
            }
        }
    }
    model.hear(&said);
    model.end();
}

/// What would be too long to write out.
fn agent_says(said: &mut Vec<u8>, verb: &str, numbers: &[usize]) -> bool {
    let number = |at: usize| numbers.get(at).copied().unwrap_or(1);
    let task = u32::try_from(number(0)).unwrap_or(1);
    let event = match verb {
        "output" => {
            let base64 = STANDARD.encode(vec![b'x'; number(1).min(OUTPUT_BYTES_MAX)]);
            AgentEvent::Output { task, stream: Stream::Stdout, base64 }
        }
        "facts" => AgentEvent::Started { task, pid: 1 },
        "long" => {
            said.resize(said.len() + number(0).min(LONG_KIBIBYTES_MAX) * 1024, b'x');
            return true;
        }
        "sockets" => {
            let sockets = vec![r#"["::",1]"#; number(0).min(SOCKETS_MAX)].join(",");
            said.extend(format!("{{\"event\":\"listening\",\"sockets\":[{sockets}]}}\n").as_bytes());
            return true;
        }
        _ => return false,
    };
    said.extend(serde_json::to_vec(&event).expect("an event"));
    said.push(b'\n');
    true
}

impl Model {
    /// False: the sandbox ends because of what its agent said.
    fn hear(&mut self, said: &[u8]) -> bool {
        let mut reader = Reader::of(said);
        loop {
            let event = match reader.next() {
                Ok(Some(event)) => event,
                Ok(None) => return true,
                Err(_) => return false,
            };
            let kept = self.expected(&event);
            let taken = take(&self.hold, event);
            self.take_commands();
            match (&taken, kept) {
                (Ok(()), Some(bytes)) => self.facts_bytes += bytes,
                (Err(_), None) => return false,
                _ => panic!("{taken:?}, expected {kept:?}"),
            }
            self.check_bounds();
        }
    }

    /// What it adds to what is never dropped; none when it makes no sense.
    fn expected(&mut self, event: &AgentEvent) -> Option<u64> {
        match event {
            AgentEvent::Started { task, .. } => {
                let unsaid = self.ordered.contains(task) && !self.exited.contains_key(task);
                (unsaid && self.hold.phase(*task) == Some(super::hold::TaskPhase::Ordered)).then_some(GAP_BYTES)
            }
            AgentEvent::StartFailed { task, message, .. } => {
                let ordered = self.hold.phase(*task) == Some(super::hold::TaskPhase::Ordered);
                ordered.then(|| self.ordered.remove(task)).map(|_| GAP_BYTES + message.len() as u64)
            }
            AgentEvent::Exited { task, .. } => {
                let runs = self.ordered.contains(task) && !self.exited.contains_key(task);
                runs.then(|| self.exited.insert(*task, 0)).map(|_| GAP_BYTES)
            }
            AgentEvent::Output { task, base64, .. } => {
                let bytes = STANDARD.decode(base64).ok()?.len() as u64;
                let runs = self.ordered.contains(task) && !self.exited.contains_key(task);
                let fits = runs && bytes <= 32 * 1024 && bytes <= self.credit;
                fits.then(|| {
                    self.credit -= bytes;
                    self.output_bytes += bytes;
                    0
                })
            }
            AgentEvent::Listening { sockets } => (sockets.len() <= 1024).then_some(0),
            AgentEvent::ValuesWritten { revision, .. } => {
                let asked = self.values.front() == Some(revision);
                asked.then(|| self.values.pop_front()).map(|_| 0)
            }
            _ => Some(0),
        }
    }

    /// What the shim sent to the agent.
    fn take_commands(&mut self) {
        let mut line = String::new();
        while self.agent.read_line(&mut line).is_ok_and(|length| length > 0) {
            assert!(line.len() <= LINE_BYTES_MAX);
            if let AgentCommand::Credit { bytes } = serde_json::from_str(&line).expect("a command") {
                self.credit += bytes;
            }
            assert!(self.credit <= OUTPUT_CREDIT_BYTES, "more credit than the protocol allows");
            line.clear();
        }
    }

    fn supervise(&mut self, verb: &str, number: usize) {
        match verb {
            "start" => {
                let task = u32::try_from(number).unwrap_or(1);
                let is_new = self.hold.phase(task).is_none();
                self.hold.command(&AgentCommand::StartTask(spec(task)));
                if is_new && self.hold.phase(task).is_some() {
                    self.ordered.insert(task);
                }
            }
            "attach" => {
                let (supervisor, attached) = self.hold.attach((self.seen > 0).then_some(self.seen));
                self.supervisor = supervisor;
                let line = serde_json::to_vec(&attached).expect("a line");
                assert!(line.len() < WIRE_LINE_BYTES_MAX, "a supervisor cannot attach");
            }
            "values" if self.values.len() < 16 => {
                self.values.push_back(number as u64);
                self.hold.command(&AgentCommand::WriteValues(values(number as u64)));
            }
            "detach" => self.hold.detach(self.supervisor),
            "take" => drop((0..number).all(|_| self.next())),
            "ack" => self.hold.acknowledge(self.seen),
            "stop" => self.hold.stop(Duration::ZERO),
            _ => {}
        }
        self.take_commands();
        self.check_bounds();
    }

    fn next(&mut self) -> bool {
        let Some(Record { sequence, event }) = self.hold.next_now(self.seen) else { return false };
        assert!(sequence > self.seen);
        self.seen = sequence;
        match &*event {
            SandboxEvent::Output { task, bytes, .. } => {
                assert!(!matches!(self.exited.get(task), Some(1)), "output behind the exit");
                self.delivered_bytes += bytes.len() as u64;
            }
            SandboxEvent::Dropped { bytes } => self.delivered_bytes += bytes,
            SandboxEvent::Exited { task, .. } => *self.exited.get_mut(task).expect("an exit that was said") = 1,
            _ => {}
        }
        if matches!(&*event, SandboxEvent::Output { .. }) && ring::size(&event) > AGAIN_BYTES_MAX {
            return true;
        }
        let line = serde_json::to_string(&FromShim::Event { sequence, event: (*event).clone() }).expect("a line");
        assert!(line.len() < WIRE_LINE_BYTES_MAX, "a supervisor cannot read it");
        let read = crate::link::parse(&line);
        assert!(
            matches!(read, Some(FromShim::Event { sequence: at, event: read }) if at == sequence && read == *event)
        );
        true
    }

    fn check_bounds(&self) {
        let (held, ahead) = self.hold.held_bytes();
        // Between two facts there may be a gap.
        assert!(held <= RING_BYTES_MAX + 2 * self.facts_bytes + 2 * GAP_BYTES, "{held} bytes are held");
        assert!(ahead <= AHEAD_BYTES_MAX + 2 * LINE_BYTES_MAX as u64, "{ahead} bytes are ahead");
    }

    /// All that was said is told, or counted.
    fn end(mut self) {
        self.hold.agent_done(None);
        self.hold.gone("over".to_owned());
        self.supervise("attach", 0);
        while self.next() {
            self.hold.acknowledge(self.seen);
        }
        assert_eq!(self.delivered_bytes, self.output_bytes, "output is neither told nor counted");
        assert_eq!(self.hold.held_bytes(), (0, 0));
        assert!(self.hold.wait_until_taken(Duration::ZERO));
    }
}

fn values(revision: u64) -> ValuesSpec {
    ValuesSpec { revision, path: "/x".to_owned(), values: BTreeMap::new(), uid: 1, gid: 1, signal: None }
}

fn spec(task: u32) -> TaskSpec {
    TaskSpec {
        task,
        argv: vec!["true".to_owned()],
        env: BTreeMap::new(),
        cwd: "/".to_owned(),
        uid: 1,
        gid: 1,
        open_files_max: 1,
        output_rate: None,
    }
}

/// As much as an event takes; `Dropped` takes no more.
const _: () = assert!(GAP_BYTES == ring::EVENT_BYTES);
