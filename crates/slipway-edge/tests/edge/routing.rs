//! Which app gets a request.

use crate::client::Client;
use crate::harness::{App, Edge, nobody, patient, route, target};
use slipway_types::route::RouteTable;
use std::collections::HashMap;

#[tokio::test(flavor = "multi_thread")]
async fn the_host_decides() {
    let (a, b) = (App::named("a").await, App::named("b").await);
    let edge = Edge::start(vec![
        route("a.test", vec![target("r-a", a.address)]),
        route("b.test", vec![target("r-b", b.address)]),
    ])
    .await;
    let mut client = Client::connect(edge.address).await;
    for (host, expected) in [("a.test", "a"), ("b.test", "b"), ("B.Test:8080", "b"), ("a.test.", "a")] {
        assert_eq!(client.get(host, "/").await.body, expected, "{host}");
    }
    // The request target counts before the header.
    let answer = client.ask("GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert_eq!(answer.body, "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_one_host_is_refused() {
    let app = App::named("a").await;
    let edge = Edge::start(vec![route("a.test", vec![target("r-a", app.address)])]).await;
    for request in
        ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"]
    {
        let answer = Client::connect(edge.address).await.ask(request).await;
        assert_eq!((answer.status, answer.header("x-slipway-error")), (400, Some("bad-host")), "{request}");
    }
    let answer =
        Client::connect(edge.address).await.ask("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n").await;
    assert_eq!(answer.status, 405);
    assert_eq!(app.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_table_is_refused() {
    let (a, b) = (App::named("a").await, App::named("b").await);
    let mut edge = Edge::start(vec![route("x.test", vec![target("r-a", a.address)])]).await;
    edge.send(RouteTable { generation: 7, routes: vec![route("x.test", vec![target("r-b", b.address)])] });
    edge.applied(7).await;
    edge.drained("r-a").await;
    edge.send(RouteTable { generation: 6, routes: vec![route("x.test", vec![target("r-a", a.address)])] });
    edge.send(RouteTable { generation: 8, routes: vec![route("x.test", vec![target("r-b", b.address)])] });
    edge.applied(8).await;
    assert_eq!(Client::connect(edge.address).await.get("x.test", "/").await.body, "b");
    assert_eq!(edge.stop().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_the_load_and_connections_are_reused() {
    let apps = [App::named("0").await, App::named("1").await, App::named("2").await];
    let targets = apps.iter().enumerate().map(|(i, app)| target(&format!("r-{i}"), app.address)).collect();
    let edge = Edge::start_limited(patient(), vec![route("x.test", targets)]).await;
    let mut counts: HashMap<String, usize> = HashMap::new();
    let mut client = Client::connect(edge.address).await;
    for _ in 0..90 {
        *counts.entry(client.get("x.test", "/").await.body).or_default() += 1;
    }
    assert_eq!(counts, HashMap::from([("0".to_owned(), 30), ("1".to_owned(), 30), ("2".to_owned(), 30)]));
    for app in &apps {
        assert_eq!(app.connections(), 1, "one client at a time needs one connection");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_replica_does_not_cost_a_request() {
    let app = App::named("alive").await;
    let dead = nobody();
    let targets = vec![target("r-dead", dead.address), target("r-alive", app.address)];
    let edge = Edge::start(vec![route("x.test", targets)]).await;
    let mut client = Client::connect(edge.address).await;
    for _ in 0..20 {
        let answer = client.ask("POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "alive"));
    }
    assert_eq!(app.requests(), 20);
}
