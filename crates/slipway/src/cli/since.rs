//! `--since` and `--until`: a duration back from now, an instant, or a time of this machine's zone.

use jiff::civil::{DateTime, Time};
use jiff::{Timestamp, ToSpan, Zoned};
use slipway_types::TimestampMs;
use slipway_types::settings::DurationMs;

const FORMS: &str = "write a duration like `10m`, an instant like `2026-01-31T12:00:00Z`, or a local time like `2026-01-31 12:00` \
                     or `12:00`";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(DurationMs),
    At(TimestampMs),
}

/// Reads `10m`, `1h`, `2026-01-31T12:00:00Z`, `2026-01-31T12:00:00+02:00`, `2026-01-31 12:00`, `2026-01-31`, `12:00`.
pub(crate) fn parse(text: &str) -> Result<Since, String> {
    parse_at(text.trim(), &Zoned::now())
}

fn parse_at(text: &str, now: &Zoned) -> Result<Since, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(Since::At(instant.as_millisecond()));
    }
    if text.ends_with(|c: char| c.is_ascii_alphabetic()) {
        return DurationMs::parse(text).map(Since::Ago).map_err(|_| FORMS.to_owned());
    }
    local(text, now).map(|at| Since::At(at.timestamp().as_millisecond())).ok_or_else(|| FORMS.to_owned())
}

/// A time without a date is the last one that there was.
fn local(text: &str, now: &Zoned) -> Option<Zoned> {
    if let Some(time) = text.parse::<Time>().ok().filter(|_| text.contains(':') && !text.contains('-')) {
        let today = now.date().to_datetime(time).to_zoned(now.time_zone().clone()).ok()?;
        return if today <= *now { Some(today) } else { today.checked_sub(1.day()).ok() };
    }
    text.parse::<DateTime>().ok()?.to_zoned(now.time_zone().clone()).ok()
}

impl Since {
    /// As an instant, seen from `now`.
    pub(crate) fn instant(self, now: TimestampMs) -> TimestampMs {
        match self {
            Since::Ago(duration) => now.saturating_sub(i64::try_from(duration.0).unwrap_or(i64::MAX)),
            Since::At(instant) => instant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_instants() {
        assert_eq!(parse("10m").map(|since| since.instant(1_000_000)), Ok(400_000));
        assert_eq!(parse("1970-01-01T00:00:01Z"), Ok(Since::At(1000)));
        for bad in ["", "yesterday", "10", "-5m", "25:00", "2026-13-01", "12"] {
            assert!(parse(bad).unwrap_err().contains("`10m`"), "{bad}");
        }
    }

    #[test]
    fn local_times_are_of_this_machine() {
        let now: Zoned = "2026-01-31T12:30:00+02:00[Etc/GMT-2]".parse().unwrap();
        let at = |text| match parse_at(text, &now).unwrap() {
            Since::At(at) => Timestamp::from_millisecond(at).unwrap().to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(at("2026-01-30 08:00"), "2026-01-30T06:00:00Z");
        assert_eq!(at("2026-01-30T08:00:01"), "2026-01-30T06:00:01Z");
        assert_eq!(at("2026-01-30"), "2026-01-29T22:00:00Z");
        assert_eq!((at("12:00"), at("12:31")), ("2026-01-31T10:00:00Z".to_owned(), "2026-01-30T10:31:00Z".to_owned()));
    }
}
