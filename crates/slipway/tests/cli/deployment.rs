//! Commands that begin a deployment and watch it.

use crate::fake_server::{Asked, FakeServer, Reply};
use crate::slipway::{finish, run_with, with_server};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use tempfile::TempDir;

fn view(status: &str, diagnosis: Value) -> Value {
    let mut view = json!({
        "deployment": "dpl-1", "project": "shop", "service": "web", "trigger": "source", "status": status,
        "phase": "build", "release": 3, "source": "up-1", "url": "http://web-shop.localhost:8080",
        "deployment_url": "http://dpl-1.localhost:8080", "created_at": 1000, "finished_at": 13_400,
    });
    if !diagnosis.is_null() {
        view["diagnosis"] = diagnosis;
    }
    view
}

fn diagnosis() -> Value {
    json!({
        "code": "build-failed", "blame": "user", "what": "the build command failed", "where": "npm run build",
        "why": "exit code 1", "hints": ["run it on your own machine"],
    })
}

fn begun() -> Vec<Value> {
    vec![
        json!({"event": "status", "at": 1, "status": "building"}),
        json!({"event": "phase_started", "at": 2, "phase": "build"}),
        json!({"event": "log", "at": 3, "phase": "build", "stream": "stdout", "line": "\u{1b}[32mCompiled\u{1b}[0m"}),
        json!({"event": "from_a_newer_server", "at": 4}),
        json!({
            "event": "phase_finished", "at": 5, "phase": "build", "duration_ms": 12_300, "result": "done",
            "note": "cache restored"
        }),
    ]
}

fn with_end(event: &str, deployment: Value) -> Vec<Value> {
    let mut lines = begun();
    lines.push(json!({"event": event, "at": 6, "deployment": deployment}));
    lines
}

fn deployed() -> Vec<Value> {
    with_end("deployed", view("live", Value::Null))
}

fn failed(status: &str, diagnosis: Value) -> Vec<Value> {
    with_end("failed", view(status, diagnosis))
}

/// A server that takes everything, and tells `events` of the deployment.
fn server(events: Vec<Value>) -> FakeServer {
    server_with(move |_| Reply::Lines(events.clone()))
}

fn server_with(events: impl Fn(usize) -> Reply + Send + Sync + 'static) -> FakeServer {
    let streams = std::sync::atomic::AtomicUsize::new(0);
    FakeServer::start(move |asked: &Asked, _| match asked.line.split_once(' ').unwrap() {
        ("POST", "/v1/uploads") => Reply::Json(200, json!({"upload": "up-1", "files": 1, "bytes": 1})),
        ("POST", _) => Reply::Json(202, view("queued", Value::Null)),
        ("GET", path) if path.starts_with("/v1/deployments/dpl-1/events?") => {
            events(streams.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
        }
        _ => Reply::Json(404, json!({"code": "x", "blame": "user", "retry": false, "message": "not there"})),
    })
}

fn source() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("slipway.toml"), "project = \"shop\"\n").unwrap();
    fs::write(dir.path().join("index.js"), "x").unwrap();
    dir
}

fn uploaded_paths(body: &[u8]) -> BTreeSet<String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(body));
    let entries = archive.entries().unwrap();
    entries.map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

