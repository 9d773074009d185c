//! The host for real: the base system from packages, sandboxes, a tiny Node.js project, replicas that answer.
//!
//! The base system and the toolchains are made once and kept in `target/tmp`.

#![allow(clippy::print_stderr, reason = "a skip is loud")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod bench;
mod custodian;
mod inherit;
mod machines;
mod managers;
mod phases;
mod prepare;
mod replicas;
mod sites;
mod supervision;
