//! How fast the processor's time stamp counter runs.
//!
//! A translated machine reads the host's counter, but has no other clock to measure it by: without being told, its kernel hung in
//! 4 of 9 boots, and told wrong, its time runs wrong.

use std::time::{Duration, Instant};

/// The longer, the more exact: the error is about a microsecond in this time. Most of it passes while the boot is prepared.
const MEASURE_TIME: Duration = Duration::from_millis(50);

/// Between two looks at the counter with one at the clock in between: some microseconds. A thread that lost its processor meanwhile
/// took longer, and looks again.
const PAUSE_TICKS_MAX: u64 = 20_000;
/// A machine that is slower than that gives what it can.
const LOOKS_MAX: u32 = 100;

#[derive(Debug, Clone, Copy)]
pub(super) struct Counter {
    begun: Instant,
    value: u64,
}

impl Counter {
    pub(super) fn begin() -> Self {
        let (mut best, mut pause) = Self::look();
        for _ in 1..LOOKS_MAX {
            if pause <= PAUSE_TICKS_MAX {
                break;
            }
            let (again, its_pause) = Self::look();
            if its_pause < pause {
                (best, pause) = (again, its_pause);
            }
        }
        best
    }

    /// Both clocks, and for how many ticks they may be apart.
    fn look() -> (Self, u64) {
        let before = read();
        let begun = Instant::now();
        let pause = read().saturating_sub(before);
        (Self { begun, value: before + pause / 2 }, pause)
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
