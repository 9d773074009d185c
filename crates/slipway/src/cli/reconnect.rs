//! A stream that was lost: waits for the server to come back, within a bound.

use crate::client::ClientError;
use crate::failure::Failure;
use crate::output;
use std::time::Duration;
use tokio::time::Instant;

/// A restart takes seconds, an upgrade of a machine minutes.
const AWAY_MAX: Duration = Duration::from_secs(15 * 60);
const TRY_INTERVAL: Duration = Duration::from_millis(250);
/// A shorter absence is not worth a word.
const SAY_AFTER: Duration = Duration::from_secs(2);

/// Since when the server is away.
#[derive(Debug, Default)]
pub(super) struct Away {
    /// It was there at some time: what is not to be found from the start is an error at once.
    was_there: bool,
    since: Option<Instant>,
    said: bool,
}

pub(super) enum Next {
    Again,
    /// What was followed is no more.
    Gone,
}

impl Away {
    /// Something came.
    pub(super) fn is_back(&mut self) {
        self.was_there = true;
        self.since = None;
        if std::mem::take(&mut self.said) {
            output::say("the server is back");
        }
    }

    /// A stream ended (None: in order, because the server stops, or what is followed is gone) or could not be opened. Waits a
    /// moment where that may pass.
    ///
    /// # Errors
    /// When it does not.
    pub(super) async fn lost(&mut self, error: Option<ClientError>) -> Result<Next, Failure> {
        self.was_there |= error.is_none();
        if let Some(error) = error {
            // A server that stops takes the file away in which it is found.
            let passes = error.is_passing() || matches!(error, ClientError::NoServer { .. });
            let gone = matches!(&error, ClientError::Refused(refusal) if refusal.code.ends_with("-unknown"));
            if self.was_there && gone {
                return Ok(Next::Gone);
            }
            let since = *self.since.get_or_insert_with(Instant::now);
            if !self.was_there || !passes || since.elapsed() > AWAY_MAX {
                return Err(error.into());
            }
            if since.elapsed() > SAY_AFTER && !self.said {
                self.said = true;
                output::say("the server is away; going on when it is back");
            }
        }
        tokio::time::sleep(TRY_INTERVAL).await;
        Ok(Next::Again)
    }
}
