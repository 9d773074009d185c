//! Every framework that Slipway promises: made afresh by its own scaffolding tool, deployed by the shipped binary without
//! any configuration, and asked by real requests.
//!
//! One test per framework; variants of one framework share a scaffold, a server and the layer of dependencies. Where a
//! tool fetches its templates from a place that is no package registry, the project that its documentation describes is
//! written by hand, and a comment says so. Python's frameworks are tests of their own (`tests/e2e`).

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod angular;
mod astro;
mod documentation;
mod next;
mod node_server;
mod nuxt;
mod project;
mod react_router;
mod served;
mod static_files;
mod svelte;
mod tanstack;
mod tool;
mod vite;

const BINARY: &str = env!("CARGO_BIN_EXE_slipway");
