//! How fast the output of a build is read. A build loses no line: one that prints without end waits, and nobody else does.

use std::time::Duration;
use tokio::time::Instant;

/// Bytes a second for ever: a build prints a few MB in all.
const RATE_BYTES: u64 = 4 << 20;
/// And at once.
const BURST_BYTES: u64 = 16 << 20;
/// About what the server adds to a line.
const LINE_COST: u64 = 64;

#[derive(Debug)]
pub(crate) struct Pace {
    /// When all that was read would have come at the rate.
    level_at: Instant,
}

impl Pace {
    pub(crate) fn begin() -> Self {
        Self { level_at: Instant::now() }
    }

    /// Counts what was read, and waits where it was too much.
    pub(crate) async fn take(&mut self, output: &[u8]) {
        tokio::time::sleep_until(self.count(output, Instant::now())).await;
    }

    /// Until when to wait.
    fn count(&mut self, output: &[u8], now: Instant) -> Instant {
        let lines = output.iter().filter(|byte| **byte == b'\n').count() as u64;
        let cost = output.len() as u64 + lines * LINE_COST;
        self.level_at = self.level_at.max(now) + Duration::from_micros(cost * 1_000_000 / RATE_BYTES);
        let burst = Duration::from_secs(BURST_BYTES / RATE_BYTES);
        self.level_at.checked_sub(burst).unwrap_or(self.level_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_a_build_passes_and_then_its_rate_holds() {
        let (begun, mut pace) = (Instant::now(), Pace::begin());
        let chunk = vec![b'x'; 1 << 20];
        let mut now = begun;
        for _ in 0..16 {
            now = now.max(pace.count(&chunk, now));
        }
        assert!(now - begun < Duration::from_millis(100), "{:?}", now - begun);
        for _ in 0..40 {
            now = now.max(pace.count(&chunk, now));
        }
        assert!((9..=11).contains(&(now - begun).as_secs()), "{:?}", now - begun);
    }
}
