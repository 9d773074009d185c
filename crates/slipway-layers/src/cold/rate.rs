//! One bound on the bytes per second of all transfers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What is reserved at once. All who wait take turns.
const SLICE_BYTES: usize = 64 * 1024;

/// Clones of the `Arc` around it share the bound. Waiting is in order of asking.
#[derive(Debug)]
pub(crate) struct RateBound {
    bytes_per_second: Option<u64>,
    free_at: Mutex<Instant>,
}

impl RateBound {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second: bytes_per_second.filter(|rate| *rate > 0), free_at: Mutex::new(Instant::now()) }
    }

    pub(crate) fn bytes_per_second(&self) -> Option<u64> {
        self.bytes_per_second
    }

    /// Waits until so many bytes may pass: slice by slice, so that what is small does not wait for all of what is large.
    pub(crate) async fn take(&self, mut bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        while bytes > 0 {
            let slice = bytes.min(SLICE_BYTES);
            let cost = Duration::from_secs_f64(slice as f64 / rate as f64);
            let starts_at = {
                let mut free_at = self.free_at();
                let starts_at = (*free_at).max(Instant::now());
                *free_at = starts_at + cost;
                starts_at
            };
            tokio::time::sleep_until(starts_at).await;
            bytes -= slice;
        }
    }

    /// Whether bytes wait for the bound.
    pub(crate) fn is_behind(&self) -> bool {
        self.bytes_per_second.is_some() && *self.free_at() > Instant::now()
    }

    fn free_at(&self) -> MutexGuard<'_, Instant> {
        self.free_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
