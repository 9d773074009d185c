//! Test harness: the shipped binary as a real server, real apps on disk, real clients on sockets.
//!
//! Everything panics on failure with what was expected and what was seen: it is for tests alone.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

pub mod app;
pub mod cli;
pub mod fault;
pub mod fuzzing;
pub mod http;
pub mod image;
pub mod load;
pub mod neighbour;
pub mod phases;
pub mod postgres;
pub mod registry;
pub mod s3;
pub mod server;
pub mod slot;
pub mod trace;
pub mod wait;

pub use app::App;
pub use cli::{Outcome, Run};
pub use fault::{Fault, FaultProxy};
pub use neighbour::Neighbour;
pub use postgres::Postgres;
pub use registry::Registry;
pub use s3::S3Server;
pub use server::TestServer;
