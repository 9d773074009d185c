//! What the edge counts.

use crate::client::Client;
use crate::drain::streaming;
use crate::harness::{App, Edge, route, target, within};
use slipway_edge::{EdgeConfig, Meter};
use slipway_types::traffic::Traffic;
use std::time::Duration;

/// Until the numbers are as wanted: a connection's end is noticed a moment later.
async fn until(meter: &Meter, what: &str, wanted: impl Fn(&Traffic) -> bool) {
    let looking = async {
        while !wanted(&meter.read()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(what, looking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_refusals_and_connections_are_counted_over_all_threads() {
    let (app, (stream, mut opened)) = (App::named("a").await, streaming().await);
    let config = EdgeConfig::default();
    let meter = config.meter.clone();
    let routes = [("a.test", "r-a", &app), ("s.test", "r-s", &stream)];
    let routes = routes.map(|(host, replica, app)| route(host, vec![target(replica, app.address)]));
    let edge = Edge::start_with(config, routes.into()).await;
    assert_eq!(meter.read(), Traffic::default());

    for _ in 0..8 {
        assert_eq!(Client::connect(edge.address).await.get("a.test", "/").await.body, "a");
    }
    let mut client = Client::connect(edge.address).await;
    assert_eq!(client.get("unknown.test", "/").await.status, 404);
    client.send("GET / HTTP/1.1\r\nHost: s.test\r\n\r\n").await;
    let chunks = opened.recv().await.unwrap();
    chunks.send("0").unwrap();
    assert_eq!(client.head().await.status, 200);

    until(&meter, "the ends of connections", |traffic| traffic.connections_open == 1).await;
    let traffic = meter.read();
    assert_eq!((traffic.connections_accepted, traffic.requests_open), (9, 1));
    assert_eq!(traffic.answers, [0, 9, 0, 1, 0]);
    assert_eq!(traffic.refusals, [("no-such-host".to_owned(), 1)].into());
    assert_eq!(traffic.heads.iter().sum::<u64>(), 10);
    assert!(traffic.heads_us > 0);

    drop(client);
    until(&meter, "the end of what was cut", |traffic| traffic.requests_open + traffic.connections_open == 0).await;
}
