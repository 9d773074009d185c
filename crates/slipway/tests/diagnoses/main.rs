//! Diagnoses at the real boundary: tiny broken apps, deployed with the shipped binary and failed by the real tools.
//!
//! Each group is one server with one deployment after another, so that a case costs the seconds of its own failure.
//! What the user saw is kept under the test's temporary directory, one file per case.

#![allow(clippy::unwrap_used)]

mod bundler;
mod case;
mod coverage;
mod database;
mod framework;
mod install;
mod lockfile;
mod native;
mod other_manager;
mod program;
mod python;
mod run;
mod source;

const BINARY: &str = env!("CARGO_BIN_EXE_slipway");
