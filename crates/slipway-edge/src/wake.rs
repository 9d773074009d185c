//! Requests that wait for a deployment that sleeps.
//!
//! Each holds a place, of which a deployment has a bounded number, and nothing else: its body stays where it is, at the client.
//! One ask goes out however many wait; every new route table makes them look again.

use slipway_types::DeploymentId;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// A deployment that sleeps or is being woken. Shared by its routes, and by tables that follow each other.
#[derive(Debug)]
pub(crate) struct Sleeper {
    deployment: DeploymentId,
    waiting: AtomicUsize,
    asked_at: Mutex<Option<Instant>>,
}

impl Sleeper {
    pub(crate) fn new(deployment: DeploymentId) -> Self {
        Self { deployment, waiting: AtomicUsize::new(0), asked_at: Mutex::new(None) }
    }

    /// None: as many as may wait do.
    pub(crate) fn enter(self: &Arc<Self>, places_max: usize) -> Option<Place> {
        let enter = |waiting: usize| (waiting < places_max).then_some(waiting + 1);
        let entered = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_ok();
        entered.then(|| Place { sleeper: self.clone() })
    }

    fn ask(&self, now: Instant, asks: &Asks, again_after: Duration) {
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        if asked_at.is_none_or(|asked_at| now.saturating_duration_since(asked_at) >= again_after) {
            *asked_at = Some(now);
            asks.add(self.deployment.clone());
        }
    }
}

/// One request that waits.
#[derive(Debug)]
pub(crate) struct Place {
    sleeper: Arc<Sleeper>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sleeper.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What a route without targets says to its requests.
#[derive(Debug)]
pub(crate) struct Waits {
    pub(crate) sleeper: Arc<Sleeper>,
    pub(crate) wait_max: Duration,
    /// Nobody wakes it yet.
    pub(crate) asks: bool,
}

impl Waits {
    pub(crate) fn ask(&self, asks: &Asks, again_after: Duration) {
        if self.asks {
            self.sleeper.ask(Instant::now(), asks, again_after);
        }
    }
}

/// Wakes that are wanted, on their way from the threads to the one task that reports. Each deployment is in it at most once.
#[derive(Debug, Default)]
pub(crate) struct Asks {
    wanted: Mutex<BTreeSet<DeploymentId>>,
    pub(crate) added: Notify,
}

impl Asks {
    fn add(&self, deployment: DeploymentId) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(deployment);
        self.added.notify_one();
    }

    pub(crate) fn take(&self) -> BTreeSet<DeploymentId> {
        std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The wait of one request.
#[derive(Debug)]
pub(crate) struct Waiting {
    _place: Place,
    tables: watch::Receiver<u64>,
    began: Instant,
    wait_max: Duration,
}

impl Waiting {
    /// Knows of the present table: look at it once more before the first wait.
    pub(crate) fn new(place: Place, mut tables: watch::Receiver<u64>, wait_max: Duration) -> Self {
        tables.mark_unchanged();
        Self { _place: place, tables, began: Instant::now(), wait_max }
    }

    pub(crate) fn wait_max(&self) -> Duration {
        self.wait_max
    }

    /// False: the time is over.
    pub(crate) async fn next_table(&mut self) -> bool {
        let left = self.wait_max.saturating_sub(self.began.elapsed());
        // The sender lives as long as any thread of the edge.
        tokio::time::timeout(left, self.tables.changed()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::WAKE_ASK_AGAIN;

    #[test]
    fn places_are_bounded_and_come_back() {
        let sleeper = Arc::new(Sleeper::new(DeploymentId::parse("dpl-1").unwrap()));
        let first = sleeper.enter(2).unwrap();
        let _second = sleeper.enter(2).unwrap();
        assert!(sleeper.enter(2).is_none());
        drop(first);
        assert!(sleeper.enter(2).is_some());
    }

    #[test]
    fn one_ask_goes_out_however_many_wait_and_another_when_nothing_came_of_it() {
        let (asks, now) = (Asks::default(), Instant::now());
        let sleeper = Sleeper::new(DeploymentId::parse("dpl-1").unwrap());
        (0..20).for_each(|_| sleeper.ask(now, &asks, WAKE_ASK_AGAIN));
        assert_eq!(asks.take().len(), 1);
        sleeper.ask(now + WAKE_ASK_AGAIN / 2, &asks, WAKE_ASK_AGAIN);
        assert_eq!(asks.take().len(), 0);
        sleeper.ask(now + WAKE_ASK_AGAIN, &asks, WAKE_ASK_AGAIN);
        assert_eq!(asks.take().len(), 1);
    }
}
