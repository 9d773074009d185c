//! Control behind its real API on a loopback port, with a real database and real files. The host and the edge are played
//! at the boundary of the message types: no sandbox is booted here.
#![allow(clippy::unwrap_used, reason = "a test that can't go on says so")]

mod access;
mod cache;
mod client;
mod fake;
mod git;
mod health;
mod logs;
mod pipeline;
mod queue;
mod restart;
mod reuse;
mod service;
mod sleep;
mod supervise;
mod upload;
mod variables;
mod world;
