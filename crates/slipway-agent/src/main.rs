//! The program; all of it is the library's, so that what reads untrusted bytes can be fuzzed.

use std::process::ExitCode;

fn main() -> ExitCode {
    slipway_agent::run()
}
