//! The shipped binary, run as its users run it, against a server that this test plays on a real socket.

mod deployment;
mod fake_server;
mod listing;
mod slipway;
mod usage;
