//! What the executor takes of the machine that it runs on, apart from its database and its files: the time, and chance. Whoever
//! gives it the same of both, and the same messages in the same order, gets the same decisions.

use slipway_types::TimestampMs;
use std::fmt::Debug;
use std::pin::Pin;
use std::time::{Duration, Instant};

pub(crate) type Sleep<'s> = Pin<Box<dyn Future<Output = ()> + Send + 's>>;

pub(crate) trait Outside: Debug + Send + Sync {
    /// As people read it on their clocks: it may jump.
    fn now(&self) -> TimestampMs;

    /// Of a clock that nobody sets and that stands still while the machine does.
    fn elapsed(&self) -> Duration;

    fn sleep(&self, time: Duration) -> Sleep<'_>;

    /// Bytes that nobody can guess.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), getrandom::Error>;
}

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) since: Instant,
}

impl Outside for Machine {
    fn now(&self) -> TimestampMs {
        jiff::Timestamp::now().as_millisecond()
    }

    fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    fn sleep(&self, time: Duration) -> Sleep<'_> {
        Box::pin(tokio::time::sleep(time))
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        getrandom::fill(bytes)
    }
}
