//! Supervisor of one host: build workers, replicas, health.
#![allow(dead_code)]
mod archive;
mod git;
mod key;
mod line;
mod probe;
mod process;
mod tree;
