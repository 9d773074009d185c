//! What is live is kept so: restarts without a lost request, crashes, stops.

use crate::{BINARY, crash, up};
use slipway_testing::load::{Kind, Load, Tally};
use slipway_testing::{App, TestServer, wait};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

/// Answers `version`, and exits when it is asked to.
fn crashing(version: &str) -> String {
    format!(
        "require('node:http').createServer((q, r) => {{\n\
         if (q.url === '/crash') process.exit(3);\n\
         r.end('{version}\\n');\n}}).listen(process.env.PORT, '0.0.0.0');\n"
    )
}

fn status(server: &TestServer) -> String {
    server.run(&["ps"]).expect_code(0).stdout
}

fn until_load_goes_on(load: &Load) {
    let before = load.answered();
    wait::until("more answers", BOUND, || (load.answered() > before + 50).then_some(()));
}

fn all_answered(load: Load) {
    let Tally { answered, lost } = load.stop();
    assert!(lost.is_empty(), "{} of {answered} lost: {:#?}", lost.len(), &lost[..lost.len().min(10)]);
}

#[test]
fn restarts_and_other_numbers_of_replicas_lose_no_request_and_a_stop_lasts() {
    const HOST: &str = "web-rolling.localhost";
    let mut server = TestServer::start(BINARY);
    let settings = "replicas = 2\n[health]\npath = \"/\"\nstable_window = \"100ms\"";
    let app = App::node("rolling", "v1").settings(settings);
    up(&server, app.path());
    let kinds = [Kind::KeepAlive, Kind::KeepAlive, Kind::Close, Kind::Streamed, Kind::WebSocket];
    let load = Load::start(server.edge_port(), HOST, &kinds);
    until_load_goes_on(&load);
    let before = server.sandboxes();
    let _ = server.run_in(app.path(), &["restart"]).expect_code(0);
    wait::until("two others", BOUND, || {
        let now = server.sandboxes();
        (now.len() == 2 && before.iter().all(|old| !now.contains(old))).then_some(())
    });
    let set = server.run_in(app.path(), &["env", "set", "COLOUR=blue", "SHAPE=round"]).expect_code(0).stderr;
    assert!(set.contains("COLOUR, SHAPE: rolling restart of 2 replicas"), "{set}");
    assert!(set.contains("rolling restart of 2 replicas, done in "), "{set}");
    wait::until("the new value", BOUND, || (server.get(HOST, "/env?name=COLOUR").body == "blue").then_some(()));
    until_load_goes_on(&load);
    let _ = server.run_in(app.path(), &["scale", "3"]).expect_code(0);
    // The one that served last may still be ending.
    wait::until("three", BOUND, || (server.sandboxes().len() == 3).then_some(()));
    let scaled = server.run_in(app.path(), &["scale", "web=1", "--json"]).expect_code(0).stdout;
    assert!(scaled.contains("\"replicas_wanted\": 1"), "{scaled}");
    wait::until("one", BOUND, || (server.sandboxes().len() == 1).then_some(()));
    until_load_goes_on(&load);
    all_answered(load);
    let refused = server.run_in(app.path(), &["scale", "0"]).expect_code(2);
    assert!(refused.stderr.contains("`slipway stop`"), "{}", refused.stderr);

    let _ = server.run_in(app.path(), &["stop"]).expect_code(0);
    wait::until("the end of what ran", BOUND, || server.sandboxes().is_empty().then_some(()));
    server.stop_process();
    server.start_process();
    wait::until("its page", BOUND, || {
        let answer = server.get(HOST, "/");
        assert_eq!(answer.status, 503, "{answer:?}");
        (answer.header("x-slipway-error") == Some("service-stopped")).then_some(())
    });
    assert!(status(&server).contains("stopped") && server.sandboxes().is_empty());
    let _ = server.run_in(app.path(), &["start"]).expect_code(0);
    assert_eq!(server.get(HOST, "/").body, "v1\n");
    let events = server.run_in(app.path(), &["events", "--limit", "200"]).expect_code(0).stdout;
    for kind in [
        "variables-changed",
        "service-restarting",
        "service-restarted",
        "service-scaled",
        "service-stopped",
        "service-started",
    ] {
        assert!(events.contains(kind), "{kind}: {events}");
    }
}

