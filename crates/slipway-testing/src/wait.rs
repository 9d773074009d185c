//! Waiting for a condition, with a bound: the only form of waiting that a test may use.

use std::time::{Duration, Instant};

/// Between two looks at a condition that has no event to wait on.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `condition` gives a value; panics with `what` after `bound`.
pub fn until<T>(what: &str, bound: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < bound, "waited {bound:?} in vain for: {what}");
        std::thread::sleep(LOOK_INTERVAL);
    }
}
