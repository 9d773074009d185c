//! Simulation: the real executor, pipeline and database with a simulated host, edge, clock, people and faults. A world lives
//! through a few hundred steps that its seed decides, then the faults end and it comes to rest. Checked is what no sequence of
//! events may break ([`witness`]): after each step what must never be, at the end what must have come to pass.
//!
//! One seed is one world: it gives the same trace each time, on every machine. `./x simulate --seed N --trace` shows it.

mod edge;
mod host;
mod nature;
mod past;
mod people;
mod random;
mod server;
mod source;
mod story;
mod trace;
mod witness;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use trace::Keep;
use world::World;

/// In each run of the tests.
const SEEDS: u64 = 1000;

/// Something wrong, put into a double on purpose: it must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    HostTakesOlderSets,
    EdgeTakesOlderTables,
    /// It says what a worker did under the number of the newest attempt, whichever the worker's was.
    HostForgetsAttempts,
}

/// What became of a world.
#[derive(Debug)]
struct Outcome {
    digest: u64,
    violation: Option<String>,
    trace: String,
}

fn live(seed: u64, planted: Option<Planted>, keep: Keep) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut world = Box::pin(World::new(seed, planted, keep)).await;
        let violation = Box::pin(world.live()).await.err();
        let outcome = Outcome { digest: world.trace.digest(), violation, trace: world.trace.text() };
        world.close().await;
        outcome
    })
}

/// The first seed of a range whose world goes wrong.
fn first_violation(from: u64, count: u64, planted: Option<Planted>) -> Option<(u64, String)> {
    let next = AtomicU64::new(from);
    let found = std::sync::Mutex::new(None::<(u64, String)>);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || found.lock().unwrap().is_some() {
                        return;
                    }
                    if let Some(violation) = live(seed, planted, Keep::Nothing).violation {
                        let mut found = found.lock().unwrap();
                        if found.as_ref().is_none_or(|(first, _)| seed < *first) {
                            *found = Some((seed, violation));
                        }
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

#[test]
fn nothing_goes_wrong_in_a_thousand_worlds() {
    if let Some((seed, violation)) = first_violation(0, SEEDS, None) {
        let outcome = live(seed, None, Keep::Lines);
        panic!("{}\nseed {seed}: {violation}\n`./x simulate --seed {seed} --trace` shows it again", outcome.trace);
    }
}

#[test]
fn a_seed_gives_the_same_trace_each_time() {
    for seed in 0..20 {
        let (once, twice) = (live(seed, None, Keep::Lines), live(seed, None, Keep::Lines));
        assert_eq!(once.trace, twice.trace, "seed {seed}");
        assert_eq!(once.digest, twice.digest);
    }
}

#[test]
fn a_host_that_takes_an_older_set_is_found() {
    assert!(first_violation(0, SEEDS, Some(Planted::HostTakesOlderSets)).is_some());
}

#[test]
fn an_edge_that_takes_an_older_table_is_found() {
    assert!(first_violation(0, SEEDS, Some(Planted::EdgeTakesOlderTables)).is_some());
}

#[test]
fn a_worker_that_works_on_under_an_expired_lease_is_found() {
    let (_, violation) = first_violation(0, SEEDS, Some(Planted::HostForgetsAttempts)).unwrap();
    assert!(violation.contains("attempt that is over"), "{violation}");
}

/// For `./x simulate`.
#[test]
#[ignore = "as long as one likes: ./x simulate"]
fn on_demand() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("SLIPWAY_SIMULATE_SEED") {
        let printed = std::env::var_os("SLIPWAY_SIMULATE_TRACE").is_some();
        if printed {
            tracing_subscriber::fmt().without_time().with_writer(std::io::stdout).with_ansi(false).init();
        }
        let outcome = live(seed, None, if printed { Keep::Printed } else { Keep::Nothing });
        println!("seed {seed}: trace {:016x}", outcome.digest);
        assert_eq!(outcome.violation, None, "seed {seed}");
        return;
    }
    let (from, count) =
        (number("SLIPWAY_SIMULATE_FROM").unwrap_or(0), number("SLIPWAY_SIMULATE_SEEDS").unwrap_or(SEEDS));
    let began = std::time::Instant::now();
    if let Some((seed, violation)) = first_violation(from, count, None) {
        panic!("seed {seed}: {violation}\n`./x simulate --seed {seed} --trace` shows it");
    }
    println!("{count} seeds from {from}: nothing went wrong ({:.1} s)", began.elapsed().as_secs_f64());
}
