//! Commands that show or change something and return.

use crate::fake_server::{FakeServer, Reply};
use crate::slipway::{run_with, run_with_input};
use serde_json::{Value, json};
use std::path::Path;

fn service() -> Value {
    let live = json!({
        "deployment": "dpl-1", "project": "shop", "service": "web", "trigger": "source", "status": "live",
        "phase": null, "release": 3, "source": "up-1", "url": null, "deployment_url": null, "created_at": 1,
        "finished_at": 2,
    });
    let mut newest = live.clone();
    newest["deployment"] = json!("dpl-2");
    newest["status"] = json!("building");
    newest["phase"] = json!("install");
    json!({
        "project": "shop", "service": "web", "kind": "web", "url": "http://web-shop.localhost:8080", "live": live,
        "newest": newest, "replicas_wanted": 2,
        "replicas": [{"replica": "r-1", "deployment": "dpl-1", "state": "ready", "since": 1}],
    })
}

fn server() -> FakeServer {
    FakeServer::start(|asked, _| match asked.line.as_str() {
        "GET /v1/services" => Reply::Json(200, json!([service()])),
        "GET /v1/projects/shop/services/web" => Reply::Json(200, service()),
        "GET /v1/projects/shop/services/web/settings" => {
            Reply::Json(200, json!({"settings": {"port": 4000, "health": {"path": "/up"}}}))
        }
        "PUT /v1/projects/shop/services/web/settings" => Reply::Json(200, asked.json()),
        "PATCH /v1/projects/shop/services/web/env" => Reply::Json(200, json!([])),
        "GET /v1/projects/shop/services/web/redeploy" => {
            Reply::Json(200, json!({"rebuilds": true, "because": "the build reads the variable `A`, which changed"}))
        }
        "GET /v1/projects/shop/services/web/env" => Reply::Json(
            200,
            json!([
                {"name": "A", "value": "1", "secret": false, "build": true, "run": true, "updated_at": 1},
                {"name": "KEY", "value": null, "secret": true, "build": false, "run": true, "updated_at": 1},
            ]),
        ),
        "GET /v1/projects/shop/services/web/logs?follow=false" => Reply::Lines(vec![json!(
            {"at": 1000, "replica": "r-1", "stream": "stdout", "line": "hello\u{7}"}
        )]),
        "GET /v1/deployments/dpl-2/events?follow=false" => Reply::Lines(vec![
            json!({"event": "phase_started", "at": 2, "phase": "build"}),
            json!({"event": "log", "at": 3, "phase": "build", "stream": "stdout", "line": "Compiled"}),
        ]),
        "GET /v1/projects/shop/services/web/events?limit=2" | "GET /v1/events?limit=1000" => Reply::Json(
            200,
            json!([
                {"at": 2000, "project": "shop", "service": "web", "deployment": "dpl-1", "run": "0101010101", "kind": "deployment-live", "message": "v3"},
                {"at": 1000, "project": "shop", "service": "web", "deployment": null, "kind": "service-created", "message": ""},
            ]),
        ),
        "POST /v1/deployments/dpl-2/cancel" => Reply::Json(200, service()["newest"].clone()),
        "DELETE /v1/projects/shop/services/web" => Reply::Json(200, Value::Null),
        line => Reply::Json(404, json!({"code": "x", "blame": "user", "retry": false, "message": line})),
    })
}

fn run(server: &FakeServer, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--project", "shop"]).collect();
    let run = run_with(server, Path::new("/"), &arguments);
    assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.stderr);
    run.stdout
}

#[test]
fn ps_shows_what_is_live_and_what_runs() {
    let server = server();
    let stdout = run(&server, &["ps"]);
    let lines: Vec<Vec<&str>> =
        stdout.lines().map(|line| line.split("  ").filter(|c| !c.is_empty()).collect()).collect();
    assert_eq!(
        lines[0].iter().map(|c| c.trim()).collect::<Vec<_>>(),
        ["PROJECT", "SERVICE", "STATUS", "RELEASE", "REPLICAS", "CHANGED", "URL"]
    );
    let row: Vec<&str> = lines[1].iter().map(|cell| cell.trim()).collect();
    assert_eq!(row[..5], ["shop", "web", "live, newest building (install)", "v3", "1/2"]);
    assert_eq!(row[6], "http://web-shop.localhost:8080");
    let listed: Value = serde_json::from_str(&run(&server, &["ps", "--json"])).unwrap();
    assert_eq!(listed[0]["live"]["release"], 3);
    assert_eq!(run(&server, &["ps", "--json", "--service", "other"]).trim(), "[]");
}

