//! The simulation of control for as long as one likes, or one seed of it. It is a test that is left out of the usual runs, because it
//! looks into the executor's memory; this hands it what it is to do.

use anyhow::{Result, bail, ensure};
use std::process::Command;

const USAGE: &str = "usage: ./x simulate --seeds N [--from S] | ./x simulate --seed S [--trace]";

pub(crate) fn run(words: &[&str]) -> Result<()> {
    let mut variables: Vec<(&str, &str)> = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let name = match *word {
            "--seeds" => "SLIPWAY_SIMULATE_SEEDS",
            "--from" => "SLIPWAY_SIMULATE_FROM",
            "--seed" => "SLIPWAY_SIMULATE_SEED",
            "--trace" => {
                variables.push(("SLIPWAY_SIMULATE_TRACE", "1"));
                continue;
            }
            _ => bail!("{USAGE}"),
        };
        match rest.next() {
            Some(value) if value.parse::<u64>().is_ok() => variables.push((name, value)),
            _ => bail!("`{word}` needs a number\n{USAGE}"),
        }
    }
    ensure!(variables.iter().any(|(name, _)| name.contains("_SEED")), "{USAGE}");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["test", "--quiet", "--package", "slipway-control", "--lib"]);
    command.args(["executor::simulation::on_demand", "--", "--ignored", "--exact", "--nocapture"]);
    ensure!(command.envs(variables).status()?.success(), "a seed went wrong");
    Ok(())
}
