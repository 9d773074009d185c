//! Control behind its real API on a loopback port, with a real database and real files. The host and the edge are played
//! at the boundary of the message types: no sandbox is booted here.

mod access;
mod client;
mod fake;
mod pipeline;
mod restart;
mod service;
mod upload;
mod world;
