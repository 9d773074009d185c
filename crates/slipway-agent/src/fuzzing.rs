//! What the agent reads of its host, and how it keeps what the host did not get, for fuzzing. Not compiled otherwise.
//!
//! The host is trusted, so a finding here is a fault and no hole; but the bytes pass a device that both sides share.

use crate::connection::{self, Line};
use crate::outbox::Outbox;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slipway_types::agent::{
    AgentCommand, AgentEvent, LINE_BYTES_MAX, OUTPUT_CHUNK_BYTES_MAX, OUTPUT_CREDIT_BYTES, Stream,
};

/// Above the bound of a line.
const LONG_BYTES: usize = LINE_BYTES_MAX + 10;

/// Of the bytes that tasks write: no power of two.
const PERIOD: u8 = 251;

/// The first byte says in how large pieces the rest arrives. A NUL stands for more than a line may have.
pub fn agent_commands(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let mut sent = Vec::new();
    let mut longs = 0;
    for byte in data {
        match byte {
            0 if longs < 2 => {
                longs += 1;
                sent.resize(sent.len() + LONG_BYTES, b'x');
            }
            _ => sent.push(*byte),
        }
    }
    // A read brings up to 64 KiB. With long lines smaller ones take long.
    let piece = if longs > 0 { 16 * 1024 + usize::from(*size) * 192 } else { usize::from(*size) + 1 };
    let (mut input, mut skipping, mut lines) = (Vec::new(), false, Vec::new());
    for piece in sent.chunks(piece) {
        input.extend_from_slice(piece);
        lines.extend(connection::take_lines(&mut input, &mut skipping));
        assert!(input.len() < LINE_BYTES_MAX);
    }
    assert_eq!(lines, expected(&sent), "pieces of {piece}");
    for line in lines {
        let Line::Text(line) = line else { continue };
        if let Ok(command) = serde_json::from_slice::<AgentCommand>(&line) {
            let again = serde_json::to_vec(&command).expect("a command");
            assert_eq!(serde_json::from_slice::<AgentCommand>(&again).expect("a command"), command);
        }
    }
}

/// The rule, without the splitting: whole lines that are not empty, and one word for each that is too long.
fn expected(sent: &[u8]) -> Vec<Line> {
    let mut parts: Vec<&[u8]> = sent.split(|byte| *byte == b'\n').collect();
    let rest = parts.pop().unwrap_or_default();
    let of = |line: &[u8]| if line.len() < LINE_BYTES_MAX { Line::Text(line.to_vec()) } else { Line::TooLong };
    let mut lines: Vec<Line> = parts.into_iter().filter(|line| !line.is_empty()).map(of).collect();
    if rest.len() >= LINE_BYTES_MAX {
        lines.push(Line::TooLong);
    }
    lines
}

/// A host that loses its connections now and then, and counts: it gets every byte once, in order, and each fact at least once.
pub fn agent_outbox(data: &[u8]) {
    let mut outbox = Outbox::default();
    let (mut written, mut host) = (Vec::<u8>::new(), Host::default());
    // No two places within a line look alike.
    let pattern: Vec<u8> = (0..PERIOD).cycle().take(usize::from(PERIOD) + OUTPUT_CHUNK_BYTES_MAX).collect();
    let mut next_task = 1;
    for step in data.chunks_exact(2) {
        let number = usize::from(step[1]);
        match step[0] % 7 {
            0 | 1 => {
                let length = outbox.room().min(number * if step[0] % 7 == 0 { 1 } else { 128 });
                let at = written.len() % usize::from(PERIOD);
                let bytes = &pattern[at..at + length];
                written.extend_from_slice(bytes);
                outbox.push_output(1, Stream::Stdout, bytes);
            }
            2 => {
                outbox.push_event(AgentEvent::Started { task: next_task, pid: 1 });
                host.facts_said += 1;
                next_task += 1;
            }
            3 => (0..=number).map_while(|_| outbox.next_line()).for_each(|line| host.take(&line, &written)),
            4 => {
                let credit = host.got.saturating_sub(host.credited).min(number * 512);
                host.credited += credit;
                outbox.credit(credit as u64);
            }
            5 => {
                outbox.rewind();
                host.skip = host.got - host.credited;
            }
            // A host that is not in its senses gives credit for what it never got; the agent's memory stays bounded.
            _ if number == 255 => {
                outbox.credit(u64::MAX);
                assert!(outbox.room() as u64 <= OUTPUT_CREDIT_BYTES);
                return;
            }
            _ => {}
        }
        assert!((written.len() - host.credited) as u64 <= OUTPUT_CREDIT_BYTES, "more than the window is kept");
    }
    while let Some(line) = outbox.next_line() {
        host.take(&line, &written);
    }
    assert_eq!(host.got, written.len());
    assert_eq!(host.facts.len(), host.facts_said);
}

#[derive(Default)]
struct Host {
    got: usize,
    credited: usize,
    /// Bytes that it had before its connection broke.
    skip: usize,
    facts: std::collections::BTreeSet<u32>,
    facts_said: usize,
}

impl Host {
    fn take(&mut self, line: &[u8], written: &[u8]) {
        assert!(line.len() <= LINE_BYTES_MAX);
        match serde_json::from_slice(line).expect("an event") {
            AgentEvent::Output { base64, .. } => {
                let bytes = STANDARD.decode(base64).expect("base64");
                let known = self.skip.min(bytes.len());
                self.skip -= known;
                let expected = written.get(self.got..self.got + bytes.len() - known);
                assert!(expected == Some(&bytes[known..]), "output is lost, doubled or out of order");
                self.got += bytes.len() - known;
            }
            AgentEvent::Started { task, .. } => drop(self.facts.insert(task)),
            other => panic!("{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_testing::fuzzing::replay;

    #[test]
    fn commands_are_whole_lines_however_they_arrive() {
        replay("agent_commands", 50, agent_commands);
    }

    #[test]
    fn a_host_that_loses_its_connections_loses_no_output() {
        replay("agent_outbox", 40, agent_outbox);
    }
}
