//! Sizes, durations and instants for people.

use slipway_types::TimestampMs;

/// `532 B`, `12.3 KB`, `1.2 GB`; units are binary, as in the settings.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `40ms`, `12.3s`, `2m05s`, `1h02m`.
pub(crate) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match milliseconds {
        0..1000 => format!("{milliseconds}ms"),
        1000..60_000 => format!("{}.{}s", seconds, milliseconds % 1000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

/// How long ago, in its largest unit: `12s ago`, `3h ago`, `5d ago`.
pub(crate) fn age(instant: TimestampMs, now: TimestampMs) -> String {
    let seconds = now.saturating_sub(instant).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s ago"),
        60..3600 => format!("{}m ago", seconds / 60),
        3600..86_400 => format!("{}h ago", seconds / 3600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// The instant in the machine's time zone: `2026-01-31 12:00:00`.
pub(crate) fn clock(instant: TimestampMs) -> String {
    let zone = jiff::tz::TimeZone::system();
    match jiff::Timestamp::from_millisecond(instant) {
        Ok(instant) => instant.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => instant.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KB"),
            (1_048_575, "1.0 MB"),
            (1536 << 20, "1.5 GB"),
            (u64::MAX, "16777216.0 TB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn durations() {
        for (ms, text) in [(0, "0ms"), (999, "999ms"), (1000, "1.0s"), (12_340, "12.3s"), (125_000, "2m05s")] {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(duration(3_725_000), "1h02m");
    }

    #[test]
    fn ages() {
        for (seconds, text) in [(-5, "0s ago"), (59, "59s ago"), (60, "1m ago"), (7200, "2h ago"), (200_000, "2d ago")]
        {
            assert_eq!(age(0, seconds * 1000), text);
        }
    }
}
