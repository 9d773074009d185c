//! The example app, as a person deploys it.

use crate::BINARY;
use slipway_testing::{TestServer, app, http::Connection, wait};
use std::time::{Duration, Instant};

const HOST: &str = "web-nextjs.localhost";

#[test]
fn the_nextjs_example_is_built_served_and_redeployed() {
    // With sandboxes that are booted ahead, as a server has them by default.
    let server = TestServer::start_with(BINARY, "warm = { idle = 2 }");
    let example = app::example("nextjs");
    let set = |args: &[&str]| drop(server.run_in(&example, args).expect_code(0));
    set(&["env", "set", "NEXT_PUBLIC_GREETING=baked in"]);
    set(&["env", "set", "MOTD=read at run time"]);
    set(&["env", "set", "--secret", "API_SECRET=sentinel-4711"]);

    let first = server.run_in(&example, &["up", "--json"]).expect_code(0);
    assert!(!first.stdout.contains("sentinel-4711"), "the secret is in the output");
    assert_eq!(first.outcome().event(), "deployed");
    assert_eq!(first.outcome().url(), format!("http://{HOST}:{}", server.edge_port()));
    every_phase_is_logged_with_its_end(&server, &example);

    let page = server.get(HOST, "/");
    assert_eq!(page.status, 200);
    for text in ["It is live", "baked in", "read at run time", "set, 13 characters"] {
        assert!(page.body.contains(text), "`{text}` is not on the page: {}", page.body);
    }
    assert!(server.get(HOST, "/api/time").body.contains("\"hasSecret\":true"));
    assert_eq!(server.get(HOST, "/slipway.svg").header("content-type"), Some("image/svg+xml"));
    assert_eq!(server.get(HOST, "/healthz").body, "ok\n");
    assert_eq!(server.get(&format!("{}.localhost", first.outcome().deployment()), "/healthz").status, 200);
    streams_without_buffering(&server);

    let again = server.run_in(&example, &["up", "--json"]).expect_code(0);
    let install =
        again.events().into_iter().find(|e| e["event"] == "phase_finished" && e["phase"] == "install").unwrap();
    assert_eq!(install["result"], "skipped", "an unchanged lockfile installs nothing: {install}");
    assert_eq!(again.outcome().release(), 2);
}

/// The CLI returns when the deployment is live; drain and clean-up end soon after.
fn every_phase_is_logged_with_its_end(server: &TestServer, dir: &std::path::Path) {
    let phases =
        ["source", "environment", "install", "build", "pre-deploy", "start", "health", "route", "drain", "clean-up"];
    wait::until("the end of every phase", Duration::from_secs(40), || {
        let history = server.run_in(dir, &["events", "--limit", "100", "--json"]).expect_code(0).stdout;
        let events: Vec<serde_json::Value> = serde_json::from_str(&history).unwrap();
        let messages = events.iter().filter(|event| event["kind"] == "phase-finished").map(|event| &event["message"]);
        let ended: Vec<&str> = messages.filter_map(|message| message.as_str()?.split(' ').next()).collect();
        (ended == phases).then_some(())
    });
}

/// The example sends five chunks over 400 ms: the head must be there long before the end.
fn streams_without_buffering(server: &TestServer) {
    let start = Instant::now();
    let mut connection = Connection::open(server.edge_port(), HOST).unwrap();
    let response = connection.get("/api/stream").unwrap();
    assert_eq!(response.body.lines().count(), 5);
    assert!(start.elapsed().as_millis() >= 350, "the answer was not streamed at its own pace");
}
