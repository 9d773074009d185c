//! The real agent as a child process, over a real socket.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod flow;
mod host;
mod lifecycle;
mod tasks;
mod values;
