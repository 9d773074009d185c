//! `slipway`: the command line, and the server that it talks to.
//!
//! Guarantees the exit codes: 0 live or done, 1 the deployment failed, 2 something to correct in what was asked,
//! 3 the server or the network, 130 interrupted.

mod archive;
mod backup;
mod cli;
mod client;
mod debug;
mod failure;
mod install;
mod output;
mod render;
mod server;
mod upgrade;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match cli::run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            failure.report();
            failure.exit.into()
        }
    }
}
