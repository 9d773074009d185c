//! The `firecracker` driver, where its programs and a processor for it are.

use crate::machine::{Machine, firecracker, run};
use slipway_sandbox::DriverConfig;
use std::time::Instant;

#[tokio::test]
async fn first_words() {
    let config = firecracker().unwrap();
    let machine = Machine::with(70, |c| c.driver = DriverConfig::Firecracker(config)).await;
    let begun = Instant::now();
    let sandbox = machine.boot("fc-70").await;
    eprintln!("boot took {:?}", begun.elapsed());
    let done = run(&sandbox, "echo hello; id; uname -a").await;
    eprintln!("{}{}", done.stdout, done.stderr);
    let begun = Instant::now();
    machine.end(&[&sandbox]).await;
    eprintln!("end took {:?}", begun.elapsed());
}
