//! Reads what the agent says. It is a guest: a line that is too long, does not parse or makes no sense ends the sandbox.

use super::hold::{Hold, TaskPhase};
use crate::driver::{DriverError, Guest, Setup};
use crate::event::SandboxEvent;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slipway_types::agent::{
    AgentCommand, AgentEvent, FILE_CHUNK_BYTES_MAX, LINE_BYTES_MAX, LISTENING_SOCKETS_MAX, OUTPUT_CHUNK_BYTES_MAX,
    PROTOCOL_VERSION, PROTOCOL_VERSION_MIN,
};
use slipway_types::host::ExitFacts;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Why variables could not be written: a path and the kernel's word.
const TROUBLE_BYTES_MAX: usize = 16 * 1024;

pub(super) struct Reader<S = UnixStream> {
    lines: BufReader<S>,
    /// Of the agent that greeted.
    pub(super) version: u32,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the agent fell silent")]
    Silence,
    #[error("{0}")]
    Broken(String),
}

impl From<String> for ReadError {
    fn from(why: String) -> Self {
        Self::Broken(why)
    }
}

fn failed(error: std::io::Error) -> DriverError {
    DriverError::because("cannot speak to the agent", &error)
}

/// Waits for the agent's first line.
pub(super) fn meet(guest: &dyn Guest) -> Result<Reader, DriverError> {
    let stream = guest.stream().map_err(failed)?;
    stream.set_read_timeout(Some(guest.greet_time_max())).map_err(failed)?;
    let mut reader = Reader { lines: BufReader::new(stream), version: 0 };
    match reader.answer("before it greeted")? {
        Some(AgentEvent::Hello { version: version @ PROTOCOL_VERSION_MIN..=PROTOCOL_VERSION }) => {
            Ok(Reader { version, ..reader })
        }
        Some(AgentEvent::Hello { version }) => {
            Err(DriverError::new(format!("the agent speaks version {version}, expected {PROTOCOL_VERSION}")))
        }
        _ => Err(DriverError::new("the agent did not greet")),
    }
}

/// Configures an agent that greeted, and waits until that is done.
pub(super) fn configure(guest: &dyn Guest, mut reader: Reader, hostname: &str) -> Result<Reader, DriverError> {
    let mut stream = guest.stream().map_err(failed)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_time_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let Setup { files, machine } = guest.setup()?;
    for (path, bytes) in &files {
        for part in bytes.chunks(FILE_CHUNK_BYTES_MAX) {
            send(&mut stream, &AgentCommand::File { path: path.clone(), base64: STANDARD.encode(part) })
                .map_err(failed)?;
        }
    }
    let reseed = machine.as_ref().map(|machine| machine.reseed);
    send(&mut stream, &AgentCommand::Configure { hostname: hostname.to_owned(), unix_time_ms, machine })
        .map_err(failed)?;
    reader.wait_until_ready(reseed)?;
    stream.set_read_timeout(None).map_err(failed)?;
    Ok(reader)
}

impl<S: Read> Reader<S> {
    /// Whether the agent said something that nobody has read.
    pub(super) fn holds_words(&self) -> bool {
        !self.lines.buffer().is_empty()
    }

    /// A machine's random numbers may be those of another machine until it confirms that they are not: it is not used before.
    pub(super) fn wait_until_ready(&mut self, mut reseed: Option<u64>) -> Result<(), DriverError> {
        loop {
            match self.answer("while it was configured")? {
                Some(AgentEvent::Reseeded { reseed: said }) if reseed == Some(said) => reseed = None,
                Some(AgentEvent::Ready) if reseed.is_none() => return Ok(()),
                Some(AgentEvent::Ready) => {
                    return Err(DriverError::new("the agent did not confirm that its random numbers begin anew"));
                }
                // The sockets of an empty sandbox say nothing.
                Some(AgentEvent::Listening { .. }) => {}
                Some(AgentEvent::ConfigureFailed { message } | AgentEvent::Refused { message }) => {
                    return Err(DriverError::told(format!("the agent could not make the sandbox: {message}")));
                }
                _ => return Err(DriverError::new("the agent was not ready after it was configured")),
            }
        }
    }
}

