//! The promises that are figures. Each is measured beside its reference in the same run and reported as a ratio, because a
//! machine's speed drifts and a ratio does not.

mod build;
mod deploy;
pub(crate) mod edge;
mod layers;
mod reliability;
mod sandbox;
mod server;
mod tiers;
mod tools;

use anyhow::{Context, Result};
use serde_json::Value;
use slipway_testing::Run;
use std::path::PathBuf;

/// All figures of a deployment.
pub(crate) fn run_deploy() -> Result<()> {
    head();
    edge::compare()?;
    server::queue_wait_and_memory()?;
    server::listing()?;
    deploy::compare()
}

/// What comes before and after an app's own build.
pub(crate) fn run_build() -> Result<()> {
    head();
    build::detection()?;
    build::environment()?;
    build::site()
}

/// Installs, and what is kept of them.
pub(crate) fn run_layers() -> Result<()> {
    head();
    layers::unchanged()?;
    layers::save()?;
    tiers::there_and_back()?;
    deploy::unchanged()
}

/// Sandboxes of every driver that this machine has.
pub(crate) fn run_sandbox() -> Result<()> {
    head();
    sandbox::compare()
}

/// What crashes cost.
///
/// # Errors
/// When a number is none.
pub(crate) fn run_reliability(words: &[&str]) -> Result<()> {
    let rounds = words.first().map_or(Ok(reliability::ROUNDS), |word| word.parse())?;
    let seed = words.get(1).map_or(Ok(1), |word| word.parse())?;
    head();
    reliability::run(rounds, seed)
}

fn head() {
    println!("| what | figure | goal |");
    println!("|---|---|---|");
}

/// One row of the report.
fn row(what: &str, figure: &str, goal: &str) {
    println!("| {what} | {figure} | {goal} |");
}

/// The `slipway` binary that stands beside this one.
pub(crate) fn slipway() -> Result<PathBuf> {
    let own = std::env::current_exe().context("own path")?;
    let beside = own.with_file_name("slipway");
    anyhow::ensure!(beside.exists(), "{} is missing: run `./x build`", beside.display());
    Ok(beside)
}

/// The value below which `share` (0 to 1) of `values` lie.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

fn median(values: &[f64]) -> f64 {
    percentile(values, 0.5)
}

/// How long a phase of the deployment that a command followed took.
fn phase_ms(run: &Run, phase: &str) -> Result<f64> {
    let ended = |event: &Value| event["event"] == "phase_finished" && event["phase"] == phase;
    let event = run.events().into_iter().find(ended).with_context(|| format!("the end of phase {phase}"))?;
    event["duration_ms"].as_f64().context("a duration")
}
