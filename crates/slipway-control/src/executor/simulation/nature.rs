//! The time, the ids and the disk of a simulated server. The time stands still unless the world moves it, and the world moves only
//! while the executor waits; so how long the real database takes changes nothing.

use super::random::Random;
use crate::outside::{Outside, Sleep};
use slipway_store::{Moment, Trouble};
use slipway_types::TimestampMs;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

pub(super) const BEGAN_AT: TimestampMs = 1_750_000_000_000;

#[derive(Debug, Clone)]
pub(super) struct Clock(Arc<Mutex<Time>>);

#[derive(Debug)]
struct Time {
    passed_ms: i64,
    /// Of the clock on the wall.
    wrong_by_ms: i64,
    /// The executor waits, for this at the latest.
    waits_until_ms: Option<i64>,
    ids: Random,
}

impl Clock {
    pub(super) fn new(seed: u64) -> Self {
        let ids = Random::new(seed ^ 0x1d5);
        Self(Arc::new(Mutex::new(Time { passed_ms: 0, wrong_by_ms: 0, waits_until_ms: None, ids })))
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.0.lock().unwrap()
    }

    pub(super) fn passed_ms(&self) -> i64 {
        self.time().passed_ms
    }

    pub(super) fn pass(&self, ms: i64) {
        self.time().passed_ms += ms;
    }

    /// Somebody sets the clock on the wall.
    pub(super) fn set_wrong_by(&self, ms: i64) {
        self.time().wrong_by_ms = ms;
    }

    pub(super) fn forget_wait(&self) {
        self.time().waits_until_ms = None;
    }

    pub(super) fn waits_until_ms(&self) -> Option<i64> {
        self.time().waits_until_ms
    }
}

impl Outside for Clock {
    fn now(&self) -> TimestampMs {
        let time = self.time();
        BEGAN_AT + time.passed_ms + time.wrong_by_ms
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.passed_ms().unsigned_abs())
    }

    fn sleep(&self, time: Duration) -> Sleep<'_> {
        let until_ms = self.passed_ms() + i64::try_from(time.as_millis()).unwrap();
        Box::pin(Wait { clock: self, until_ms })
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        let ids = &mut self.time().ids;
        bytes.iter_mut().for_each(|byte| *byte = ids.next().to_le_bytes()[0]);
        Ok(())
    }
}

/// Polled after everything else that the executor waits for, so a poll means that there is nothing for it to do.
struct Wait<'c> {
    clock: &'c Clock,
    until_ms: i64,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        let mut time = self.clock.time();
        if time.passed_ms >= self.until_ms {
            return Poll::Ready(());
        }
        time.waits_until_ms = Some(self.until_ms);
        Poll::Pending
    }
}

#[derive(Debug, Default)]
pub(super) struct Disk(Mutex<Plan>);

#[derive(Debug, Default)]
struct Plan {
    /// The server is killed at the moment after that many.
    killed_in: Option<u32>,
    killed: bool,
    fails: Fails,
    /// After that many moments.
    fails_in: u32,
    failed: bool,
    commits: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fails {
    #[default]
    Never,
    /// It is full.
    Writes,
    All,
    /// One write, and then no more.
    OneWrite,
    OneRead,
}

impl Disk {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.lock().unwrap()
    }

    pub(super) fn kill_in(&self, moments: Option<u32>) {
        self.plan().killed_in = moments;
    }

    /// True once, when the server was killed at one of its transactions.
    pub(super) fn take_killed(&self) -> bool {
        std::mem::take(&mut self.plan().killed)
    }

    /// No trouble has come of what was planned.
    pub(super) fn is_still(&self) -> bool {
        let plan = self.plan();
        plan.killed_in.is_some() || plan.fails != Fails::Never
    }

    pub(super) fn fail(&self, fails: Fails, moments: u32) {
        let mut plan = self.plan();
        (plan.fails, plan.fails_in) = (fails, moments);
    }

    /// Since it was asked last.
    pub(super) fn take_failed(&self) -> bool {
        std::mem::take(&mut self.plan().failed)
    }

    pub(super) fn commits(&self) -> u64 {
        self.plan().commits
    }

    fn meet(&self, moment: Moment) -> Option<io::Result<()>> {
        let mut plan = self.plan();
        plan.commits += u64::from(moment == Moment::Committed);
        plan.killed |= plan.killed_in == Some(0);
        plan.killed_in = plan.killed_in.and_then(|moments| moments.checked_sub(1));
        if plan.killed {
            return None;
        }
        if plan.fails_in > 0 {
            plan.fails_in -= 1;
            return Some(Ok(()));
        }
        let fails = match plan.fails {
            Fails::Never => false,
            Fails::Writes | Fails::OneWrite => moment == Moment::Commit,
            Fails::OneRead => moment == Moment::Read,
            Fails::All => moment != Moment::Committed,
        };
        plan.failed |= fails;
        if fails && matches!(plan.fails, Fails::OneWrite | Fails::OneRead) {
            plan.fails = Fails::Never;
        }
        Some(if fails { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) })
    }
}

impl Trouble for Disk {
    fn at(&self, moment: Moment) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>> {
        Box::pin(async move {
            match self.meet(moment) {
                Some(outcome) => outcome,
                None => std::future::pending().await,
            }
        })
    }
}
