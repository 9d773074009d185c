//! Sandboxes as they are: real containers, mounts, namespaces and rules. Runs as root.

mod isolation;
mod life;
mod limits;
mod machine;
mod network;
mod restart;
