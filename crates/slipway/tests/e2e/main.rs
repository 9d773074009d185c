//! End to end: the shipped binary, real apps, real sandboxes, real sockets.

#![allow(clippy::unwrap_used)]

mod backup;
mod cache;
mod crash;
mod example;
mod failure;
mod git;
mod isolation;
mod lifecycle;
mod logs;
mod machine;
mod migration;
mod netlify;
mod private_dependency;
mod python;
mod redeploy;
mod refusal;
mod restart;
mod run_failure;
mod secret;
mod site;
mod sleep;
mod supervise;
mod switch;

use slipway_testing::{Outcome, TestServer};
use std::path::Path;

const BINARY: &str = env!("CARGO_BIN_EXE_slipway");

/// `slipway up DIR --json`, which must go live.
fn up(server: &TestServer, dir: &Path) -> Outcome {
    let outcome = server.run_in(dir, &["up", "--json"]).expect_code(0).outcome();
    assert_eq!(outcome.event(), "deployed");
    outcome
}

/// `slipway up DIR --json`, which must fail with that diagnosis and exit code 1.
fn up_fails(server: &TestServer, dir: &Path, code: &str) -> Outcome {
    let outcome = server.run_in(dir, &["up", "--json"]).expect_code(1).outcome();
    outcome.expect_diagnosis(code);
    outcome
}
