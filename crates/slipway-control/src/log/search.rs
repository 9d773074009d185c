//! Which lines of a service's log a reader wants, and where it begins to read. All of it blocks: it reads files.

use super::segment::{Chunk, Cursor, SegmentLog};
use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use slipway_types::TimestampMs;
use slipway_types::log::PATTERN_BYTES_MAX;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;

/// Of a compiled pattern, and of what its search remembers: a pattern of people takes some KB.
const PATTERN_MEMORY_MAX: usize = 1 << 20;
/// Lines of several replicas, and of a clock that was set back a little, do not stand in the order of their instants.
const DISORDER_MS: TimestampMs = 60_000;

/// What a line must be. `default()`: any.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    pub(crate) since: Option<TimestampMs>,
    pub(crate) until: Option<TimestampMs>,
    pub(crate) pattern: Option<Regex>,
    /// Id of a replica, or its number.
    pub(crate) replica: Option<String>,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) cursor: Cursor,
    /// Older lines that it would have wanted are gone.
    pub(crate) removed: bool,
}

/// What is looked at of a line.
#[derive(Deserialize)]
struct Probe<'l> {
    at: TimestampMs,
    #[serde(borrow, default)]
    replica: Option<Cow<'l, str>>,
    #[serde(borrow)]
    line: Cow<'l, str>,
}

/// # Errors
/// What is wrong with it, in words.
pub(crate) fn pattern(text: &str) -> Result<Regex, String> {
    if text.len() > PATTERN_BYTES_MAX {
        return Err(format!("the pattern is longer than {PATTERN_BYTES_MAX} bytes"));
    }
    RegexBuilder::new(text)
        .size_limit(PATTERN_MEMORY_MAX)
        .dfa_size_limit(PATTERN_MEMORY_MAX)
        .build()
        .map_err(|error| format!("`{text}` is no regular expression: {error}"))
}

impl Query {
    /// What is no whole record, such as one that a crash cut off, matches nothing.
    pub(crate) fn matches(&self, line: &[u8]) -> bool {
        let Ok(probe) = serde_json::from_slice::<Probe<'_>>(line) else { return false };
        self.since.is_none_or(|since| probe.at >= since)
            && self.until.is_none_or(|until| probe.at < until)
            && self.replica.as_deref().is_none_or(|wanted| is_replica(probe.replica.as_deref(), wanted))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&probe.line))
    }

    /// Opens the beginnings of segments, newest first, as far back as it must.
    pub(crate) fn start(&self, log: &SegmentLog) -> io::Result<Start> {
        let segments = log.segments()?;
        let Some(first) = segments.first().copied() else {
            return Ok(Start { cursor: Cursor::default(), removed: false });
        };
        for segment in segments.iter().rev().copied().filter(|_| self.since.is_some()) {
            let begins_at = at(&log.first_line(segment)?);
            if begins_at.zip(self.since).is_some_and(|(at, since)| at <= since.saturating_sub(DISORDER_MS)) {
                return Ok(Start { cursor: Cursor { segment, offset: 0 }, removed: false });
            }
        }
        let oldest_at = at(&log.first_line(first)?);
        let removed = first > 0 && oldest_at.zip(self.since).is_none_or(|(at, since)| since < at);
        Ok(Start { cursor: Cursor { segment: first, offset: 0 }, removed })
    }

    /// The place of the last `count` lines behind `start`. Fewer than that: `start` itself.
    pub(crate) fn tail(&self, log: &SegmentLog, start: Start, count: usize) -> io::Result<Start> {
        if count == 0 {
            return Ok(Start { cursor: log.end()?, removed: false });
        }
        let mut found = 0;
        for segment in log.segments()?.into_iter().rev().filter(|segment| *segment >= start.cursor.segment) {
            let places = self.places(log, segment, count - found)?;
            found += places.len();
            if found >= count
                && let Some(offset) = places.front()
            {
                return Ok(Start { cursor: Cursor { segment, offset: *offset }, removed: false });
            }
        }
        Ok(start)
    }

    /// Where the last `count` lines of a segment begin.
    fn places(&self, log: &SegmentLog, segment: u64, count: usize) -> io::Result<VecDeque<u64>> {
        let mut places = VecDeque::new();
        let mut cursor = Cursor { segment, offset: 0 };
        loop {
            let chunk = log.read(cursor)?;
            if chunk.bytes.is_empty() || chunk.at.segment != segment {
                return Ok(places);
            }
            for (place, line) in lines(&chunk).filter(|(_, line)| self.matches(line)) {
                places.push_back(place.offset - line.len() as u64);
                if places.len() > count {
                    places.pop_front();
                }
            }
            cursor = chunk.next;
        }
    }

    /// The lines of a chunk that match, each with the place behind it.
    pub(crate) fn select(&self, chunk: &Chunk) -> Vec<u8> {
        let mut selected = Vec::new();
        for (behind, line) in lines(chunk).filter(|(_, line)| self.matches(line)) {
            // A record is an object with several keys.
            selected.extend(format!("{{\"cursor\":\"{}\",", written(behind)).into_bytes());
            selected.extend_from_slice(&line[1..]);
        }
        selected
    }
}

/// Each line with its end, and the place behind it.
fn lines(chunk: &Chunk) -> impl Iterator<Item = (Cursor, &[u8])> {
    let mut offset = chunk.at.offset;
    chunk.bytes.split_inclusive(|byte| *byte == b'\n').map(move |line| {
        offset += line.len() as u64;
        (Cursor { offset, ..chunk.at }, line)
    })
}