#[test]
fn a_release_that_crashes_after_the_switch_gives_way_to_the_one_before() {
    const HOST: &str = "web-shaky.localhost";
    let server = TestServer::start(BINARY);
    let app = App::node("shaky", "v1").settings("[health]\npath = \"/\"\nstable_window = \"100ms\"");
    app.write("server.js", &crashing("v1"));
    up(&server, app.path());
    app.write("server.js", &crashing("v2"));
    up(&server, app.path());
    let load = Load::start(server.edge_port(), HOST, &[Kind::KeepAlive, Kind::Close]);
    until_load_goes_on(&load);
    assert_eq!(crash(&server, HOST), 502, "the request that it held");
    wait::until("the release before", BOUND, || (server.get(HOST, "/").body == "v1\n").then_some(()));
    until_load_goes_on(&load);
    let Tally { lost, .. } = load.stop();
    assert!(lost.len() <= 2, "those that it held, one of each client: {lost:#?}");
    wait::until("the outcome", BOUND, || {
        let deployments = server.run_in(app.path(), &["events", "--limit", "200"]).expect_code(0).stdout;
        deployments.contains("deployment-failed").then_some(())
    });
    let events = server.run_in(app.path(), &["events", "--limit", "200"]).expect_code(0).stdout;
    assert!(events.contains("deployment-crashed") && events.contains("v1 is brought back"), "{events}");
    assert!(events.contains("the app exited with status 3; it starts again in"), "{events}");

    // What was brought back crashes too: it has nothing to give way to, and is started again, ever later.
    for _ in 0..3 {
        wait::until("an answer", BOUND, || (server.get(HOST, "/").status == 200).then_some(()));
        let _ = crash(&server, HOST);
    }
    // Shown between two starts only: who missed it waits for the next crash.
    wait::until("the verdict", BOUND, || {
        let is_shown = status(&server).contains("crash-looping (app-exited, next start in");
        if !is_shown && server.get(HOST, "/").status == 200 {
            let _ = crash(&server, HOST);
        }
        is_shown.then_some(())
    });
    wait::until("another start", BOUND, || (server.get(HOST, "/").body == "v1\n").then_some(()));
}

/// Reads its variables again when it is told, and counts how often that was.
const RELOADING: &str = "const { readFileSync } = require('node:fs');\n\
    const read = () => JSON.parse(readFileSync(process.env.SLIPWAY_ENV_FILE, 'utf8'));\n\
    let env = read(), told = 0;\n\
    process.on('SIGUSR1', () => { env = read(); told += 1; });\n\
    require('node:http').createServer((q, r) => r.end(`${env.COLOUR} ${env.KEY.length} ${told} ${process.pid}`))\n\
    .listen(process.env.PORT, '0.0.0.0');\n";

#[test]
fn new_variables_reach_an_app_that_listens_for_them_and_end_one_that_does_not() {
    const HOST: &str = "web-live.localhost";
    let mut server = TestServer::start(BINARY);
    let settings = "[health]\npath = \"/\"\nstable_window = \"100ms\"\n[run]\nreload = \"signal\"";
    let app = App::node("live", "v1").settings(settings);
    app.write("server.js", RELOADING);
    let _ = server.run_in(app.path(), &["env", "set", "COLOUR=red", "KEY=sentinel"]).expect_code(0);
    up(&server, app.path());
    let seen = |server: &TestServer| server.get(HOST, "/").body;
    // It has the signal, and takes it when it is its turn.
    let until_seen = |server: &TestServer, what: &str| {
        wait::until(what, BOUND, || (seen(server) == what).then_some(()));
    };
    let first = seen(&server);
    assert!(first.starts_with("red 8 0 "), "{first}");
    let pid = first.rsplit(' ').next().unwrap().to_owned();
    let before = server.sandboxes();
    let set = server.run_in(app.path(), &["env", "set", "COLOUR=blue"]).expect_code(0).stderr;
    assert!(
        set.contains("COLOUR: 1 replica is told while it runs")
            && set.contains("1 replica has the new values, done in "),
        "{set}"
    );
    until_seen(&server, &format!("blue 8 1 {pid}"));
    // Not again because the server comes back, but for what it had not brought.
    server.stop_process();
    let text_bytes = server.log().len();
    server.log_as_json();
    server.start_process();
    wait::until("the replica", BOUND, || (server.get(HOST, "/").status == 200).then_some(()));
    let _ = server.run_in(app.path(), &["env", "set", "COLOUR=green"]).expect_code(0);
    until_seen(&server, &format!("green 8 2 {pid}"));
    assert_eq!(server.sandboxes(), before);
    let log = server.log().split_off(text_bytes);
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert!(lines.iter().all(|line| line["level"].is_string() && line["timestamp"].is_string()), "{log}");
    assert!(lines.iter().any(|line| line["message"].as_str().is_some_and(|text| text.starts_with("ready: API at"))));
    assert!(lines.iter().any(|line| line["message"] == "route table applied" && line["generation"].is_u64()));

    let worker = App::node("deaf", "v1").settings(
        "kind = \"worker\"\nstart_command = \"exec sleep 100000\"\n[health]\nrollback_window = \"0s\"\n\
         [run]\nreload = \"signal\"",
    );
    up(&server, worker.path());
    // Half a second is waited for its end, which a busy machine may take longer to see: once more, then.
    let mut told = (0..3).map(|n| server.run_in(worker.path(), &["env", "set", &format!("COLOUR=red-{n}")]));
    let ended = told.find(|run| run.code == 1).expect("an app that the signal ends has no new values").stderr;
    assert!(ended.contains("SIGUSR1") && ended.contains("`run.reload`"), "{ended}");
    wait::until("its next start", BOUND, || {
        let events = server.run_in(worker.path(), &["events"]).expect_code(0).stdout;
        events.contains("replica-ready").then_some(())
    });
}
