//! The store against real database files.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panic and prints what it measured")]

mod fixture;
mod history;
mod integrity;
mod progress;
mod retention;
mod reuse;
mod schema;
mod service;
mod sleep;
mod speed;
mod supervision;
