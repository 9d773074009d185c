//! The `firecracker` driver's own matters.

use crate::drivers::{Place, firecracker};
use crate::machine::run;
use std::time::Instant;

#[tokio::test]
async fn first_words() {
    let Some(place) = Place::find(firecracker(), 61) else { return };
    let machine = place.machine().await;
    let begun = Instant::now();
    let sandbox = machine.boot("fc-1").await;
    eprintln!("boot took {:?}", begun.elapsed());
    let done = run(&sandbox, "echo hello; id; uname -a").await;
    eprintln!("{}{}", done.stdout, done.stderr);
    let begun = Instant::now();
    machine.end(&[&sandbox]).await;
    eprintln!("end took {:?}", begun.elapsed());
}
