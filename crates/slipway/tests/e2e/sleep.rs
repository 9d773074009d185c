//! A service that sleeps without requests and wakes on one.

use crate::{BINARY, up};
use slipway_testing::http::{self, Connection};
use slipway_testing::{App, TestServer, wait};
use std::path::Path;
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(60);
const SETTINGS: &str = "[health]\npath = \"/\"\n[sleep]\nafter = \"1s\"";

fn status(server: &TestServer) -> String {
    server.run(&["ps"]).expect_code(0).stdout
}

/// Waits until it says that it sleeps and nothing of it runs.
fn until_asleep(server: &TestServer) {
    wait::until("the service to sleep", BOUND, || {
        (status(server).contains("live, asleep") && server.sandboxes().is_empty()).then_some(())
    });
}

/// How often the app has begun.
fn starts(server: &TestServer, dir: &Path) -> usize {
    let log = server.run_in(dir, &["logs"]).expect_code(0).stdout;
    log.lines().filter(|line| line.contains("listens on")).count()
}

#[test]
fn a_service_sleeps_and_a_request_wakes_it() {
    const HOST: &str = "web-nap.localhost";
    let mut server = TestServer::start(BINARY);
    let app = App::node("nap", "v1").settings(SETTINGS);
    up(&server, app.path());
    assert_eq!(server.get(HOST, "/").body, "v1\n");
    let mut times = Vec::new();
    for _ in 0..3 {
        until_asleep(&server);
        let began = Instant::now();
        let answer = server.get(HOST, "/");
        times.push(began.elapsed());
        assert_eq!((answer.status, answer.body.as_str()), (200, "v1\n"), "{answer:?}");
    }
    println!("time to first byte of a wake, a small Node.js app in runc: {times:?}");

    // Many at once start it once.
    until_asleep(&server);
    let before = starts(&server, app.path());
    let port = server.edge_port();
    let clients: Vec<_> =
        (0..20).map(|_| std::thread::spawn(move || http::get(port, HOST, "/whoami").unwrap())).collect();
    let answers: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body), "{answers:?}");
    wait::until("the log of the start", BOUND, || (starts(&server, app.path()) > before).then_some(()));
    assert_eq!(starts(&server, app.path()), before + 1);

    // An open WebSocket is traffic.
    let mut socket = Connection::open(port, HOST).unwrap();
    socket.upgrade("/ws").unwrap();
    let open_until = Instant::now() + Duration::from_secs(3);
    wait::until("three seconds with an open WebSocket", BOUND, || {
        assert!(!status(&server).contains("asleep"));
        (Instant::now() > open_until).then_some(())
    });
    assert_eq!(socket.echo_frame("still there").unwrap(), "still there");
    drop(socket);

    // Over a restart, in order and not, and woken after it.
    for stop in [TestServer::stop_process, TestServer::kill_process] {
        until_asleep(&server);
        stop(&mut server);
        server.start_process();
        assert!(status(&server).contains("live, asleep"), "{}", status(&server));
        assert_eq!(server.sandboxes(), [""; 0]);
        assert_eq!(server.get(HOST, "/").body, "v1\n");
    }
    let events = server.run_in(app.path(), &["events", "--limit", "200"]).expect_code(0).stdout;
    assert!(events.contains("service-asleep") && events.contains("service-woken"), "{events}");
}

#[test]
fn what_sleeps_is_deployed_over_rolled_back_and_destroyed() {
    const HOST: &str = "web-lazy.localhost";
    let server = TestServer::start(BINARY);
    let app = App::node("lazy", "v1").settings(SETTINGS);
    up(&server, app.path());
    until_asleep(&server);
    app.set_version("v2");
    up(&server, app.path());
    assert_eq!(server.get(HOST, "/").body, "v2\n");
    until_asleep(&server);
    let _ = server.run_in(app.path(), &["rollback"]).expect_code(0);
    assert_eq!(server.get(HOST, "/").body, "v1\n");
    until_asleep(&server);

    // A deployment that is broken off leaves it as it is.
    app.write("slipway.toml", "project = \"lazy\"\n[build]\ncommand = \"echo building-now; sleep 120\"\n");
    let deploying = server.spawn_in(app.path(), &["up", "--json"]);
    wait::until("the build to run", BOUND, || {
        server.run_in(app.path(), &["logs", "--build"]).stdout.contains("building-now").then_some(())
    });
    assert!(status(&server).contains("live, asleep"), "{}", status(&server));
    let _ = server.run_in(app.path(), &["cancel"]).expect_code(0);
    assert_eq!(deploying.finish().expect_code(1).outcome().text("status"), "canceled");
    until_asleep(&server);
    assert_eq!(server.get(HOST, "/").body, "v1\n");

    until_asleep(&server);
    let _ = server.run_in(app.path(), &["destroy", "--yes"]).expect_code(0);
    wait::until("the route to go", BOUND, || (server.get(HOST, "/").status == 404).then_some(()));
    assert_eq!(server.sandboxes(), [""; 0]);
}

#[test]
fn a_wake_that_fails_says_why_and_is_no_sleep() {
    const HOST: &str = "web-stuck.localhost";
    let server = TestServer::start(BINARY);
    let app = App::node("stuck", "v1").settings(SETTINGS);
    up(&server, app.path());
    until_asleep(&server);
    // Its own source is gone, which nobody else has.
    let layers = server.layers();
    let server_id = std::fs::read_to_string(server.data().join("server-id")).unwrap();
    let source = wait::until("a pinned source layer", BOUND, || {
        let pins = std::fs::read_to_string(layers.join(format!("pins/{}.json", server_id.trim()))).ok()?;
        pins.split('"').find(|name| name.starts_with("source-")).map(str::to_owned)
    });
    std::fs::remove_file(layers.join(format!("{source}.img"))).unwrap();

    let answer = server.get(HOST, "/");
    assert_eq!((answer.status, answer.header("x-slipway-error")), (503, Some("wake-failed")), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    wait::until("the reason", BOUND, || status(&server).contains("live, does not wake (release-gone)").then_some(()));
    let events = server.run_in(app.path(), &["events", "--limit", "200"]).expect_code(0).stdout;
    assert!(events.contains("replica-unready"), "{events}");
    app.set_version("v2");
    up(&server, app.path());
    assert_eq!(server.get(HOST, "/").body, "v2\n");
}
