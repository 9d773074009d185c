//! Control: the HTTP API, who may use it, and the executor of the pipeline.
//!
//! - [`run`] serves the API on [`ControlConfig::api_listener`] and drives deployments through a host and an edge that it
//!   knows only as [`HostLink`] and [`EdgeLink`]. [`bootstrap`] makes keys and token of a data directory.
//! - The API ([`api`]) stores intents or hands them to the executor ([`executor`]), the one task that changes states.
//! - What the host has of layers is remembered here ([`cache`]).
//! - Logs ([`log`]), uploads ([`upload`]), variables ([`variable`]) and git credentials ([`source`]) are kept here too.
//!
//! Guarantees: nothing is stored of what was refused; a secret's value reaches no log, event, diagnosis or answer and no
//! unencrypted file; a server that is killed at any point goes on from what is stored.

mod api;
mod bootstrap;
mod cache;
mod config;
mod executor;
mod log;
mod metrics;
mod outside;
mod readiness;
mod refusal;
mod restored;
mod reuse;
mod seal;
mod server;
mod shared;
mod source;
mod upload;
mod variable;
mod view;

pub use bootstrap::{Bootstrap, BootstrapError, bootstrap};
pub use config::{ControlConfig, DRAIN_TIMEOUT, EdgeLink, HostLink, LogLimits, QUEUE_MAX};
pub use executor::{ExecutorError, Fault};
pub use metrics::TrafficReader;
pub use restored::{SecretsError, check_secrets};
pub use seal::MasterKey;
pub use server::{ControlError, run};
