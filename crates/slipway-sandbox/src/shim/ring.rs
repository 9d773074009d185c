//! The events that no supervisor has acknowledged, in order, within a bound.
//!
//! Beyond the bound the oldest output goes, and an event in its place says how much. What a task did (started,
//! exited) never goes: it is bounded by the tasks that a supervisor asked for.

use crate::event::SandboxEvent;
use std::collections::VecDeque;
use std::sync::Arc;

/// Enough for hours of an ordinary app's log while the server is upgraded.
pub(super) const RING_BYTES_MAX: u64 = 8 << 20;
/// What an event takes beside its output.
pub(super) const EVENT_BYTES: u64 = 128;

#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) event: Arc<SandboxEvent>,
}

#[derive(Debug, Default)]
pub(super) struct Ring {
    records: VecDeque<Record>,
    last: u64,
    bytes: u64,
    /// The newest that the present supervisor was given.
    given: u64,
}

impl Ring {
    pub(super) fn push(&mut self, event: SandboxEvent) {
        self.last += 1;
        self.bytes += size(&event);
        self.records.push_back(Record { sequence: self.last, event: Arc::new(event) });
        while self.bytes > RING_BYTES_MAX && self.drop_oldest() {}
    }

    /// The first event behind `sequence`.
    pub(super) fn after(&self, sequence: u64) -> Option<Record> {
        let at = self.records.partition_point(|record| record.sequence <= sequence);
        self.records.get(at).cloned()
    }

    /// The present supervisor has all up to `sequence`, and did not say so yet.
    pub(super) fn give(&mut self, sequence: u64) {
        self.given = sequence;
    }

    /// Forgets everything up to `sequence`.
    pub(super) fn acknowledge(&mut self, sequence: u64) {
        while self.records.front().is_some_and(|record| record.sequence <= sequence) {
            if let Some(record) = self.records.pop_front() {
                self.bytes -= size(&record.event);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of output and a little for each event.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Drops the oldest event that may go, adding it to the gap right before it. False: none may go. What the supervisor was given
    /// is not in a gap that it is told of later: it would count that twice.
    fn drop_oldest(&mut self) -> bool {
        let droppable = |event: &SandboxEvent| {
            matches!(
                event,
                SandboxEvent::Output { .. }
                    | SandboxEvent::Skipped { .. }
                    | SandboxEvent::Listening { .. }
                    | SandboxEvent::ValuesWritten { .. }
                    | SandboxEvent::Refused { .. }
            )
        };
        let Some(at) = self.records.iter().position(|record| droppable(&record.event)) else { return false };
        let lost = output_bytes(&self.records[at].event);
        let is_new = self.records[at].sequence > self.given;
        // A guest names any number of bytes that it left out.
        self.bytes -= size(&self.records[at].event);
        let gap_before = at.checked_sub(1).and_then(|before| match *self.records[before].event {
            SandboxEvent::Dropped { bytes } if (self.records[before].sequence > self.given) == is_new => Some(bytes),
            _ => None,
        });
        self.records[at].event =
            Arc::new(SandboxEvent::Dropped { bytes: lost.saturating_add(gap_before.unwrap_or(0)) });
        match gap_before {
            Some(_) => drop(self.records.remove(at - 1)),
            None => self.bytes += EVENT_BYTES,
        }
        true
    }
}

fn output_bytes(event: &SandboxEvent) -> u64 {
    match event {
        SandboxEvent::Output { bytes, .. } => bytes.len() as u64,
        SandboxEvent::Skipped { bytes, .. } => *bytes,
        _ => 0,
    }
}

pub(super) fn size(event: &SandboxEvent) -> u64 {
    let more = match event {
        SandboxEvent::Output { bytes, .. } => bytes.len(),
        SandboxEvent::Listening { sockets } => sockets.len() * 32,
        SandboxEvent::Refused { message } | SandboxEvent::StartFailed { message, .. } => message.len(),
        SandboxEvent::ValuesWritten { trouble, .. } => trouble.as_ref().map_or(0, String::len),
        _ => 0,
    };
    EVENT_BYTES + more as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_types::agent::Stream;

    fn output(task: u32, bytes: usize) -> SandboxEvent {
        SandboxEvent::Output { task, stream: Stream::Stdout, bytes: vec![0; bytes] }
    }

    fn all(ring: &Ring) -> Vec<Record> {
        let mut last = 0;
        std::iter::from_fn(|| ring.after(last).inspect(|record| last = record.sequence)).collect()
    }

    #[test]
    fn nothing_is_lost_within_the_bound() {
        let mut ring = Ring::default();
        (0..100).for_each(|task| ring.push(output(task, 1000)));
        ring.acknowledge(40);
        let records = all(&ring);
        assert_eq!((records.len(), records[0].sequence, records[59].sequence), (60, 41, 100));
        ring.acknowledge(100);
        assert!(ring.is_empty());
        assert_eq!(ring.bytes(), 0);
    }

    #[test]
    fn a_gap_says_how_much_it_swallowed_and_facts_stay() {
        let mut ring = Ring::default();
        ring.push(SandboxEvent::Started { task: 1, pid: 7 });
        let chunks = 2 * RING_BYTES_MAX / 32768;
        (0..chunks).for_each(|_| ring.push(output(1, 32768)));
        assert!(ring.bytes() <= RING_BYTES_MAX);
        let records = all(&ring);
        assert_eq!(*records[0].event, SandboxEvent::Started { task: 1, pid: 7 });
        let SandboxEvent::Dropped { bytes } = *records[1].event else { panic!("{:?}", records[1]) };
        let held: u64 = records.iter().map(|record| output_bytes(&record.event)).sum();
        assert_eq!(bytes + held, chunks * 32768);
        assert_eq!(records.last().unwrap().sequence, chunks + 1);
    }

    #[test]
    fn what_was_given_is_in_no_gap_that_is_told_later() {
        let mut ring = Ring::default();
        let chunks = RING_BYTES_MAX / 32768;
        let mut bytes = 0;
        let mut count = |record: &Record| {
            bytes += output_bytes(&record.event);
            if let SandboxEvent::Dropped { bytes: gap } = *record.event {
                bytes += gap;
            }
        };
        (0..chunks).for_each(|_| ring.push(output(1, 32768)));
        let mut given = 0;
        for _ in 0..10 {
            let record = ring.after(given).unwrap();
            given = record.sequence;
            ring.give(given);
            count(&record);
        }
        // Faster than it is taken.
        (0..chunks / 2).for_each(|_| ring.push(output(1, 32768)));
        while let Some(record) = ring.after(given) {
            given = record.sequence;
            count(&record);
        }
        assert_eq!(bytes, (chunks + chunks / 2) * 32768);
        assert!(ring.bytes() <= RING_BYTES_MAX);
    }
}
