//! The edge at its real boundary: sockets on both sides.

mod bounds;
mod client;
mod drain;
mod forward;
mod harness;
mod refusal;
mod retry;
mod routing;
mod stream;
mod switch;
mod upgrade;
