//! How fast the output of a sandbox is taken: a bucket that each byte, line and event takes from, and time fills.
//!
//! A line costs the server more than its bytes (it is masked, stamped and stored), so does an event: a program that prints empty
//! lines is no cheaper than one that prints long ones.

use slipway_types::agent::OutputRate;
use std::time::{Duration, Instant};

/// About what the server adds to a line.
const LINE_COST: u64 = 64;
/// About what it costs to pass one event on.
const EVENT_COST: u64 = 128;

#[derive(Debug)]
pub(super) struct Bucket {
    rate: OutputRate,
    /// Below zero: so much was taken too early. Never more than a burst either way.
    level: i64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(rate: OutputRate, now: Instant) -> Self {
        Self { rate, level: signed(rate.burst_bytes), at: now }
    }

    pub(super) fn take(&mut self, output: &[u8], now: Instant) {
        self.fill(now);
        let lines = output.iter().filter(|byte| **byte == b'\n').count() as u64;
        let cost = EVENT_COST + output.len() as u64 + lines * LINE_COST;
        self.level = (self.level - signed(cost)).max(-signed(self.rate.burst_bytes));
    }

    /// How long nothing more is to come. None: it may.
    pub(super) fn pause(&mut self, now: Instant) -> Option<Duration> {
        self.fill(now);
        let missing = u64::try_from(1 - self.level).ok().filter(|missing| *missing > 0)?;
        Some(Duration::from_micros(missing.saturating_mul(1_000_000) / self.rate.bytes_per_second.max(1) + 1))
    }

    fn fill(&mut self, now: Instant) {
        let micros = now.saturating_duration_since(self.at).as_micros();
        let gained = micros * u128::from(self.rate.bytes_per_second) / 1_000_000;
        // What is less than a byte is counted next time.
        if gained > 0 {
            let gained = i64::try_from(gained).unwrap_or(i64::MAX);
            self.level = self.level.saturating_add(gained).min(signed(self.rate.burst_bytes));
            self.at = now;
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let begun = Instant::now();
        let mut bucket = Bucket::new(OutputRate { bytes_per_second: 10_000, burst_bytes: 20_000 }, begun);
        let (mut now, mut taken) = (begun, 0);
        while now < begun + Duration::from_secs(60) {
            match bucket.pause(now) {
                None => {
                    bucket.take(&[b'x'; 1000], now);
                    taken += 1000 + EVENT_COST;
                }
                Some(pause) => now += pause,
            }
        }
        assert!((600_000..=640_000).contains(&taken), "{taken}");
    }

    #[test]
    fn empty_lines_cost_what_the_server_does_with_them() {
        let now = Instant::now();
        let mut bucket = Bucket::new(OutputRate { bytes_per_second: 1000, burst_bytes: 10_000 }, now);
        bucket.take(&[b'\n'; 200], now);
        assert!(bucket.pause(now).is_some_and(|pause| pause > Duration::from_secs(3)));
    }
}
