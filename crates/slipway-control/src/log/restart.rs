//! What a log says around the end of a run: its last words, how it ended, and the first words of the run that came after it.
//!
//! Read backwards, segment by segment. Marks are told from what an app prints by their quotes, which a text has escaped.

use super::search::is_replica;
use super::segment::SegmentLog;
use slipway_types::RunId;
use slipway_types::log::{LogLine, LogMark};
use std::io;

/// Which end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Which {
    /// The newest that nobody asked for.
    Latest,
    Of(RunId),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Around {
    Lines(Vec<String>),
    /// The run goes on.
    Runs,
    Unknown,
}

/// At most `count` lines before and behind it.
pub(crate) fn around(log: &SegmentLog, which: &Which, replica: Option<&str>, count: usize) -> io::Result<Around> {
    let segments = log.segments()?;
    for (index, segment) in segments.iter().enumerate().rev() {
        let text = log.whole_segment(*segment)?;
        if let Some((begin, end, mark)) = find_end(&text, which, replica) {
            let older = &segments[..index];
            let mut lines = before(log, older, &text[..begin], &mark, count)?;
            lines.push(text[begin..end].to_owned());
            behind(log, &segments[index + 1..], &text[end..], &mark, count, &mut lines)?;
            return Ok(Around::Lines(lines));
        }
    }
    let Which::Of(run) = which else { return Ok(Around::Unknown) };
    Ok(if last_number(log, run)?.is_some() { Around::Runs } else { Around::Unknown })
}

/// The number of the newest line of a run that is written.
pub(crate) fn last_number(log: &SegmentLog, run: &RunId) -> io::Result<Option<u64>> {
    let needle = of_run(run);
    for segment in log.segments()?.into_iter().rev() {
        let text = log.whole_segment(segment)?;
        let mut number = None;
        backwards(&text, &needle, |line, _| {
            number = line.number.filter(|_| line.run.as_ref() == Some(run));
            number.is_some()
        });
        if number.is_some() {
            return Ok(number);
        }
    }
    Ok(None)
}

fn of_run(run: &RunId) -> String {
    format!("\"run\":\"{run}\"")
}

/// Where its line begins and ends, and what it says.
fn find_end(text: &str, which: &Which, replica: Option<&str>) -> Option<(usize, usize, LogLine)> {
    let needle = match which {
        Which::Latest => r#""mark":"ended""#.to_owned(),
        Which::Of(run) => of_run(run),
    };
    let mut found = None;
    backwards(text, &needle, |line, (begin, end)| {
        let is_it = match which {
            Which::Latest => line.mark == Some(LogMark::Ended),
            Which::Of(run) => {
                matches!(line.mark, Some(LogMark::Ended | LogMark::Stopped)) && line.run.as_ref() == Some(run)
            }
        };
        let of = line.replica.as_ref().map(slipway_types::ReplicaId::as_str);
        let wanted = is_it && replica.is_none_or(|wanted| is_replica(of, wanted));
        if wanted {
            found = Some((begin, end, line));
        }
        wanted
    });
    found
}

/// Shows the lines with `needle`, last first, each with where it begins and ends, until `is_it`.
fn backwards(text: &str, needle: &str, mut is_it: impl FnMut(LogLine, (usize, usize)) -> bool) {
    let mut rest = text;
    while let Some(place) = rest.rfind(needle) {
        let begin = text[..place].rfind('\n').map_or(0, |before| before + 1);
        let end = text[place..].find('\n').map_or(text.len(), |behind| place + behind + 1);
        if let Ok(line) = serde_json::from_str(&text[begin..end])
            && is_it(line, (begin, end))
        {
            return;
        }
        rest = &text[..begin];
    }
}

/// The last lines of the run.
fn before(log: &SegmentLog, older: &[u64], text: &str, mark: &LogLine, count: usize) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut begun = false;
    let mut texts = older.iter().rev();
    let mut text = text.to_owned();
    while let Some(run) = mark.run.as_ref().filter(|_| lines.len() < count && !begun) {
        backwards(&text, &of_run(run), |line, (begin, end)| {
            begun |= line.mark == Some(LogMark::Started);
            if !begun && line.mark.is_none() && line.run.as_ref() == Some(run) {
                lines.push(text[begin..end].to_owned());
            }
            begun || lines.len() >= count
        });
        let Some(segment) = texts.next() else { break };
        text = log.whole_segment(*segment)?;
    }
    lines.reverse();
    Ok(lines)
}

