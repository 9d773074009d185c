//! Supervisor of one host: build workers, replicas, health.
//!
//! [`prepare`] makes the base system once. [`run`] then takes commands and reports what happens, as
//! `slipway_types::host` says: build work is pulled phase by phase, replicas are a desired state that is reconciled.
//! Apps live in sandboxes whose shims outlive this process; whatever still runs at the next start is adopted.

mod archive;
mod base;
mod branch_file;
mod cache;
mod config;
mod custodian;
mod environment;
mod fleet;
mod git;
mod git_credential;
mod head;
mod hold;
mod host;
mod key;
mod key_file;
mod leftover;
mod line;
mod manifest;
mod pace;
mod phase;
mod probe;
mod process;
mod replica;
mod room;
mod server_id;
mod site;
mod supervisor;
mod tier;
mod toolchain;
mod tree;
mod turn;
mod worker;

pub use base::{PrepareError, base_layer, prepare};
pub use config::{BaseConfig, HostConfig, LayersConfig, NodeSource, PythonSource};
pub use supervisor::{HostRunError, release_sites, run};

/// Runs blocking work (files, mounts) beside the asynchronous tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // The only way to fail without a shutdown of the runtime is a panic: it goes on here.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
