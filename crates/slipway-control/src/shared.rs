//! What the API and the executor both use.

use crate::executor::fleet::Fleet;
use crate::log::Logs;
use crate::seal::MasterKey;
use crate::source::Credentials;
use crate::upload::Uploads;
use slipway_store::Store;
use slipway_types::TimestampMs;
use slipway_types::api::ServerView;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) server: ServerView,
    pub(crate) drain_timeout: Duration,
    pub(crate) store: Store,
    pub(crate) key: MasterKey,
    pub(crate) credentials: Credentials,
    pub(crate) logs: Logs,
    pub(crate) uploads: Uploads,
    /// Written by the executor, read by listings. Held for the length of a look, never across a wait.
    pub(crate) fleet: Mutex<Fleet>,
    /// Settings and variables are read, changed and written back: one change at a time.
    pub(crate) editing: tokio::sync::Mutex<()>,
}

impl Shared {
    /// The only clock of control.
    #[allow(clippy::unused_self, reason = "the place where a test's clock would be")]
    pub(crate) fn now(&self) -> TimestampMs {
        jiff::Timestamp::now().as_millisecond()
    }

    pub(crate) fn fleet(&self) -> MutexGuard<'_, Fleet> {
        self.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
