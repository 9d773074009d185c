//! Many services of which none does anything.

use super::super::{row, server::resident_mebibytes, slipway};
use anyhow::{Context, Result};
use slipway_testing::{App, TestServer};
use std::time::{Duration, Instant};

const SERVICES: usize = 200;
/// After the last deployment, until what it leaves behind is done.
const REST: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_secs(60);

/// Answers, and takes a few megabytes.
const TINY: &str = "use strict; use IO::Socket::INET; my $l = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $ENV{PORT}, \
                    Listen => 16, ReuseAddr => 1) or die; while (my $c = $l->accept) { my $h = <$c>; print $c \"HTTP/1.1 200 OK\\r\\n\
                    content-length: 2\\r\\nconnection: close\\r\\n\\r\\nok\"; close $c }";

pub(super) fn many_services() -> Result<()> {
    let server = TestServer::start(&slipway()?.to_string_lossy());
    for number in 0..SERVICES {
        let app = App::empty(&format!("tiny{number}"))
            .with("server.pl", TINY)
            .with("package.json", r#"{"name":"tiny","private":true,"scripts":{"start":"perl server.pl"}}"#)
            .settings("[resources]\nmemory = \"32MB\"\n[health]\nstable_window = \"100ms\"");
        let _ = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    }
    std::thread::sleep(REST);
    let (before, start) = (processor_seconds(server.pid())?, Instant::now());
    std::thread::sleep(LOOK);
    let share = (processor_seconds(server.pid())? - before) / start.elapsed().as_secs_f64() * 100.0;
    let what = |what: &str| format!("idle server with {SERVICES} services of one replica: {what}");
    row(&what("processor"), &format!("{share:.2} % of a core"), "≤ 1 %");
    row(&what("memory"), &format!("{:.0} MB resident", resident_mebibytes(server.pid())?), "≤ 120 MB");
    Ok(())
}

/// User and system time so far (proc(5): fields 14 and 15, in ticks of 10 ms).
fn processor_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(") ").context("a process's state")?.1.split(' ').collect();
    let ticks: f64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum();
    Ok(ticks / 100.0)
}
