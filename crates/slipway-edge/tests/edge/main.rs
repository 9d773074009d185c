//! The edge at its real boundary: sockets on both sides.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod bounds;
mod client;
mod count;
mod drain;
mod files;
mod forward;
mod harness;
mod outside;
mod refusal;
mod retry;
mod routing;
mod rules;
mod site;
mod site_paths;
mod site_switch;
mod sleep;
mod stream;
mod switch;
mod upgrade;
