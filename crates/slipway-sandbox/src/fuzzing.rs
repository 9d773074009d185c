//! What reads untrusted bytes, made reachable for fuzzing, with what must be true of it. Not compiled otherwise.
//!
//! Each function is one target of `./x fuzz`; the tests run what earlier runs kept, and mutations of it.

use crate::driver::{console, firecracker, vsock};
use crate::link;
use crate::shim::fuzzing as shim;
use crate::wire::{ToShim, WIRE_LINE_BYTES_MAX};
use slipway_types::agent::AgentCommand;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::{Decoder, LinesCodec};

/// A script of what an agent and a supervisor do to a shim: see [`crate::shim::fuzzing`].
pub fn agent_events(data: &[u8]) {
    shim::script(data);
}

/// What an agent says before its machine is used.
pub fn agent_greeting(data: &[u8]) {
    shim::greeting(data);
}

/// Both directions of the shim's socket. The first byte says in how large pieces the rest arrives.
pub fn shim_wire(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let mut codec = LinesCodec::new_with_max_length(WIRE_LINE_BYTES_MAX);
    let mut buffer = BytesMut::new();
    let mut lines = Vec::new();
    'pieces: for piece in data.chunks(usize::from(*size) + 1) {
        buffer.extend_from_slice(piece);
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                // The connection is over.
                Err(_) => break 'pieces,
            }
        }
    }
    for line in &lines {
        assert!(line.len() <= WIRE_LINE_BYTES_MAX);
        if let Some(said) = link::parse(line) {
            let again = encode(&said);
            assert_eq!(again, encode(&link::parse(&again).expect("what was said is the protocol")));
        }
    }
    let mut rest = data;
    while let Some(said) = shim::order(&mut rest) {
        let again = format!("{}\n", encode(&said));
        assert_eq!(again.trim_end(), encode(&shim::order(&mut again.as_bytes()).expect("an order is the protocol")));
        if let ToShim::Agent { command } = &said {
            framed(command, &again);
        }
    }
}

/// The frame that is made by hand is the one that is read.
fn framed(command: &AgentCommand, whole: &str) {
    assert_eq!(link::agent_frame(&link::agent_line(command)), whole);
}

fn encode(line: &impl serde::Serialize) -> String {
    serde_json::to_string(line).expect("a line of the protocol")
}

/// What a virtual machine monitor says: answers of its interface, the first line of its vsock, and the machine's console.
pub fn machine_words(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => firecracker::answers(data),
        1 => vsock::fuzzing(data),
        _ => console::fuzzing(data),
    }
}

/// The largest lines that an agent can make a shim say.
#[cfg(test)]
fn largest() -> [crate::wire::FromShim; 2] {
    use crate::event::{SandboxEvent, TaskState};
    use crate::shim::fuzzing::TASKS_MAX;
    use crate::wire::{AgentFacts, FromShim};
    use slipway_types::agent::{LISTENING_SOCKETS_MAX, ListeningSocket};
    use slipway_types::host::ExitFacts;
    let exit = Some(ExitFacts { code: Some(i32::MIN), signal: Some(i32::MIN), out_of_memory: false });
    let address = "1111:2222:3333:4444:5555:6666:7777:8888".parse().unwrap();
    let listening = vec![ListeningSocket { address, port: u16::MAX }; LISTENING_SOCKETS_MAX];
    let tasks = vec![TaskState { task: u32::MAX, exit, disk_full: false }; TASKS_MAX];
    let event = SandboxEvent::Listening { sockets: listening.clone() };
    [
        FromShim::Attached { tasks, listening, agent: AgentFacts { version: u32::MAX, values: Some(u64::MAX) } },
        FromShim::Event { sequence: u64::MAX, event },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_testing::fuzzing::replay;

    #[test]
    fn what_a_shim_says_of_its_agent_is_a_line() {
        for line in largest() {
            assert!(encode(&line).len() < WIRE_LINE_BYTES_MAX, "{}", encode(&line).len());
        }
    }

    #[test]
    fn a_hostile_agent_breaks_no_promise_of_the_shim() {
        replay("agent_events", 60, agent_events);
        replay("agent_greeting", 3000, agent_greeting);
    }

    #[test]
    fn the_shim_s_socket_takes_any_bytes() {
        replay("shim_wire", 3000, shim_wire);
    }

    #[test]
    fn a_hostile_machine_monitor_is_read_within_bounds() {
        replay("machine_words", 3000, machine_words);
    }
}
