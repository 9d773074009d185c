//! `--since`: a duration back from now, or an instant.

use slipway_types::TimestampMs;
use slipway_types::settings::DurationMs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    Ago(DurationMs),
    At(TimestampMs),
}

/// Reads `10m`, `1h`, `2026-01-31T12:00:00Z` or `2026-01-31T12:00:00+02:00`.
pub(crate) fn parse(text: &str) -> Result<Since, String> {
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Since::At(instant.as_millisecond()));
    }
    let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
    let duration = DurationMs::parse(text).ok().filter(|_| has_unit);
    duration
        .map(Since::Ago)
        .ok_or_else(|| "write a duration like `10m`, or an instant like `2026-01-31T12:00:00Z`".into())
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
        for bad in ["", "yesterday", "10", "-5m"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
