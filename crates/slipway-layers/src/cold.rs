//! The cold tier: copies of layers in an S3-compatible store.
//!
//! One object per layer ([`format`]), written once and whole or not at all. What comes back is untrusted until it is checked:
//! each frame by its digest, all frames together by the layer's.

mod config;
pub(crate) mod crew;
pub(crate) mod download;
pub(crate) mod format;
pub(crate) mod frame;
mod rate;
pub(crate) mod remote;
pub(crate) mod trouble;
pub(crate) mod upload;

pub use config::{ColdBounds, ColdConfig, ColdCredentials, ColdError};
