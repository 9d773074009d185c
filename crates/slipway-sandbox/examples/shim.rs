//! The shim as a program of its own, for tests: `shim shim <sandbox dir>`, like the shipped binary.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    match &words[..] {
        [verb, dir] if verb == "shim" => slipway_sandbox::shim_main(Path::new(dir)),
        _ => ExitCode::from(2),
    }
}
