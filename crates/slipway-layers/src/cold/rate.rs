//! One bound on the bytes per second of all transfers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

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

    /// Waits until so many bytes may pass.
    pub(crate) async fn take(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let starts_at = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let starts_at = (*free_at).max(Instant::now());
            *free_at = starts_at + cost;
            starts_at
        };
        tokio::time::sleep_until(starts_at).await;
    }
}
