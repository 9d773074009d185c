//! Supervisor of one host: build workers, replicas, health.
#![allow(dead_code)]
mod archive;
mod config;
mod git;
mod key;
mod line;
mod probe;
mod process;
mod toolchain;
mod tree;

pub use config::{BaseConfig, HostConfig, NodeSource};

/// Runs blocking work (files, mounts) beside the asynchronous tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // The only way to fail without a shutdown of the runtime is a panic: it goes on here.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
