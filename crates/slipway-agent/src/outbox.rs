//! What the host still has to get, in order, and what of it may have been lost on the way.
//!
//! Credit is the receipt: a credited byte reached the host, and so did every event before it. Everything else that was sent is
//! kept, and a new connection gets it again from the first byte that was not credited. So a break loses nothing; a host that lives
//! through it skips as many output bytes as it had got but not credited, and a repeated `exited` names the same task.
//! Tasks' pipes are read only where the window has room, so kept output is bounded by the window.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use slipway_types::agent::{AgentEvent, LINE_BYTES_MAX, OUTPUT_CHUNK_BYTES_MAX, OUTPUT_CREDIT_BYTES, Stream};
use std::collections::VecDeque;

/// Events that are kept for a new connection; the oldest sent one goes first. A task has two, and few tasks end without output.
const EVENTS_KEPT_MAX: usize = 1024;

#[derive(Debug)]
enum Entry {
    Event(AgentEvent),
    Output { task: u32, stream: Stream, bytes: Vec<u8> },
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Sent on this connection, not known to have arrived.
    sent: VecDeque<Entry>,
    unsent: VecDeque<Entry>,
    sent_bytes: u64,
    unsent_bytes: u64,
    /// The first so many of the unsent bytes were sent on an earlier connection.
    again_bytes: u64,
    /// Credit for bytes that were not sent yet, or not yet again.
    ahead_bytes: u64,
}

impl Outbox {
    pub(crate) fn push_event(&mut self, event: AgentEvent) {
        self.unsent.push_back(Entry::Event(event));
    }

    pub(crate) fn push_output(&mut self, task: u32, stream: Stream, bytes: &[u8]) {
        self.unsent_bytes += bytes.len() as u64;
        append(&mut self.unsent, task, stream, bytes);
    }

    /// How many bytes may be read from a task now.
    pub(crate) fn room(&self) -> usize {
        let window = OUTPUT_CREDIT_BYTES.saturating_add(self.ahead_bytes);
        let by_credit = window.saturating_sub(self.sent_bytes + self.unsent_bytes);
        // A host may credit much ahead; what waits here stays bounded all the same.
        let by_memory = OUTPUT_CREDIT_BYTES.saturating_sub(self.unsent_bytes);
        usize::try_from(by_credit.min(by_memory)).unwrap_or(usize::MAX).min(OUTPUT_CHUNK_BYTES_MAX)
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.unsent.is_empty()
    }

    /// The next line to write, newline included.
    pub(crate) fn next_line(&mut self) -> Option<Vec<u8>> {
        let entry = self.unsent.pop_front()?;
        let line = match entry {
            Entry::Event(event) => {
                let line = encode(&event);
                self.keep_event(event);
                line
            }
            Entry::Output { task, stream, bytes } => {
                let line = encode(&AgentEvent::Output { task, stream, base64: STANDARD.encode(&bytes) });
                self.unsent_bytes -= bytes.len() as u64;
                self.again_bytes = self.again_bytes.saturating_sub(bytes.len() as u64);
                self.sent_bytes += bytes.len() as u64;
                append(&mut self.sent, task, stream, &bytes);
                line
            }
        };
        let ahead = std::mem::take(&mut self.ahead_bytes);
        self.credit(ahead);
        Some(line)
    }

    pub(crate) fn credit(&mut self, bytes: u64) {
        let credit = self.ahead_bytes.saturating_add(bytes);
        let arrived = credit.min(self.sent_bytes);
        forget(&mut self.sent, arrived);
        self.sent_bytes -= arrived;
        self.ahead_bytes = credit - arrived;
    }

    /// For a new connection: what may have been lost is to be sent again, first.
    pub(crate) fn rewind(&mut self) {
        self.again_bytes += self.sent_bytes;
        self.unsent_bytes += std::mem::take(&mut self.sent_bytes);
        self.sent.append(&mut self.unsent);
        std::mem::swap(&mut self.sent, &mut self.unsent);
        // Credited on the connection that broke, before it came to them: the host had them from one before that.
        let arrived = self.ahead_bytes.min(self.again_bytes);
        forget(&mut self.unsent, arrived);
        self.unsent_bytes -= arrived;
        self.again_bytes -= arrived;
        self.ahead_bytes -= arrived;
    }

    fn keep_event(&mut self, event: AgentEvent) {
        let is_event = |entry: &Entry| matches!(entry, Entry::Event(_));
        self.sent.push_back(Entry::Event(event));
        if self.sent.iter().filter(|entry| is_event(entry)).count() > EVENTS_KEPT_MAX
            && let Some(oldest) = self.sent.iter().position(is_event)
        {
            self.sent.remove(oldest);
        }
    }
}

