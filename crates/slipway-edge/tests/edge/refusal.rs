//! The edge's own answers.

use crate::client::{Answer, Client};
use crate::harness::{App, Edge, nobody, route, target};
use slipway_edge::{EdgeConfig, EdgeLimits};
use slipway_types::route::RouteTable;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn browse(edge: &Edge, host: &str, accept: &str) -> Answer {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n");
    Client::connect(edge.address).await.ask(&request).await
}

fn assert_refusal(answer: &Answer, status: u16, code: &str, words: &[&str]) {
    assert_eq!((answer.status, answer.header("x-slipway-error")), (status, Some(code)), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let id = answer.header("x-request-id").unwrap();
    for word in words.iter().chain([&id, &code]) {
        assert!(answer.body.contains(word), "{word} in {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host_is_named() {
    let edge = Edge::start(vec![]).await;
    let page = browse(&edge, "no.test", "text/html,*/*").await;
    assert_refusal(&page, 404, "no-such-host", &["<!doctype html>", "no.test"]);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = browse(&edge, "no.test", "*/*").await;
    assert_refusal(&text, 404, "no-such-host", &["404", "no.test"]);
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    let json = browse(&edge, "no.test", "application/json").await;
    let body: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!((body["code"].as_str(), body["status"].as_u64()), (Some("no-such-host"), Some(404)));
    let evil = browse(&edge, "<script>alert(1)</script>", "text/html").await;
    assert_eq!(evil.status, 404);
    assert!(!evil.body.contains("<script"), "{}", evil.body);
    // The connection serves on, and HEAD gets no body.
    let mut client = Client::connect(edge.address).await;
    client.send("HEAD / HTTP/1.1\r\nHost: no.test\r\n\r\n").await;
    assert_eq!(client.head().await.status, 404);
    assert_eq!(client.get("no.test", "/").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_targets_says_why() {
    let mut waiting = route("x.test", vec![]);
    waiting.unavailable_because = Some("its deployment <dpl-1> is starting".to_owned());
    let edge = Edge::start(vec![waiting, route("y.test", vec![])]).await;
    let page = browse(&edge, "x.test", "text/html").await;
    let words = ["Service web", "project shop", "dpl-1", "its deployment &lt;dpl-1&gt; is starting."];
    assert_refusal(&page, 503, "no-ready-replica", &words);
    assert!(page.header("retry-after").is_some());
    assert_refusal(&browse(&edge, "y.test", "*/*").await, 503, "no-ready-replica", &["no ready replica"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_without_a_table_says_that_it_starts() {
    let mut edge = Edge::start_at(EdgeConfig::default(), RouteTable::default()).await;
    let answer = browse(&edge, "x.test", "*/*").await;
    assert_refusal(&answer, 503, "edge-starting", &["does not know its routes yet"]);
    assert!(answer.header("retry-after").is_some());
    edge.route(vec![]).await;
    assert_eq!(browse(&edge, "x.test", "*/*").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_fails_is_a_502_that_names_it() {
    let broken = App::raw(|mut stream| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
    })
    .await;
    let nobody = nobody();
    let edge = Edge::start(vec![
        route("dead.test", vec![target("r-dead", nobody.address)]),
        route("broken.test", vec![target("r-broken", broken.address)]),
    ])
    .await;
    let dead = browse(&edge, "dead.test", "text/html").await;
    assert_refusal(&dead, 502, "upstream-unreachable", &["Service web", "dpl-1", "nothing listens on its port"]);
    let garbage = browse(&edge, "broken.test", "*/*").await;
    assert_refusal(&garbage, 502, "upstream-broken", &["Service web", "not HTTP"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_silent_is_a_504() {
    let app = App::raw(|mut stream| async move {
        let mut buffer = [0; 1024];
        while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
    })
    .await;
    let limits = EdgeLimits { response_header_timeout: Duration::from_millis(300), ..EdgeLimits::default() };
    let mut edge = Edge::start_limited(limits, vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let answer = browse(&edge, "x.test", "*/*").await;
    assert_refusal(&answer, 504, "upstream-timeout", &["Service web", "0.3 s"]);
    edge.route(vec![]).await;
    edge.drained("r-a").await;
}
