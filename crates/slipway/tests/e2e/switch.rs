//! The promise that matters most: a deployment loses no request.

use crate::{BINARY, up};
use slipway_testing::load::{Kind, Load};
use slipway_testing::{App, TestServer, wait};
use std::time::Duration;

const DEPLOYMENTS: u32 = 20;

#[test]
fn no_request_is_lost_over_twenty_deployments_under_load() {
    let server = TestServer::start(BINARY);
    let app = App::node("load", "v0").settings("[health]\npath = \"/\"\nstable_window = \"100ms\"");
    up(&server, app.path());
    let load = Load::start(
        server.edge_port(),
        "web-load.localhost",
        &[Kind::KeepAlive, Kind::KeepAlive, Kind::Close, Kind::Streamed, Kind::WebSocket],
    );
    for version in 1..=DEPLOYMENTS {
        app.set_version(&format!("v{version}"));
        up(&server, app.path());
        assert_eq!(server.get("web-load.localhost", "/").body, format!("v{version}\n"), "the switch is atomic");
    }
    let before_end = load.answered();
    wait::until("load after the last switch", Duration::from_secs(60), || {
        (load.answered() > before_end + 50).then_some(())
    });
    let tally = load.stop();
    assert!(
        tally.lost.is_empty(),
        "{} of {} lost: {:#?}",
        tally.lost.len(),
        tally.answered,
        &tally.lost[..tally.lost.len().min(10)]
    );
    assert!(tally.answered > 1000, "only {} requests: not a load", tally.answered);
}
