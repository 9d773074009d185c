//! How fast the processor's time stamp counter runs.
//!
//! A translated machine reads the host's counter, but has no other clock to measure it by: without being told, its kernel hung in
//! 4 of 9 boots, and told wrong, its time runs wrong.

use std::time::{Duration, Instant};

/// The longer, the more exact: the error is about a microsecond in this time. Most of it passes while the boot is prepared.
const MEASURE_TIME: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
pub(super) struct Counter {
    begun: Instant,
    value: u64,
}

impl Counter {
    pub(super) fn begin() -> Self {
        Self { begun: Instant::now(), value: read() }
    }

    /// Since then, or after the shortest time that is exact enough. None: this processor has no such counter.
    pub(super) fn khz(self) -> Option<u64> {
        std::thread::sleep(MEASURE_TIME.saturating_sub(self.begun.elapsed()));
        let now = Self::begin();
        let nanos = (now.begun - self.begun).as_nanos();
        let ticks = u128::from(now.value.checked_sub(self.value)?);
        u64::try_from(ticks * 1_000_000 / nanos.max(1)).ok().filter(|khz| *khz > 0)
    }
}

#[cfg(target_arch = "x86_64")]
fn read() -> u64 {
    // SAFETY: every 64-bit processor has the instruction; it changes nothing.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn read() -> u64 {
    0
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn two_measurements_agree() {
        let [a, b] = [(), ()].map(|()| Counter::begin().khz().unwrap());
        assert!(a.abs_diff(b) < a / 1000, "{a} kHz, then {b} kHz");
    }
}
