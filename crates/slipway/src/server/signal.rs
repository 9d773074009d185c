//! The two signals that mean "stop": Ctrl-C, and what a service manager sends.

use crate::failure::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Debug)]
pub(super) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignal {
    /// From here on neither ends the process by itself.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(super) fn listen() -> Result<Self, Failure> {
        let handler =
            |kind| signal(kind).map_err(|error| Failure::server("cannot listen for stop signals").caused_by(&error));
        Ok(Self { interrupt: handler(SignalKind::interrupt())?, terminate: handler(SignalKind::terminate())? })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
