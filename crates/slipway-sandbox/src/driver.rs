//! What boots a sandbox and holds it, on this side of the wall.
//!
//! A driver runs inside the shim's process and in its mount namespace: what it mounts goes with the shim.

pub(crate) mod oci;

use crate::home::{BootSpec, Home};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Why a sandbox did not boot or did not end, with the causes in the text: it crosses a process boundary as one line.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct DriverError {
    what: String,
}

impl DriverError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }

    /// `what` and the whole chain of causes.
    pub(crate) fn because(what: impl std::fmt::Display, cause: &dyn std::error::Error) -> Self {
        let mut text = format!("{what}: {cause}");
        let mut next = cause.source();
        while let Some(cause) = next {
            text.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        Self { what: text }
    }
}

pub(crate) trait Driver {
    /// Boots until the agent accepts the returned guest's connection.
    fn launch(&self, home: &Home, boot: &BootSpec) -> Result<Box<dyn Guest>, DriverError>;
}

/// A sandbox that runs. Methods may be called from several threads.
pub(crate) trait Guest: Send + Sync {
    /// The connection to the agent.
    fn stream(&self) -> std::io::Result<UnixStream>;
    /// Of the process whose end is the sandbox's end, as the host counts it.
    fn pid(&self) -> i32;
    /// Whether that process ended within `bound`; once true, always true.
    fn wait(&self, bound: Duration) -> bool;
    fn kill(&self);
    /// Processes of the sandbox that the kernel killed for memory so far.
    fn out_of_memory_kills(&self) -> u64;
    /// Whether what the sandbox writes to has no room left.
    fn disk_full(&self) -> bool;
    /// After the end: lets go of every resource; what was written is complete in its image when this returns.
    fn clean_up(&self) -> Result<(), DriverError>;
}