/// Drops that many bytes, which are there, and every event before them.
fn forget(entries: &mut VecDeque<Entry>, mut left: u64) {
    while left > 0 {
        let Some(mut entry) = entries.pop_front() else { return };
        let Entry::Output { bytes, .. } = &mut entry else { continue };
        let taken = left.min(bytes.len() as u64);
        bytes.drain(..usize::try_from(taken).unwrap_or(bytes.len()));
        left -= taken;
        if !bytes.is_empty() {
            entries.push_front(entry);
        }
    }
}

/// Joins neighbours of one stream up to the size of a chunk, so that single bytes do not become as many entries.
fn append(entries: &mut VecDeque<Entry>, task: u32, stream: Stream, new: &[u8]) {
    if let Some(Entry::Output { task: last_task, stream: last_stream, bytes }) = entries.back_mut()
        && (*last_task, *last_stream) == (task, stream)
        && bytes.len() + new.len() <= OUTPUT_CHUNK_BYTES_MAX
    {
        bytes.extend_from_slice(new);
        return;
    }
    entries.push_back(Entry::Output { task, stream, bytes: new.to_vec() });
}

/// One line. An event that can't be a line within the bound is replaced by a refusal, which can.
pub(crate) fn encode(event: &AgentEvent) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    if line.is_empty() || line.len() >= LINE_BYTES_MAX {
        line = br#"{"event":"refused","message":"an event was too long to send"}"#.to_vec();
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox) -> Vec<String> {
        std::iter::from_fn(|| outbox.next_line())
            .map(|line| match serde_json::from_slice(&line).unwrap() {
                AgentEvent::Output { base64, .. } => String::from_utf8(STANDARD.decode(base64).unwrap()).unwrap(),
                AgentEvent::Exited { task, .. } => format!("exited {task}"),
                AgentEvent::Started { task, .. } => format!("started {task}"),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn exited(task: u32) -> AgentEvent {
        AgentEvent::Exited { task, code: Some(0), signal: None, out_of_memory: false, disk_full: false }
    }

    #[test]
    fn a_new_connection_gets_what_was_not_credited() {
        let mut outbox = Outbox::default();
        outbox.push_event(AgentEvent::Started { task: 1, pid: 7 });
        outbox.push_output(1, Stream::Stdout, b"abc");
        outbox.push_output(1, Stream::Stdout, b"def");
        outbox.push_event(exited(1));
        assert_eq!(drain(&mut outbox), ["started 1", "abcdef", "exited 1"]);
        outbox.credit(2);
        outbox.push_output(2, Stream::Stderr, b"new");
        outbox.rewind();
        assert_eq!(drain(&mut outbox), ["cdef", "exited 1", "new"], "the credit proves that `started` arrived");
        outbox.credit(7);
        outbox.rewind();
        assert_eq!(drain(&mut outbox), [] as [&str; 0]);
    }

    #[test]
    fn credit_that_comes_before_the_bytes_came_again_counts_after_the_next_break() {
        let mut outbox = Outbox::default();
        outbox.push_output(1, Stream::Stdout, b"abcdef");
        assert_eq!(drain(&mut outbox), ["abcdef"]);
        outbox.rewind();
        outbox.credit(4);
        outbox.rewind();
        assert_eq!(drain(&mut outbox), ["ef"], "the host had the others and said so");
    }

    #[test]
    fn the_window_closes_and_credit_opens_it() {
        let mut outbox = Outbox::default();
        let chunk = vec![b'x'; OUTPUT_CHUNK_BYTES_MAX];
        let fill = |outbox: &mut Outbox| {
            let mut total = 0;
            while outbox.room() > 0 {
                let length = outbox.room();
                outbox.push_output(1, Stream::Stdout, &chunk[..length]);
                drain(outbox);
                total += length as u64;
            }
            total
        };
        assert_eq!(fill(&mut outbox), OUTPUT_CREDIT_BYTES);
        outbox.credit(5);
        assert_eq!(fill(&mut outbox), 5);
        outbox.rewind();
        assert_eq!(outbox.room(), 0, "a new connection does not open the window");
        outbox.credit(2 * OUTPUT_CREDIT_BYTES);
        assert_eq!(outbox.room(), 0, "credit ahead does not make it keep more than a window unsent");
        drain(&mut outbox);
        assert_eq!(fill(&mut outbox), 2 * OUTPUT_CREDIT_BYTES);
    }
}
