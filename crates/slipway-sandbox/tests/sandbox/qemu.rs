//! The `qemu` driver, where its programs are.

use crate::machine::{Machine, qemu, run};
use slipway_sandbox::DriverConfig;
use std::time::Instant;

#[tokio::test]
async fn first_words() {
    let config = qemu().unwrap();
    let machine = Machine::with(60, |c| c.driver = DriverConfig::Qemu(config)).await;
    let begun = Instant::now();
    let sandbox = machine.boot("qemu-60").await;
    eprintln!("boot took {:?}", begun.elapsed());
    let done = run(&sandbox, "echo hello; id; uname -a; cat /proc/mounts; ls -la / /dev; for p in /proc/[0-9]*; do echo $p; done; cat /proc/self/status /proc/meminfo; cat /sys/fs/cgroup/memory.max /etc/resolv.conf /etc/hosts").await;
    eprintln!("{}{}", done.stdout, done.stderr);
    let begun = Instant::now();
    machine.end(&[&sandbox]).await;
    eprintln!("end took {:?}", begun.elapsed());
}
