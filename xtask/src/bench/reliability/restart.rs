//! A restart of the server with a long history.

use super::super::{median, percentile, row, server::fill_history, slipway};
use anyhow::Result;
use slipway_testing::load::{Kind, Load};
use slipway_testing::{App, TestServer};
use std::time::Instant;

const RESTARTS: usize = 10;

pub(super) fn after_a_long_history() -> Result<()> {
    let mut server = TestServer::start(&slipway()?.to_string_lossy());
    let app = App::node("history", "v1");
    let _ = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    let sandbox = server.sandboxes();
    server.stop_process();
    fill_history(&server)?;
    let mut times = Vec::new();
    for _ in 0..RESTARTS {
        let start = Instant::now();
        server.start_process();
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        server.stop_process();
    }
    server.start_process();
    let load = Load::start(server.edge_port(), "web-history.localhost", &[Kind::KeepAlive]);
    while load.answered() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let lost = load.stop().lost.len();
    anyhow::ensure!(lost == 0 && server.sandboxes() == sandbox, "the app was not the same any more");
    let figure = format!("{:.0} ms, P95 {:.0} ms", median(&times), percentile(&times, 0.95));
    row("start of the server to the API's first answer, 10,000 deployments stored", &figure, "≤ 1000 ms");
    Ok(())
}
