//! The space of a store: records, pins, leases, eviction, and what crashes and other hosts do to them (run as root).
#![allow(clippy::unwrap_used)]

mod bench;
mod cost;
mod crash;
mod keeping;
mod processes;
mod shared;
mod steps;
