//! What a version is asked before it takes a server's place, while that server runs: does it read the configuration, does it bring
//! (a copy of) the database up to date, and is there what its start would have to make first.

use super::config::ServerConfig;
use crate::cli::{GlobalOptions, ServerOptions};
use crate::failure::Failure;
use crate::output;
use slipway_store::Store;
use std::error::Error;
use std::path::Path;

/// # Errors
/// When this version would not start here.
pub(crate) fn try_database(global: &GlobalOptions, options: &ServerOptions, copy: &Path) -> Result<(), Failure> {
    let config = ServerConfig::resolve(global, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::server("cannot start the runtime").caused_by(&error))?;
    runtime.block_on(async {
        let opened = Store::open(copy)
            .await
            .map_err(|error| Failure::server("this version cannot take the database over").caused_by(&error))?;
        drop(opened);
        // The base system takes minutes to make: while the other server still answers.
        slipway_host::prepare(&config.host, output::say).await.map_err(|error| {
            Failure::server(format!("cannot prepare the base system: {error}")).caused_by_all(error.source())
        })
    })
}
