//! The cold tier against a real S3 server, with real images (run as root).
#![allow(clippy::unwrap_used)]

mod archive;
mod crash;
mod fetch;
mod round_trip;
mod setup;
mod tree;
mod trouble;
