//! When a replica that ended is started again: soon at first, then ever later, so that an app that always exits costs the host
//! nothing. Replicas that end together, because all of them lack the same database, do not start together.

use slipway_types::ReplicaId;
use slipway_types::host::Restart;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// After the first end since it ran well: a start takes longer than this.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// After the second, and doubled with each further one.
const PAUSE_SECOND: Duration = Duration::from_secs(1);
/// What an app lacks is missed for at most that long once it is back.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Up to this part of a pause is added to it, another one for each replica.
const JITTER_PARTS: u32 = 4;
/// A replica that was ready for this long has run well: what ends it then is not what ended it before.
const SETTLED_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Backoff {
    replica: ReplicaId,
    crashes: u32,
}

impl Backoff {
    pub(super) fn new(replica: ReplicaId) -> Self {
        Self { replica, crashes: 0 }
    }

    /// It ended; it had been ready for that long.
    pub(super) fn ended(&mut self, was_ready_for: Duration) -> Restart {
        if was_ready_for >= SETTLED_AFTER {
            self.crashes = 0;
        }
        self.crashes = self.crashes.saturating_add(1);
        let pause = pause(self.crashes);
        let pause = pause + pause.mul_f64(self.jitter() / f64::from(JITTER_PARTS));
        Restart { crashes: self.crashes, pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) }
    }

    /// 0 to 1, by replica and attempt. Nothing secret depends on it.
    fn jitter(&self) -> f64 {
        let mut hasher = DefaultHasher::new();
        (self.replica.as_str(), self.crashes).hash(&mut hasher);
        f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}

fn pause(crashes: u32) -> Duration {
    match crashes.checked_sub(2) {
        None => PAUSE_FIRST,
        Some(doubled) => PAUSE_SECOND.saturating_mul(2_u32.saturating_pow(doubled)).min(PAUSE_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(name: &str) -> Backoff {
        Backoff::new(ReplicaId::parse(name).unwrap())
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_it_ran_well() {
        let mut backoff = backoff("dpl-1-1");
        let mut pauses = || backoff.ended(Duration::from_secs(1));
        for (crashes, least_ms) in
            [(1, 100), (2, 1000), (3, 2000), (4, 4000), (5, 8000), (6, 16_000), (7, 32_000), (8, 60_000), (9, 60_000)]
        {
            let restart = pauses();
            assert_eq!(restart.crashes, crashes);
            let most_ms = least_ms + least_ms / u64::from(JITTER_PARTS);
            assert!((least_ms..=most_ms).contains(&restart.pause_ms), "{restart:?}");
            assert_eq!(restart.is_crash_loop(), crashes >= 3);
        }
        assert_eq!(backoff.ended(SETTLED_AFTER - Duration::from_millis(1)).crashes, 10);
        let settled = backoff.ended(SETTLED_AFTER);
        assert!(settled.crashes == 1 && settled.pause_ms <= 125 && !settled.is_crash_loop(), "{settled:?}");
    }

    #[test]
    fn replicas_that_end_together_do_not_start_together() {
        let pause = |number: u32| {
            let mut backoff = backoff(&format!("dpl-1-{number}"));
            (0..8).map(|_| backoff.ended(Duration::ZERO).pause_ms).last().unwrap()
        };
        let pauses: std::collections::BTreeSet<_> = (1..=32).map(pause).collect();
        assert!(pauses.len() > 24, "{pauses:?}");
        let (first, last) = (pauses.first().unwrap(), pauses.last().unwrap());
        assert!(last - first > 7_000, "spread over a quarter of a minute: {pauses:?}");
        assert_eq!(pause(7), pause(7), "no chance is in it");
    }
}
