//! API, authentication and executor of the pipeline.

mod api;
mod bootstrap;
mod executor;
mod log;
mod refusal;
mod seal;
mod upload;
mod variable;

pub use bootstrap::{Bootstrap, BootstrapError, bootstrap};
pub use seal::{MasterKey, SealError};