fn at(line: &[u8]) -> Option<TimestampMs> {
    serde_json::from_slice::<Probe<'_>>(line).ok().map(|probe| probe.at)
}

/// `dpl-x-1` is meant by itself and by `1`.
pub(crate) fn is_replica(replica: Option<&str>, wanted: &str) -> bool {
    replica.is_some_and(|replica| {
        let is_number = wanted.bytes().all(|byte| byte.is_ascii_digit());
        replica == wanted || (is_number && replica.rsplit('-').next() == Some(wanted))
    })
}

/// As readers are told it.
pub(crate) fn written(cursor: Cursor) -> String {
    format!("{}.{}", cursor.segment, cursor.offset)
}

pub(crate) fn parsed(text: &str) -> Option<Cursor> {
    let (segment, offset) = text.split_once('.')?;
    Some(Cursor { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::Shape;
    use std::sync::Arc;

    const SMALL: Shape = Shape { segment_bytes: 1000, bytes_max: 8000, keep_heads: false };

    /// One line a minute.
    fn filled(dir: &std::path::Path, lines: i64) -> SegmentLog {
        let log = SegmentLog::open(dir.to_owned(), crate::log::STEM, SMALL, Arc::default()).unwrap();
        for n in 0..lines {
            let line = format!("line {n}");
            let record = serde_json::json!({"at": n * 60_000, "replica": format!("d-{}", n % 2 + 1), "stream": "stdout", "line": line});
            log.append(&record.to_string()).unwrap();
        }
        log
    }

    fn found(log: &SegmentLog, query: &Query, tail: Option<usize>) -> Vec<String> {
        let mut start = query.start(log).unwrap();
        if let Some(count) = tail {
            start = query.tail(log, start, count).unwrap();
        }
        let (mut cursor, mut found) = (start.cursor, Vec::new());
        loop {
            let chunk = log.read(cursor).unwrap();
            if chunk.bytes.is_empty() {
                return found;
            }
            let text = String::from_utf8(query.select(&chunk)).unwrap();
            found.extend(text.lines().map(|line| {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                value["line"].as_str().unwrap().to_owned()
            }));
            cursor = chunk.next;
        }
    }

    #[test]
    fn lines_are_chosen_by_time_text_and_replica() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path(), 50);
        let minute = |n: i64| Some(n * 60_000);
        let query = Query { since: minute(40), until: minute(43), ..Query::default() };
        assert_eq!(found(&log, &query, None), ["line 40", "line 41", "line 42"]);
        let query = Query { pattern: Some(pattern("^line .?7$").unwrap()), ..Query::default() };
        assert_eq!(found(&log, &query, None), ["line 7", "line 17", "line 27", "line 37", "line 47"]);
        let query = Query { replica: Some("2".to_owned()), since: minute(46), ..Query::default() };
        assert_eq!(found(&log, &query, None), ["line 47", "line 49"]);
        assert!(pattern("(").unwrap_err().contains("no regular expression"));
        assert!(pattern("(a{1000}){1000}").is_err(), "a pattern has a bound");
    }

    #[test]
    fn a_search_by_time_opens_no_older_segment() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path(), 50);
        let segments = log.segments().unwrap();
        assert!(segments.len() > 3);
        let query = Query { since: Some(48 * 60_000), ..Query::default() };
        let start = query.start(&log).unwrap();
        assert!(start.cursor.segment >= segments[segments.len() - 2], "{start:?} of {segments:?}");
        for older in segments.iter().filter(|segment| **segment < start.cursor.segment) {
            let name = if *older == 0 { "log.ndjson".to_owned() } else { format!("log.{older}.ndjson") };
            let unread = "this would be found, were it read\n";
            std::fs::write(dir.path().join(name), unread).unwrap();
        }
        assert_eq!(found(&log, &query, Some(10)), ["line 48", "line 49"]);
    }

    #[test]
    fn the_last_lines_are_the_last_that_match() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path(), 50);
        assert_eq!(found(&log, &Query::default(), Some(2)), ["line 48", "line 49"]);
        assert_eq!(found(&log, &Query::default(), Some(0)), [""; 0]);
        let query = Query { pattern: Some(pattern("9$").unwrap()), ..Query::default() };
        assert_eq!(found(&log, &query, Some(3)), ["line 29", "line 39", "line 49"]);
        assert_eq!(found(&log, &query, Some(30)).len(), 5);
    }

    #[test]
    fn what_is_gone_is_said_to_who_would_have_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = filled(dir.path(), 500);
        let removed = |since| Query { since, ..Query::default() }.start(&log).unwrap().removed;
        assert!(removed(None) && removed(Some(0)));
        assert!(!removed(Some(499 * 60_000)));
    }

    #[test]
    fn a_cut_record_is_no_line() {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path(), 3));
        let path = dir.path().join("log.ndjson");
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..40 {
            std::fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let log = SegmentLog::open(dir.path().to_owned(), crate::log::STEM, SMALL, Arc::default()).unwrap();
            let lines = if cut == 1 { 3 } else { 2 };
            log.append(r#"{"at":9,"line":"next"}"#).unwrap();
            let found = found(&log, &Query::default(), None);
            assert_eq!((found.len(), found.last().map(String::as_str)), (lines + 1, Some("next")), "{cut}");
        }
    }
}