/// The start of the next run of the replica, and its first lines.
fn behind(
    log: &SegmentLog,
    newer: &[u64],
    text: &str,
    mark: &LogLine,
    count: usize,
    lines: &mut Vec<String>,
) -> io::Result<()> {
    let mut next: Option<RunId> = None;
    let most = lines.len() + count + 1;
    let mut texts = newer.iter();
    let mut text = text.to_owned();
    loop {
        for (line, text) in text.split_inclusive('\n').filter_map(|text| Some((parsed(text)?, text))) {
            let begins = line.mark == Some(LogMark::Started) && line.replica == mark.replica;
            let is_first = begins && next.is_none();
            if is_first {
                next.clone_from(&line.run);
            }
            if next.is_some() && line.run == next {
                lines.push(text.to_owned());
            }
            let ends = matches!(line.mark, Some(LogMark::Ended | LogMark::Stopped)) && line.run == next;
            if lines.len() >= most || (next.is_some() && ends) || (begins && !is_first) {
                return Ok(());
            }
        }
        let Some(segment) = texts.next() else { return Ok(()) };
        text = log.whole_segment(*segment)?;
    }
}

fn parsed(text: &str) -> Option<LogLine> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::Shape;
    use slipway_types::ReplicaId;
    use slipway_types::log::LogStream;
    use std::sync::Arc;

    fn run(number: u8) -> RunId {
        RunId::of_digest([number; 5])
    }

    fn append(log: &SegmentLog, replica: &str, number: u8, mark: Option<LogMark>, text: &str) {
        let replica = ReplicaId::parse(replica).ok();
        let line =
            LogLine { replica, run: Some(run(number)), stream: LogStream::Stdout, ..LogLine::of_system(1, mark, text) };
        let line = LogLine { number: mark.is_none().then_some(7), ..line };
        log.append(&serde_json::to_string(&line).unwrap()).unwrap();
    }

    /// Two replicas; the first crashed twice, the second goes on.
    fn filled(log: &SegmentLog) {
        append(log, "d-2", 9, Some(LogMark::Started), "started");
        for number in 1..4 {
            append(log, "d-1", number, Some(LogMark::Started), "started");
            for n in 0..20 {
                append(log, "d-1", number, None, &format!("{number} says {n}"));
                append(log, "d-2", 9, None, r#"other "mark":"ended""#);
            }
            if number < 3 {
                append(log, "d-1", number, Some(LogMark::Ended), "exit code 1");
                append(log, "d-2", 9, None, "between");
            }
        }
    }

    fn texts(around: Around) -> Vec<String> {
        let Around::Lines(lines) = around else { panic!("{around:?}") };
        lines.iter().map(|line| parsed(line).unwrap().line).collect()
    }

    #[test]
    fn the_last_words_the_end_and_the_first_words_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        // So small that both sides reach into other segments.
        let shape = Shape { segment_bytes: 600, bytes_max: 1 << 20, keep_heads: false };
        let log = SegmentLog::open(dir.path().to_owned(), crate::log::STEM, shape, Arc::default()).unwrap();
        filled(&log);
        let latest = texts(around(&log, &Which::Latest, None, 2).unwrap());
        assert_eq!(latest, ["2 says 18", "2 says 19", "exit code 1", "started", "3 says 0", "3 says 1"]);
        let first = texts(around(&log, &Which::Of(run(1)), Some("1"), 100).unwrap());
        assert_eq!((first.len(), first[0].as_str(), first[20].as_str()), (43, "1 says 0", "exit code 1"));
        assert_eq!(first[42], "exit code 1", "up to the end of the next");
        assert_eq!(around(&log, &Which::Of(run(3)), None, 2).unwrap(), Around::Runs);
        assert_eq!(around(&log, &Which::Of(run(8)), None, 2).unwrap(), Around::Unknown);
        assert_eq!(around(&log, &Which::Latest, Some("2"), 2).unwrap(), Around::Unknown);
        assert_eq!((last_number(&log, &run(2)).unwrap(), last_number(&log, &run(8)).unwrap()), (Some(7), None));
    }
}