fn send(stream: &mut UnixStream, command: &AgentCommand) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads on a thread of its own until the connection is over.
pub(super) fn follow(hold: Arc<Hold>, mut reader: Reader) {
    std::thread::spawn(move || {
        let broken = loop {
            match reader.next() {
                Ok(Some(event)) => {
                    if let Err(why) = take(&hold, event) {
                        break Some(why);
                    }
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        hold.agent_done(broken);
    });
}

impl<S: Read> Reader<S> {
    #[cfg(any(test, fuzzing))]
    pub(super) fn of(stream: S) -> Self {
        Self { lines: BufReader::new(stream), version: PROTOCOL_VERSION }
    }

    /// The next event, within the connection's time.
    fn answer(&mut self, when: &str) -> Result<Option<AgentEvent>, DriverError> {
        self.next().map_err(|error| match error {
            ReadError::Silence => DriverError::silence(format!("the agent fell silent {when}")),
            ReadError::Broken(why) => DriverError::new(why),
        })
    }

    /// None: the agent closed the connection.
    pub(super) fn next(&mut self) -> Result<Option<AgentEvent>, ReadError> {
        let mut line = Vec::new();
        match (&mut self.lines).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line) {
            // A connection that was reset is over like one that was closed: the agent is gone.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(ReadError::Silence);
            }
            Err(error) => return Err(format!("cannot read from the agent: {error}").into()),
            Ok(0) => return Ok(None),
            Ok(_) => {}
        }
        if line.pop() != Some(b'\n') {
            // The end in the middle of a line is the end; a full buffer without one is not.
            return match line.len() + 1 < LINE_BYTES_MAX {
                true => Ok(None),
                false => Err(format!("the agent sent a line of more than {LINE_BYTES_MAX} bytes").into()),
            };
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| format!("the agent sent what is no event: {error}").into())
    }
}

pub(super) fn take(hold: &Hold, event: AgentEvent) -> Result<(), String> {
    if let Some(task) = task_of(&event) {
        check_order(&event, task, hold.phase(task))?;
    }
    match event {
        AgentEvent::Started { task, pid } => hold.event(SandboxEvent::Started { task, pid }),
        AgentEvent::StartFailed { task, errno, message } => {
            hold.event(SandboxEvent::StartFailed { task, errno, message });
        }
        AgentEvent::Output { task, stream, base64 } => {
            let bytes =
                STANDARD.decode(base64).map_err(|error| format!("the agent sent output that is no base64: {error}"))?;
            if bytes.len() > OUTPUT_CHUNK_BYTES_MAX {
                return Err(format!("the agent sent {} bytes of output at once", bytes.len()));
            }
            let count = bytes.len() as u64;
            if !hold.output(SandboxEvent::Output { task, stream, bytes }, task, count) {
                return Err("the agent sent output without credit".to_owned());
            }
        }
        AgentEvent::Dropped { task, stream, bytes, lines } => {
            if !hold.skipped(SandboxEvent::Skipped { task, stream, bytes, lines }, task, stream) {
                return Err("the agent dropped output that it was to keep, or said so twice".to_owned());
            }
        }
        AgentEvent::Exited { task, code, signal, out_of_memory, disk_full } => {
            if !hold.exited(task, ExitFacts { code, signal, out_of_memory }, disk_full) {
                return Err(format!("the agent said twice that task {task} exited"));
            }
        }
        AgentEvent::Listening { sockets } if sockets.len() > LISTENING_SOCKETS_MAX => {
            return Err(format!("the agent spoke of {} listening sockets", sockets.len()));
        }
        AgentEvent::Listening { sockets } => hold.event(SandboxEvent::Listening { sockets }),
        AgentEvent::ValuesWritten { revision, trouble } => {
            if trouble.as_ref().is_some_and(|trouble| trouble.len() > TROUBLE_BYTES_MAX) {
                return Err("the agent said too much about variables".to_owned());
            }
            if !hold.values_written(revision, trouble) {
                return Err("the agent spoke of variables that it was not given".to_owned());
            }
        }
        AgentEvent::Refused { message } => hold.event(SandboxEvent::Refused { message }),
        AgentEvent::Stats { .. }
        | AgentEvent::Ready
        | AgentEvent::Reseeded { .. }
        | AgentEvent::Hello { .. }
        | AgentEvent::ConfigureFailed { .. } => {}
    }
    Ok(())
}

/// What is said of a task is kept until a supervisor has it: so each thing may be said once.
fn check_order(event: &AgentEvent, task: u32, phase: Option<TaskPhase>) -> Result<(), String> {
    match (phase, event) {
        (None, _) => Err(format!("the agent spoke of task {task}, which was not started")),
        (Some(TaskPhase::Started), AgentEvent::Started { .. } | AgentEvent::StartFailed { .. }) => {
            Err(format!("the agent said twice that task {task} started"))
        }
        (Some(TaskPhase::Exited), AgentEvent::Exited { .. }) => {
            Err(format!("the agent said twice that task {task} exited"))
        }
        (Some(TaskPhase::Exited), _) => Err(format!("the agent spoke of task {task} after its exit")),
        _ => Ok(()),
    }
}

fn task_of(event: &AgentEvent) -> Option<u32> {
    match event {
        AgentEvent::Started { task, .. }
        | AgentEvent::StartFailed { task, .. }
        | AgentEvent::Output { task, .. }
        | AgentEvent::Dropped { task, .. }
        | AgentEvent::Exited { task, .. } => Some(*task),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(events: &[AgentEvent], reseed: Option<u64>) -> Result<(), String> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        for event in events {
            theirs.write_all(&[serde_json::to_vec(event).unwrap(), b"\n".to_vec()].concat()).unwrap();
        }
        drop(theirs);
        Reader::of(ours).wait_until_ready(reseed).map_err(|error| error.to_string())
    }

    #[test]
    fn a_machine_that_does_not_confirm_its_random_numbers_is_not_used() {
        let reseeded = |reseed| AgentEvent::Reseeded { reseed };
        let refused = |events: &[AgentEvent]| said(events, Some(7)).unwrap_err();
        assert_eq!(said(&[reseeded(7), AgentEvent::Ready], Some(7)), Ok(()));
        assert_eq!(said(&[AgentEvent::Ready], None), Ok(()));
        assert!(refused(&[AgentEvent::Ready]).contains("begin anew"));
        assert!(refused(&[AgentEvent::Ready, reseeded(7)]).contains("begin anew"));
        for wrong in [vec![reseeded(8), AgentEvent::Ready], vec![reseeded(7)], vec![]] {
            assert!(refused(&wrong).contains("not ready"), "{wrong:?}");
        }
    }
}
