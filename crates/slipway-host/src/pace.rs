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
        let lines = output.iter().filter(|byte| **byte == b'\n').count() as u64;
        let cost = output.len() as u64 + lines * LINE_COST;
        self.level_at = self.level_at.max(Instant::now()) + Duration::from_micros(cost * 1_000_000 / RATE_BYTES);
        let burst = Duration::from_secs(BURST_BYTES / RATE_BYTES);
        tokio::time::sleep_until(self.level_at.checked_sub(burst).unwrap_or(self.level_at)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_then_the_rate_holds() {
        let (begun, mut pace) = (Instant::now(), Pace::begin());
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..16 {
            pace.take(&chunk).await;
        }
        assert!(begun.elapsed() < Duration::from_millis(10), "{:?}", begun.elapsed());
        for _ in 0..40 {
            pace.take(&chunk).await;
        }
        assert!((9..=11).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }
}
