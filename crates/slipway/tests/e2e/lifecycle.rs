//! Versions, rollback, configuration, workers, and the server's own restart.

use crate::{BINARY, assert_one_is_below, up};
use slipway_testing::{App, TestServer, wait};
use std::time::{Duration, Instant};

const BOUND: Duration = Duration::from_secs(30);

#[test]
fn rollback_is_a_pointer_and_restores_configuration() {
    let server = TestServer::start(BINARY);
    let app = App::node("pointer", "one");
    let run = |args: &[&str]| server.run_in(app.path(), args).expect_code(0);
    let _ = run(&["env", "set", "COLOUR=red"]);
    up(&server, app.path());
    app.set_version("two");
    let _ = run(&["env", "set", "COLOUR=blue", "--stage"]);
    up(&server, app.path());
    let body = |path: &str| server.get("web-pointer.localhost", path).body;
    assert_eq!((body("/"), body("/env?name=COLOUR")), ("two\n".into(), "blue".into()));

    let rollback = |_| {
        let start = Instant::now();
        let back = run(&["rollback", "--json"]);
        let took = start.elapsed();
        assert_eq!((body("/"), body("/env?name=COLOUR")), ("one\n".into(), "red".into()));
        assert!(
            !back.stdout.contains("\"phase\":\"build\",\"result\":\"done\"") && back.outcome().release() == 1,
            "{}",
            back.stdout
        );
        let _ = run(&["rollback", "v2"]);
        assert_eq!(body("/"), "two\n");
        took
    };
    assert_one_is_below(Duration::from_secs(1), rollback);
    let unknown = server.run_in(app.path(), &["rollback", "v99"]);
    assert_ne!(unknown.code, 0);
    assert!(unknown.stderr.contains("v99") || unknown.stderr.contains("99"), "{}", unknown.stderr);
}

#[test]
fn a_newer_deployment_supersedes_a_running_one() {
    let server = TestServer::start(BINARY);
    let app = App::node("race", "old").settings("[build]\ncommand = \"echo building-old; sleep 120\"");
    let older = server.spawn_in(app.path(), &["up", "--json"]);
    wait::until("the older build to run", BOUND, || {
        server.run_in(app.path(), &["logs", "--build"]).stdout.contains("building-old").then_some(())
    });
    app.set_version("new");
    app.write("slipway.toml", "project = \"race\"\n");
    up(&server, app.path());
    let older = older.finish().expect_code(1).outcome();
    assert_eq!(older.text("status"), "superseded");
    assert_eq!(server.get("web-race.localhost", "/").body, "new\n");
}

#[test]
fn cancel_ends_any_phase_within_two_seconds() {
    let server = TestServer::start(BINARY);
    // The kernel takes connections, and nobody answers them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/stopme.git", silent.local_addr().unwrap());
    let phases = [
        ("source", ""),
        ("install", "[build]\ninstall_command = \"sleep 120\""),
        ("build", "[build]\ncommand = \"sleep 120\""),
        ("pre-deploy", "pre_deploy_command = \"sleep 120\""),
        ("health", "start_command = \"sleep 120\""),
    ];
    for (phase, settings) in phases {
        let app = App::node("stopme", "never").settings(settings);
        let deploy: &[&str] = match phase {
            "source" => &["--project", "stopme", "--service", "web", "deploy", "--git", &url, "--json"],
            _ => &["up", "--json"],
        };
        let deploying = server.spawn_in(app.path(), deploy);
        // One that its predecessor had not left would never come there.
        wait::until(phase, BOUND, || {
            let shown = server.run_in(app.path(), &["--project", "stopme", "ps", "--json"]).stdout;
            let newest = serde_json::from_str::<serde_json::Value>(&shown).ok()?[0]["newest"].clone();
            (newest["phase"] == phase && newest["finished_at"].is_null()).then_some(())
        });
        let start = Instant::now();
        let _ = server.run_in(app.path(), &["--project", "stopme", "--service", "web", "cancel"]).expect_code(0);
        let canceled = deploying.finish().expect_code(1).outcome();
        assert!(start.elapsed() < Duration::from_secs(2), "cancel in {phase} took {:?}", start.elapsed());
        assert_eq!(canceled.text("status"), "canceled", "{phase}");
    }
}

#[test]
fn a_worker_has_no_route_and_no_health_check() {
    let server = TestServer::start(BINARY);
    let app = App::empty("jobs")
        .with("package.json", r#"{"name":"jobs","scripts":{"start":"node work.js"}}"#)
        .with("work.js", "console.log('working'); setInterval(() => {}, 1000);")
        .settings("kind = \"worker\"");
    up(&server, app.path());
    wait::until("the worker's log", BOUND, || {
        server.run_in(app.path(), &["logs"]).stdout.contains("working").then_some(())
    });
    assert_eq!(server.get("web-jobs.localhost", "/").status, 404);
}

#[test]
fn settings_and_secrets_are_kept_and_secrets_are_write_only() {
    let server = TestServer::start(BINARY);
    let app = App::node("kept", "v1");
    let run = |args: &[&str]| server.run_in(app.path(), args);
    let _ = run(&["service", "set", "replicas=2", "resources.memory=256MB"]).expect_code(0);
    let _ = run(&["env", "set", "--secret", "TOKEN=sentinel-8080"]).expect_code(0);
    up(&server, app.path());
    let text = run(&["ps", "--json"]).expect_code(0).stdout.replace(' ', "");
    assert!(text.contains("\"replicas_wanted\":2"), "{text}");
    assert_eq!(server.get("web-kept.localhost", "/env?name=TOKEN").body, "sentinel-8080");
    for args in [&["env", "ls"][..], &["env", "ls", "--json"], &["events"], &["logs"], &["ps", "--json"]] {
        let shown = run(args).expect_code(0);
        assert!(!shown.stdout.contains("sentinel-8080"), "{args:?} shows the secret");
    }
    assert_eq!(run(&["service", "set", "replicsa=2"]).code, 2);
    let _ = run(&["env", "unset", "TOKEN", "--stage"]).expect_code(0);
    assert!(!run(&["env", "ls"]).stdout.contains("TOKEN"));
}

#[test]
fn apps_keep_running_while_the_server_restarts() {
    let mut server = TestServer::start(BINARY);
    let app = App::node("steady", "v1");
    up(&server, app.path());
    let pid_of = |server: &TestServer| server.get("web-steady.localhost", "/whoami");
    let before = pid_of(&server);
    server.stop_process();
    server.start_process();
    let after = wait::until("the app to answer", BOUND, || Some(pid_of(&server)).filter(|answer| answer.status == 200));
    assert_eq!(before.body, after.body);
    server.kill_process();
    server.start_process();
    wait::until("the app to answer after kill -9", BOUND, || {
        Some(pid_of(&server)).filter(|answer| answer.status == 200)
    });
    app.set_version("v2");
    up(&server, app.path());
    assert_eq!(server.get("web-steady.localhost", "/").body, "v2\n");
}

#[test]
fn destroy_leaves_nothing() {
    let server = TestServer::start(BINARY);
    let app = App::node("gone", "v1");
    up(&server, app.path());
    let _ = server.run_in(app.path(), &["destroy", "--yes"]).expect_code(0);
    wait::until("the route to go", BOUND, || (server.get("web-gone.localhost", "/").status == 404).then_some(()));
    assert!(!server.run(&["ps"]).stdout.contains("gone"));
    wait::until("the sandboxes to go", BOUND, || server.sandboxes().is_empty().then_some(()));
}
