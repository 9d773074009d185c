//! Deployments of a commit.

use crate::BINARY;
use slipway_testing::{App, TestServer};
use std::io::{Read, Write};
use std::net::TcpListener;

fn deploy(server: &TestServer, app: &App, url: &str, reference: &str, code: i32) -> slipway_testing::Outcome {
    let run = server.run_in(app.path(), &["deploy", "--git", url, "--ref", reference, "--json"]);
    run.expect_code(code).outcome()
}

#[test]
fn a_branch_a_tag_and_a_commit_deploy_and_a_missing_one_is_said() {
    let server = TestServer::start(BINARY);
    let app = App::node("repo", "one");
    let first = app.commit("one");
    app.set_version("two");
    app.commit("two");
    let url = format!("file://{}", app.path().display());
    let body = || server.get("web-repo.localhost", "/").body;
    deploy(&server, &app, &url, "main", 0);
    assert_eq!(body(), "two\n");
    let outcome = deploy(&server, &app, &url, &first, 0);
    assert_eq!(body(), "one\n");
    assert!(outcome.text("source").contains(&first[..7]), "{}", outcome.text("source"));
    deploy(&server, &app, &url, "no-such-branch", 1).expect_diagnosis("git-reference-missing");
    deploy(&server, &app, "http://127.0.0.1:1/none.git", "main", 1).expect_diagnosis("git-unreachable");
    assert_eq!(body(), "one\n");
}

#[test]
fn broken_slipway_toml() {
    let server = TestServer::start(BINARY);
    let app = App::node("badtoml", "one");
    app.commit("good");
    let url = format!("file://{}", app.path().display());
    deploy(&server, &app, &url, "main", 0);
    app.write("package.json", r#"{"name":"badtoml","scripts":{"start":"node server.js"}}"#);
    std::fs::rename(app.path().join("slipway.toml"), app.path().join("kept.toml")).unwrap();
    app.write("slipway.toml", "project = \"badtoml\"\nreplicsa = 2\n");
    app.commit("bad");
    std::fs::rename(app.path().join("kept.toml"), app.path().join("slipway.toml")).unwrap();
    let outcome = deploy(&server, &app, &url, "main", 1);
    let diagnosis = outcome.expect_diagnosis("invalid-slipway-toml");
    assert!(diagnosis.to_string().contains("replicas"), "the nearest key is named: {diagnosis}");
    assert_eq!(server.get("web-badtoml.localhost", "/").body, "one\n");
}

#[test]
fn refused_credentials_are_said() {
    let server = TestServer::start(BINARY);
    let app = App::node("private", "one");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/private.git", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"git\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            );
        }
    });
    deploy(&server, &app, &url, "main", 1).expect_diagnosis("git-authentication");
}