#[test]
fn events_are_listed_oldest_first() {
    let server = server();
    let stdout = run(&server, &["events", "--limit", "2", "--service", "web"]);
    insta::assert_snapshot!(stdout, @r"
    AT                   SERVICE   DEPLOYMENT  RUN         EVENT            MESSAGE
    1970-01-01 00:00:01  shop/web  -           -           service-created  -
    1970-01-01 00:00:02  shop/web  dpl-1       0101010101  deployment-live  v3
    ");
    let newest: Value = serde_json::from_str(&run(&server, &["events", "--limit", "1", "--json"])).unwrap();
    assert_eq!((newest.as_array().unwrap().len(), &newest[0]["at"]), (1, &json!(2000)));
}

#[test]
fn logs_of_replicas_and_of_phases() {
    let server = server();
    assert_eq!(run(&server, &["logs"]), "1970-01-01 00:00:01 r-1 hello\n");
    assert_eq!(run(&server, &["logs", "--build"]), "[build] Compiled\n");
    let line: Value = serde_json::from_str(&run(&server, &["logs", "--json"])).unwrap();
    assert_eq!(line["replica"], "r-1");
}

/// The server breaks off, stops in order, is away, and then the service is gone.
#[test]
fn a_follower_goes_on_behind_the_last_line_until_there_is_nothing_to_follow() {
    let line = |n: u32| json!({"cursor": format!("0.{n}"), "at": 1000, "replica": "r-1", "run": "ab", "stream": "stdout", "line": format!("line {n}")});
    let server = FakeServer::start(move |asked, before| {
        let after = asked.line.rsplit("after=").next().filter(|_| asked.line.contains("after="));
        match (before, after) {
            (0, None) => Reply::Broken(vec![json!({"cursor": "0.0"}), line(1), line(2)]),
            (1, Some("0.2")) => Reply::Lines(vec![line(3), json!({"cursor": "0.9"})]),
            (2, Some("0.9")) => {
                Reply::Json(503, json!({"code": "stopping", "blame": "platform", "retry": true, "message": "it stops"}))
            }
            (3, Some("0.9")) => Reply::Lines(vec![line(10)]),
            (4, Some("0.10")) => {
                Reply::Json(404, json!({"code": "service-unknown", "blame": "user", "retry": false, "message": "gone"}))
            }
            other => {
                Reply::Json(400, json!({"code": "x", "blame": "user", "retry": false, "message": format!("{other:?}")}))
            }
        }
    });
    let stdout = run(&server, &["logs", "--follow", "--tail", "5", "--grep", "a b"]);
    let lines: Vec<&str> = stdout.lines().map(|line| line.rsplit_once("r-1 ").unwrap().1).collect();
    assert_eq!(lines, ["line 1", "line 2", "line 3", "line 10"]);
    let asked = server.lines();
    let first = "GET /v1/projects/shop/services/web/logs?follow=true&grep=a%20b&positions=true&tail=5";
    assert_eq!((asked[0].as_str(), asked[1].contains("tail=")), (first, false));
}

#[test]
fn service_set_sends_what_is_said() {
    let server = server();
    run(&server, &["service", "set", "replicas=2", "health.timeout=2s"]);
    let sent = server.asked().pop().unwrap().json();
    assert_eq!(sent, json!({"settings": {"replicas": 2, "health": {"timeout": 2000}}}));
    assert_eq!(run(&server, &["service", "show"]), "port = 4000\n\n[health]\npath = \"/up\"\n");
}

#[test]
fn secrets_are_sent_and_never_shown() {
    let server = server();
    let arguments = ["env", "set", "KEY", "--secret", "--stdin", "--stage", "--project", "shop"];
    let run_ = run_with_input(&server, Path::new("/"), &arguments, "hush\n");
    assert_eq!(run_.code, Some(0), "{}", run_.stderr);
    let next = "`slipway redeploy` applies them and builds again: the build reads the variable `A`, which changed";
    assert!(run_.stderr.contains(next), "{}", run_.stderr);
    assert!(!run_.stderr.contains("hush") && !run_.stdout.contains("hush"));
    let patched =
        |server: &FakeServer| server.asked().into_iter().rfind(|asked| asked.line.starts_with("PATCH")).unwrap().json();
    let sent = patched(&server);
    assert_eq!(sent["set"], json!({"KEY": {"value": "hush", "secret": true, "build": false, "run": true}}));
    run(&server, &["env", "unset", "A", "B", "--no-restart"]);
    assert_eq!(patched(&server), json!({"set": {}, "unset": ["A", "B"]}));
    let listed = run(&server, &["env", "ls"]);
    let lines: Vec<Vec<&str>> = listed.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1][..4], ["A", "1", "build,", "run"]);
    assert_eq!(lines[2][..3], ["KEY", "(secret)", "run"]);
}

#[test]
fn open_cancel_and_destroy() {
    let server = server();
    assert_eq!(run(&server, &["open"]), "http://web-shop.localhost:8080\n");
    run(&server, &["cancel"]);
    assert_eq!(server.lines().pop().unwrap(), "POST /v1/deployments/dpl-2/cancel");
    let refused = run_with(&server, Path::new("/"), &["destroy", "--project", "shop"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("hint: add `--yes`"), "{}", refused.stderr);
    run(&server, &["destroy", "--yes"]);
    assert_eq!(server.lines().pop().unwrap(), "DELETE /v1/projects/shop/services/web");
}
