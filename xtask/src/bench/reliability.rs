//! What a crash costs: deployments under load of which each loses something by `kill -9`, the server's restart over a long history,
//! and what a server of many services takes while nothing happens.

mod crash;
mod idle;
mod restart;

use anyhow::Result;

pub(super) const ROUNDS: usize = 100;

/// `rounds` and `seed` repeat a run of crashes.
pub(crate) fn run(rounds: usize, seed: u64) -> Result<()> {
    crash::deployments(rounds, seed)?;
    restart::after_a_long_history()?;
    idle::many_services()
}
