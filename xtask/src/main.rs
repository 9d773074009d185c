//! Benchmarks, run by `./x bench`, the simulation at length, run by `./x simulate`, a whole machine of a user, run by `./x machine`, and the examples of a peer, run by `./x railpack`. The house rules are this crate's tests.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod machine;
mod railpack;
mod simulate;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bench", "deploy"] => bench::run_deploy(),
        ["bench", "build"] => bench::run_build(),
        ["bench", "layers"] => bench::run_layers(),
        ["bench", "sandbox"] => bench::run_sandbox(),
        ["bench", "reliability", words @ ..] => bench::run_reliability(words),
        ["railpack", checkout] => railpack::run(checkout.as_ref(), ""),
        ["railpack", checkout, filter] => railpack::run(checkout.as_ref(), filter),
        ["machine"] => machine::run(),
        ["simulate", rest @ ..] => simulate::run(rest),
        // The edge alone, in a process of its own so that its figures are its own.
        ["edge", listen, upstream] => bench::edge::serve(listen.parse()?, upstream.parse()?),
        _ => bail!(
            "usage: xtask bench deploy|build|layers|sandbox|reliability | xtask simulate … | xtask machine | xtask railpack CHECKOUT [FILTER]"
        ),
    }
}
