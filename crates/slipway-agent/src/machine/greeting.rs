//! The conversation before there is a supervisor: greet the host, take its files, and learn what the machine is to become.

use super::MachineError;
use crate::connection::{Connection, Line, ReadState};
use crate::listener::Listener;
use crate::outbox::encode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slipway_types::agent::{
    AgentCommand, AgentEvent, FILE_CHUNK_BYTES_MAX, FILES_BYTES_MAX, Machine, PROTOCOL_VERSION,
};
use std::collections::BTreeMap;

/// For an answer that a host does not read: it is told on the console too.
const SAY_TIME_MAX: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// What the host asked for.
pub(super) struct Order {
    pub(super) hostname: String,
    pub(super) unix_time_ms: i64,
    pub(super) machine: Machine,
    /// By absolute path.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// Waits for as long as it takes: a machine may stand ready before it is wanted. The newest connection is the host's: one that it
/// gave up while the machine booted may never be seen to end. What an older one said is forgotten.
pub(super) fn greet(listener: &Listener) -> Result<(Connection, Order), MachineError> {
    let mut conversation: Option<Conversation> = None;
    loop {
        wait(listener, conversation.as_ref())?;
        while let Ok(stream) = listener.accept() {
            conversation = Connection::new(stream).ok().map(Conversation::begin);
        }
        let Some(mut open) = conversation.take() else { continue };
        match open.listen() {
            Heard::Order(order) => return Ok((open.connection, *order)),
            Heard::Nothing => conversation = Some(open),
            Heard::End => {}
        }
    }
}

struct Conversation {
    connection: Connection,
    files: BTreeMap<String, Vec<u8>>,
}

enum Heard {
    Order(Box<Order>),
    Nothing,
    End,
}

impl Conversation {
    fn begin(mut connection: Connection) -> Self {
        say(&mut connection, &AgentEvent::Hello { version: PROTOCOL_VERSION });
        Self { connection, files: BTreeMap::new() }
    }

    fn listen(&mut self) -> Heard {
        let received = self.connection.receive();
        let mut lines = received.lines.into_iter();
        while let Some(line) = lines.next() {
            match take(&line, &mut self.files) {
                // Nothing may follow before the answer.
                Ok(Some((hostname, unix_time_ms, machine))) if lines.next().is_none() => {
                    let files = std::mem::take(&mut self.files);
                    return Heard::Order(Box::new(Order { hostname, unix_time_ms, machine, files }));
                }
                Ok(None) => {}
                Ok(Some(_)) => self.refuse("a command came before `configure` was answered"),
                Err(message) => self.refuse(message),
            }
        }
        if received.state == ReadState::Closed { Heard::End } else { Heard::Nothing }
    }

    fn refuse(&mut self, message: &str) {
        say(&mut self.connection, &AgentEvent::Refused { message: message.to_owned() });
    }
}

type Configure = (String, i64, Machine);

fn take(line: &Line, files: &mut BTreeMap<String, Vec<u8>>) -> Result<Option<Configure>, &'static str> {
    let Line::Text(line) = line else { return Err("the command is too long") };
    match serde_json::from_slice(line) {
        Ok(AgentCommand::File { path, base64 }) => take_part(files, path, &base64).map(|()| None),
        Ok(AgentCommand::Configure { hostname, unix_time_ms, machine: Some(machine) }) => {
            Ok(Some((hostname, unix_time_ms, machine)))
        }
        Ok(AgentCommand::Configure { machine: None, .. }) => Err("`configure` says nothing about the machine"),
        Ok(_) => Err("the machine is not configured"),
        Err(_) => Err("the command does not parse"),
    }
}

fn take_part(files: &mut BTreeMap<String, Vec<u8>>, path: String, base64: &str) -> Result<(), &'static str> {
    let bytes = STANDARD.decode(base64).map_err(|_| "the file's part is no base64")?;
    let together: usize = files.values().map(Vec::len).sum();
    if bytes.len() > FILE_CHUNK_BYTES_MAX || together + bytes.len() > FILES_BYTES_MAX {
        return Err("the files are too large");
    }
    files.entry(path).or_default().extend(bytes);
    Ok(())
}

/// Writes one event to its end, or gives up: what follows tells.
pub(super) fn say(connection: &mut Connection, event: &AgentEvent) {
    connection.queue(&encode(event));
    while connection.flush().is_ok() && connection.backlog() > 0 {
        let mut polled = [PollFd::new(&*connection, PollFlags::OUT)];
        if !matches!(poll(&mut polled, Some(&SAY_TIME_MAX)), Ok(count) if count > 0) {
            return;
        }
    }
}

fn wait(listener: &Listener, conversation: Option<&Conversation>) -> Result<(), MachineError> {
    let mut polled = vec![PollFd::new(listener, PollFlags::IN)];
    polled.extend(conversation.map(|open| PollFd::new(&open.connection, PollFlags::IN)));
    match poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(MachineError::because("wait for the host", errno)),
    }
}
