//! The cold tier: copies of layers in an S3-compatible store.

mod config;

pub use config::{ColdConfig, ColdCredentials, ColdError};
