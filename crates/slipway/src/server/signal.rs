//! The signals that the server listens to: two that mean "stop" (Ctrl-C, and what a service manager sends), and SIGUSR2, "make
//! place for the program that stands at your path now".

use crate::failure::Failure;
use tokio::signal::unix::{Signal, SignalKind, signal};

#[derive(Debug)]
pub(super) struct StopSignal {
    interrupt: Signal,
    terminate: Signal,
    replace: Signal,
}

/// What the server was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Stop,
    Replace,
}

impl StopSignal {
    /// From here on none of them ends the process by itself.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(super) fn listen() -> Result<Self, Failure> {
        let handler =
            |kind| signal(kind).map_err(|error| Failure::server("cannot listen for stop signals").caused_by(&error));
        Ok(Self {
            interrupt: handler(SignalKind::interrupt())?,
            terminate: handler(SignalKind::terminate())?,
            replace: handler(SignalKind::user_defined2())?,
        })
    }

    pub(super) async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.replace.recv() => Wish::Replace,
        }
    }
}
