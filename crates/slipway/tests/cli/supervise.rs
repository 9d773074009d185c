//! `restart`, `scale`, `stop`, `start`, and what `ps` says of a service that is not well.

use crate::fake_server::{FakeServer, Reply};
use crate::slipway::run_with;
use serde_json::{Value, json};
use std::path::Path;

/// A live service with what differs.
fn service(changes: Value) -> Value {
    let live = json!({
        "deployment": "dpl-1", "project": "shop", "service": "web", "trigger": "source", "status": "live", "phase": null,
        "release": 3, "source": "up-1", "url": null, "deployment_url": null, "created_at": 1, "finished_at": 2,
    });
    let mut service = json!({
        "project": "shop", "service": "web", "kind": "web", "url": "http://web-shop.localhost", "live": live,
        "newest": null, "replicas_wanted": 2, "replicas": [replica(1, "ready"), replica(2, "ready")],
    });
    let (fields, changes) = (service.as_object_mut().unwrap(), changes.as_object().unwrap().clone());
    fields.extend(changes);
    service
}

fn replica(number: u32, state: &str) -> Value {
    json!({"replica": format!("dpl-1-{number}"), "deployment": "dpl-1", "state": state, "since": 1})
}

fn diagnosis() -> Value {
    json!({"code": "app-exited", "blame": "user", "what": "the app exited with status 3 at its start", "where": "`npm start`",
        "why": "", "hints": ["`slipway logs` shows what it printed"]})
}

/// Exit code, standard output and standard error of a command, against answers that come one after the other.
fn run(answers: Vec<Value>, arguments: &[&str]) -> (Option<i32>, String, String, Vec<String>) {
    let server = FakeServer::start(move |_, before| Reply::Json(200, answers[before.min(answers.len() - 1)].clone()));
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--project", "shop"]).collect();
    let run = run_with(&server, Path::new("/"), &arguments);
    (run.code, run.stdout, run.stderr, server.lines())
}

#[test]
fn a_restart_is_followed_to_its_end() {
    let at = |replaced: u32, of: u32| service(json!({"restart": {"replaced": replaced, "of": of}}));
    let (code, _, stderr, asked) = run(vec![at(0, 2), at(1, 2), at(2, 2)], &["restart"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stderr, "1 of 2 replicas are replaced\n2 of 2 replicas are replaced\nshop/web is restarted\n");
    assert_eq!(asked[..2], ["POST /v1/projects/shop/services/web/restart", "GET /v1/projects/shop/services/web"]);
    let (code, stdout, _, asked) = run(vec![at(0, 2)], &["restart", "--detach", "--json"]);
    let printed: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &printed["restart"]["of"], asked.len()), (Some(0), &json!(2), 1));
}

#[test]
fn what_does_not_come_up_is_exit_code_1() {
    let failed = service(json!({"restart": {"replaced": 1, "of": 2, "failed": diagnosis()}}));
    let (code, _, stderr, _) = run(vec![failed], &["restart"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("error: a new replica did not become ready: the app exited with status 3"), "{stderr}");
    assert!(stderr.contains("hint: the other replicas run on as before"), "{stderr}");
    let looping = service(json!({"replicas": [replica(1, "crash-looping")], "replicas_wanted": 1}));
    let (code, _, stderr, _) = run(vec![looping], &["start"]);
    assert_eq!((code, stderr.contains("dpl-1-1 crashes again and again")), (Some(1), true), "{stderr}");
}

#[test]
fn a_scale_waits_for_its_replicas_and_may_name_its_service() {
    let coming = service(json!({"replicas": [replica(1, "ready"), replica(2, "starting")]}));
    let (code, _, stderr, asked) = run(vec![coming, service(json!({}))], &["scale", "worker=2"]);
    assert_eq!((code, stderr.as_str()), (Some(0), "shop/worker runs with 2 replicas\n"));
    assert_eq!(asked[0], "POST /v1/projects/shop/services/worker/scale");
    let (code, _, stderr, _) = run(vec![service(json!({"stopped": true, "replicas": []}))], &["stop"]);
    assert_eq!((code, stderr.contains("shop/web is stopped")), (Some(0), true), "{stderr}");
    assert_eq!(run(vec![json!({})], &["scale", "many"]).0, Some(2));
}

#[test]
fn ps_says_how_what_is_live_is() {
    let troubled = |state: &str, trouble: Value| {
        let mut one = replica(1, state);
        one["trouble"] = trouble;
        service(json!({"replicas": [one, replica(2, "ready")]}))
    };
    let (far, code) = (4_102_444_800_000_i64, "app-exited");
    let looping = json!({"code": code, "what": "x", "exit": {"code": 3, "signal": null, "out_of_memory": false},
        "crashes": 4, "next_start_at": far});
    let unready = json!({"code": "health-path-status", "what": "x", "crashes": 0});
    let started = json!({"code": code, "what": "x", "crashes": 1, "next_start_at": 1});
    for (service, expected) in [
        (troubled("crash-looping", looping), "live, crash-looping (app-exited, next start in "),
        (troubled("restarting", started), "live, restarting (app-exited, starting)"),
        (troubled("unready", unready), "live, unready (health-path-status)"),
        (service(json!({"stopped": true, "replicas": []})), "stopped"),
        (service(json!({"restart": {"replaced": 1, "of": 2}})), "live, restarting (1 of 2)"),
    ] {
        let (_, stdout, _, _) = run(vec![json!([service])], &["ps"]);
        assert!(stdout.contains(&format!("web      {expected}")), "{expected}: {stdout}");
    }
}