#[test]
fn up_sends_the_directory_and_prints_the_address() {
    let (server, source) = (server(deployed()), source());
    fs::create_dir(source.path().join("node_modules")).unwrap();
    fs::write(source.path().join("node_modules/x.js"), "x").unwrap();
    let run = run_with(&server, source.path(), &["up"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.stdout, "http://web-shop.localhost:8080\n");
    let asked = server.asked();
    assert_eq!(
        server.lines(),
        [
            "POST /v1/uploads",
            "POST /v1/projects/shop/services/web/deployments",
            "GET /v1/deployments/dpl-1/events?follow=true"
        ]
    );
    assert!(asked.iter().all(|asked| asked.authorization.as_deref() == Some("Bearer secret-token")));
    assert!(asked[0].complete);
    assert_eq!(uploaded_paths(&asked[0].body), ["index.js", "slipway.toml"].map(str::to_owned).into());
    assert_eq!(asked[1].json(), json!({"source": {"from": "upload", "upload": "up-1"}}));
}

#[test]
fn a_pipe_sees_plain_lines() {
    let (server, source) = (server(deployed()), source());
    let run = run_with(&server, source.path(), &["up"]);
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert!(lines[0].starts_with("[upload] 2 files, "), "{}", run.stderr);
    assert_eq!(
        lines[1..],
        [
            "shop/web dpl-1",
            "[build] started",
            "[build] Compiled",
            "[build] cache restored in 12.3s",
            "✓ shop/web v3 is live after 12.4s",
        ]
    );
    assert!(!run.stderr.contains('\u{1b}'));
}

#[test]
fn json_is_the_stream_with_one_last_line() {
    let (server, source) = (server(deployed()), source());
    let run = run_with(&server, source.path(), &["up", "--json"]);
    let lines = run.json_lines();
    assert_eq!(run.code, Some(0));
    assert_eq!(lines[..5], begun());
    assert_eq!(lines.len(), 6);
    let last = &lines[5];
    assert_eq!((&last["event"], &last["status"]), (&json!("deployed"), &json!("live")));
    assert_eq!(last["url"], "http://web-shop.localhost:8080");
    assert_eq!((&last["diagnosis"], &last["deployment"]["release"]), (&Value::Null, &json!(3)));
}

#[test]
fn a_failure_ends_in_its_diagnosis() {
    let source = source();
    let run = run_with(&server(failed("failed", diagnosis())), source.path(), &["up"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    let end = "error: the build command failed [build-failed]\nwhere: npm run build\nwhy: exit code 1\nhint: run it on your own machine\n";
    assert!(run.stderr.ends_with(end), "{}", run.stderr);

    let run = run_with(&server(failed("failed", diagnosis())), source.path(), &["up", "--json"]);
    assert_eq!(run.code, Some(1));
    let last = run.json_lines().pop().unwrap();
    assert_eq!((&last["event"], &last["status"]), (&json!("failed"), &json!("failed")));
    assert_eq!(last["diagnosis"], diagnosis());

    let run = run_with(&server(failed("superseded", Value::Null)), source.path(), &["up"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stderr.ends_with("error: dpl-1 was superseded by a newer deployment\n"), "{}", run.stderr);
}

#[test]
fn detach_returns_at_once() {
    let (server, source) = (server(deployed()), source());
    let run = run_with(&server, source.path(), &["up", "--detach", "--json"]);
    let lines = run.json_lines();
    assert_eq!((run.code, lines.len()), (Some(0), 1));
    assert_eq!((&lines[0]["event"], &lines[0]["status"]), (&json!("deploying"), &json!("queued")));
    assert!(!server.lines().iter().any(|line| line.contains("/events")));
}

#[test]
fn a_broken_stream_is_taken_up_where_it_was() {
    let server = server_with(|stream| match stream {
        0 => Reply::Broken(begun()[..3].to_vec()),
        _ => Reply::Lines(deployed()),
    });
    let run = run_with(&server, source().path(), &["up", "--json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(run.json_lines().len(), 6, "{}", run.stdout);
    assert_eq!(run.json_lines()[..5], begun());
}

#[test]
fn the_log_of_a_build_goes_on_where_it_was() {
    let more = || {
        let mut events = deployed();
        let at = events.len() - 1;
        events.insert(
            at,
            json!({"event": "log", "at": 9, "phase": "pre-deploy", "stream": "stdout", "line": "migrated"}),
        );
        events
    };
    let server = server_with(move |stream| match stream {
        0 => Reply::Broken(begun()[..3].to_vec()),
        1 => Reply::Lines(begun()),
        _ => Reply::Lines(more()),
    });
    let run = run_with(&server, Path::new("/"), &["logs", "dpl-1", "--follow"]);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (Some(0), "[build] Compiled\n[pre-deploy] migrated\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn interrupting_leaves_the_deployment_alone() {
    let source = source();
    let server = server_with(|_| Reply::Held(begun()));
    let mut child = with_server(&server, source.path(), &["up", "--json"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("building"), "{line}");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let run = finish(child);
    assert_eq!(run.code, Some(130));
    assert!(run.stderr.contains("the deployment goes on; `slipway cancel dpl-1` ends it"), "{}", run.stderr);
    let last: Value = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
    assert_eq!(last["event"], "deploying");
    assert!(!server.lines().iter().any(|line| line.contains("cancel")));
}

#[test]
fn git_sends_the_url_without_its_credential() {
    let (server, dir) = (server(deployed()), tempfile::tempdir().unwrap());
    let arguments = ["deploy", "--git", "https://tok@git.example/me/shop.git", "--ref", "v1"];
    let run = run_with(&server, dir.path(), &arguments);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /v1/projects/shop/services/web/deployments");
    let git = json!({"from": "git", "url": "https://git.example/me/shop.git", "reference": "v1", "credential": "tok"});
    assert_eq!(asked.json()["source"], git);

    let mut command = with_server(&server, dir.path(), &["deploy", "--git", "https://git.example/me/shop.git"]);
    finish(command.env("SLIPWAY_GIT_TOKEN", "from-env").spawn().unwrap());
    let asked = server.asked();
    let second = asked.iter().filter(|asked| asked.line.starts_with("POST")).nth(1).unwrap();
    assert_eq!(second.json()["source"]["credential"], "from-env");
}

#[test]
fn rollback_and_redeploy_ask_for_it() {
    let (server, source) = (server(deployed()), source());
    assert_eq!(run_with(&server, source.path(), &["rollback", "v2"]).code, Some(0));
    assert_eq!(run_with(&server, source.path(), &["redeploy", "--service", "api"]).code, Some(0));
    let posts: Vec<Asked> = server.asked().into_iter().filter(|asked| asked.line.starts_with("POST")).collect();
    assert_eq!(posts[0].line, "POST /v1/projects/shop/services/web/rollback");
    assert_eq!(posts[0].json(), json!({"release": 2}));
    assert_eq!(posts[1].line, "POST /v1/projects/shop/services/api/redeploy");
    assert_eq!(posts[1].json(), json!({"rebuild": false}));
    assert_eq!(run_with(&server, source.path(), &["redeploy", "--rebuild"]).code, Some(0));
    assert_eq!(
        server.asked().into_iter().rfind(|asked| asked.line.starts_with("POST")).unwrap().json(),
        json!({"rebuild": true})
    );
}

#[test]
fn a_refused_upload_is_told_in_the_server_s_words() {
    let refusal = json!({
        "code": "upload-too-large", "blame": "user", "retry": false, "message": "the upload is larger than 1 MB",
        "hints": ["name what the build does not need in .slipwayignore"],
    });
    let server = FakeServer::start(move |_, _| Reply::Json(413, refusal.clone()));
    let run = run_with(&server, source().path(), &["up"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    let end = "error: the upload is larger than 1 MB\nhint: name what the build does not need in .slipwayignore\n";
    assert!(run.stderr.ends_with(end), "{}", run.stderr);
}

#[test]
fn a_link_that_leads_out_sends_nothing() {
    let (server, source) = (server(deployed()), source());
    std::os::unix::fs::symlink("/etc/passwd", source.path().join("p")).unwrap();
    let run = run_with(&server, source.path(), &["up"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("error: the link `p` leads to `/etc/passwd`"), "{}", run.stderr);
    assert!(server.asked().is_empty());
}
