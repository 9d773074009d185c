//! What boots a sandbox and holds it, on this side of the wall.
//!
//! A driver runs inside the shim's process and in its mount namespace: what it mounts goes with the shim.

pub(crate) mod cgroup;
pub(crate) mod console;
pub(crate) mod firecracker;
mod idmap;
pub(crate) mod kvm;
pub(crate) mod machine;
mod namespace;
pub(crate) mod oci;
pub(crate) mod qemu;
mod tap;
mod vmm;
pub(crate) mod vsock;
mod wire;

use crate::home::{BootDriver, BootSpec, Home};
use slipway_types::agent::Machine;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Why a sandbox did not boot or did not end, with the causes in the text: it crosses a process boundary as one line.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct DriverError {
    what: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Other,
    /// By the agent.
    Told,
    /// The agent said nothing.
    Silence,
}

impl DriverError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), kind: Kind::Other }
    }

    /// The agent itself said what is wrong: nothing else has to be looked for.
    pub(crate) fn told(what: impl Into<String>) -> Self {
        Self { what: what.into(), kind: Kind::Told }
    }

    pub(crate) fn is_told(&self) -> bool {
        self.kind == Kind::Told
    }

    /// The agent listened and then said nothing for as long as it may.
    pub(crate) fn silence(what: impl Into<String>) -> Self {
        Self { what: what.into(), kind: Kind::Silence }
    }

    pub(crate) fn is_silence(&self) -> bool {
        self.kind == Kind::Silence
    }

    /// `what` and the whole chain of causes.
    pub(crate) fn because(what: impl std::fmt::Display, cause: &dyn std::error::Error) -> Self {
        let mut text = format!("{what}: {cause}");
        let mut next = cause.source();
        while let Some(cause) = next {
            text.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        Self::new(text)
    }
}

/// Between the agent's own grace time and SIGKILL to it, where the agent has nothing to do but to end.
const STOP_MARGIN: Duration = Duration::from_secs(2);
/// An agent does next to nothing before it answers.
const GREET_TIME_MAX: Duration = Duration::from_secs(10);

/// What an agent is told before it runs tasks, beside the host name.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// Files that the sandbox is shown, by absolute path.
    pub(crate) files: Vec<(String, Vec<u8>)>,
    /// For the agent of a virtual machine. `None`: the driver made everything.
    pub(crate) machine: Option<Machine>,
}

/// The driver that the sandbox was ordered with.
pub(crate) fn of(boot: &BootSpec) -> Box<dyn Driver> {
    match &boot.driver {
        BootDriver::Oci => Box::new(oci::Oci),
        BootDriver::Qemu(programs) => Box::new(qemu::Qemu::new(programs.clone())),
        BootDriver::Firecracker(programs) => Box::new(firecracker::Firecracker::new(programs.clone())),
    }
}

pub(crate) trait Driver {
    /// Boots until the agent accepts the returned guest's connection.
    fn launch(&self, home: &Home, boot: &BootSpec) -> Result<Box<dyn Guest>, DriverError>;
    /// The same for what is nobody's yet: of the spec nothing counts but the slot, the cgroup and the size.
    fn launch_blank(&self, home: &Home, boot: &BootSpec) -> Result<Box<dyn Guest>, DriverError>;
}

/// A sandbox that runs. Methods may be called from several threads.
pub(crate) trait Guest: Send + Sync {
    /// Makes a blank, whose agent greeted and was told nothing, the sandbox of that directory. What fails leaves it to be ended.
    fn attach(&mut self, home: &Home, boot: &BootSpec) -> Result<(), DriverError>;
    /// The connection to the agent.
    fn stream(&self) -> std::io::Result<UnixStream>;
    /// What its agent needs to be told.
    fn setup(&self) -> Result<Setup, DriverError> {
        Ok(Setup::default())
    }
    /// What the sandbox itself last said outside of the agent's connection, for the error of a boot that failed.
    fn last_words(&self) -> Option<String> {
        None
    }
    /// For each of the agent's first words.
    fn greet_time_max(&self) -> Duration {
        GREET_TIME_MAX
    }
    /// Whether a boot that ended in silence may go better another time.
    fn is_moody(&self) -> bool {
        false
    }
    /// How long an ordered end may take beyond the grace time of the tasks.
    fn stop_margin(&self) -> Duration {
        STOP_MARGIN
    }
    /// Of the process whose end is the sandbox's end, as the host counts it.
    fn pid(&self) -> i32;
    /// Whether that process ended within `bound`; once true, always true.
    fn wait(&self, bound: Duration) -> bool;
    fn kill(&self);
    /// Processes of the sandbox that the host's kernel killed for memory so far. What a guest's own kernel did, its agent tells.
    fn out_of_memory_kills(&self) -> u64;
    /// Whether what the sandbox writes to has no room left, as far as the host can see.
    fn disk_full(&self) -> bool;
    /// After the end: lets go of every resource; what was written is complete in its image when this returns.
    fn clean_up(&self) -> Result<(), DriverError>;
}
