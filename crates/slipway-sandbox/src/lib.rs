//! Drivers that boot a sandbox, and the shim that holds it.
//!
//! [`Sandboxes`] is the supervisor's side: it prepares network slots ahead, boots a [`SandboxSpec`] and adopts what
//! still runs after a restart. Each sandbox is held by its own process, the shim ([`shim_main`]), which owns the
//! mounts, the OCI container and the connection to the agent, and keeps events until a supervisor has taken them.
//! The server may die at any point: the sandbox goes on.

mod boot_probe;
mod config;
mod doctor;
mod driver;
mod error;
mod event;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod guest;
mod home;
mod link;
mod network;
mod pool;
mod process;
mod program;
mod reap;
mod sandbox;
mod sandboxes;
mod shim;
mod spec;
mod start;
mod steps;
mod wire;

pub use boot_probe::try_boot;
pub use config::{
    Acceleration, DriverConfig, FIRECRACKER_BOOT_TIME_MAX, FirecrackerConfig, IoLimits, MachinePrograms, NetworkConfig,
    QemuConfig, Runtime, SandboxConfig, WarmConfig,
};
pub use doctor::{Check, drivers, lacks_firecracker, machine_drivers, probe};
pub use driver::firecracker::release::{
    RELEASE_URL, RELEASE_VERSION, Release, ReleaseError, ReleaseSource, fetch_release,
};
pub use error::SandboxError;
pub use event::{STOPPED, SandboxEvent, TaskState};
pub use guest::GuestImage;
pub use network::cidr::{Cidr, CidrError};
pub use network::{NetworkError, remove_rules};
pub use sandbox::{Events, Sandbox};
pub use sandboxes::Sandboxes;
pub use shim::shim_main;
pub use spec::{CacheSpec, SandboxSpec, WritableSpec};

/// User and group that commands and apps run as.
pub const APP_UID: u32 = 10001;
pub const APP_GID: u32 = 10001;
