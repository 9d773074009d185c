//! Sandboxes as they are: real containers, mounts, namespaces and rules. Runs as root.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is its failure")]

mod firecracker;
mod isolation;
mod life;
mod limits;
mod machine;
mod network;
mod qemu;
mod restart;
