//! The shipped binary, run as its users run it, against a server that this test plays on a real socket.
#![allow(clippy::unwrap_used, reason = "a test's helper functions fail as its tests do")]

mod deployment;
mod fake_server;
mod install;
mod listing;
mod plan;
mod server;
mod slipway;
mod supervise;
mod usage;
