//! What the edge counts. Each thread has counts of its own, so that no request waits for another thread's; who asks adds them up.

use http::StatusCode;
use slipway_types::traffic::{HEAD_BOUNDS_MS, Traffic};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A view of the counts, also while the edge runs. Clones are of the same edge.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Vec<Arc<Counts>>>>);

impl Meter {
    /// The numbers of all threads. Each is right; they are not of one instant.
    pub fn read(&self) -> Traffic {
        let mut traffic = Traffic::default();
        for counts in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            counts.add_to(&mut traffic);
        }
        traffic
    }

    /// Those of one more thread.
    pub(crate) fn thread(&self) -> Arc<Counts> {
        let counts = Arc::new(Counts::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(counts.clone());
        counts
    }
}

/// Of one thread. Atomics because others read them: nobody else writes.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    accepted: AtomicU64,
    closed: AtomicU64,
    began: AtomicU64,
    ended: AtomicU64,
    answers: [AtomicU64; 5],
    heads: [AtomicU64; HEAD_BOUNDS_MS.len() + 1],
    heads_us: AtomicU64,
    refusals: Mutex<BTreeMap<&'static str, u64>>,
}

impl Counts {
    pub(crate) fn connection_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    pub(crate) fn connection_closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    pub(crate) fn request_began(&self) {
        self.began.fetch_add(1, Relaxed);
    }

    pub(crate) fn request_ended(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    /// `after`: since the head of the request.
    pub(crate) fn answered(&self, status: StatusCode, after: Duration) {
        if let Some(answers) = self.answers.get(usize::from(status.as_u16() / 100).wrapping_sub(1)) {
            answers.fetch_add(1, Relaxed);
        }
        let bucket = HEAD_BOUNDS_MS.partition_point(|bound| Duration::from_millis(*bound) < after);
        self.heads[bucket].fetch_add(1, Relaxed);
        self.heads_us.fetch_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn refused(&self, code: &'static str) {
        *self.refusals.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    fn add_to(&self, traffic: &mut Traffic) {
        // The ends before the beginnings: who is open is never fewer than none.
        let (closed, ended) = (self.closed.load(Relaxed), self.ended.load(Relaxed));
        let accepted = self.accepted.load(Relaxed);
        traffic.connections_accepted += accepted;
        traffic.connections_open += accepted.saturating_sub(closed);
        traffic.requests_open += self.began.load(Relaxed).saturating_sub(ended);
        for (sum, count) in traffic.answers.iter_mut().zip(&self.answers) {
            *sum += count.load(Relaxed);
        }
        for (sum, count) in traffic.heads.iter_mut().zip(&self.heads) {
            *sum += count.load(Relaxed);
        }
        traffic.heads_us += self.heads_us.load(Relaxed);
        for (code, count) in self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *traffic.refusals.entry((*code).to_owned()).or_default() += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_in_the_first_bucket_that_holds_it_and_threads_are_added_up() {
        let meter = Meter::default();
        let (one, other) = (meter.thread(), meter.thread());
        one.answered(StatusCode::OK, Duration::from_millis(1));
        one.answered(StatusCode::NOT_FOUND, Duration::from_micros(1_001));
        other.answered(StatusCode::OK, Duration::from_secs(31));
        other.answered(StatusCode::from_u16(999).unwrap(), Duration::ZERO);
        other.refused("no-such-host");
        one.refused("no-such-host");
        let traffic = meter.read();
        assert_eq!(traffic.answers, [0, 2, 0, 1, 0]);
        assert_eq!(traffic.heads, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(traffic.heads_us, 31_002_001);
        assert_eq!(traffic.refusals, [("no-such-host".to_owned(), 2)].into());
    }
}
