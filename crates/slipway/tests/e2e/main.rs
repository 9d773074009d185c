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

use slipway_testing::http::Connection;
use slipway_testing::{Outcome, TestServer};
use std::path::Path;
use std::time::Duration;

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

/// `POST /crash`, and what is answered. A request that may not be sent twice: the edge would send a GET to the next replica.
fn crash(server: &TestServer, host: &str) -> u16 {
    let mut connection = Connection::open(server.edge_port(), host).unwrap();
    connection.request("POST", "/crash", &[], "").unwrap().status
}

/// Of up to three measurements: somebody else may have the processor for a moment.
fn assert_one_is_below(max: Duration, measure: impl FnMut(u32) -> Duration) {
    let mut seen = Vec::new();
    for took in (0..3).map(measure) {
        seen.push(took);
        if took < max {
            return;
        }
    }
    panic!("none is below {max:?}: {seen:?}");
}
