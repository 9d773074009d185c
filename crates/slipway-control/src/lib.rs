//! API, authentication and executor of the pipeline.

mod bootstrap;
mod log;
mod refusal;
mod seal;
mod upload;

pub use bootstrap::{Bootstrap, BootstrapError, bootstrap};
pub use seal::{MasterKey, SealError};
