//! No request is lost over a switch. The old app is cut off the moment that `Drained` is reported, as a host would.

use crate::client::Client;
use crate::harness::{App, AppRequest, Edge, full, route, target};
use http_body_util::BodyExt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SWITCHES: usize = 40;

async fn start_app(version: usize) -> App {
    App::start(move |request: AppRequest| async move {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let delay: u64 = path.trim_start_matches('/').parse().unwrap();
        // Part of the app's work, not a wait for something.
        tokio::time::sleep(Duration::from_millis(delay)).await;
        full(format!("{version}:{}", String::from_utf8_lossy(&body)))
    })
    .await
}

/// Asks until told to stop; every answer must be whole, and never of a version older than one seen before.
async fn keep_asking(edge: SocketAddr, kind: usize, stop: Arc<AtomicBool>, applied: Arc<AtomicUsize>) -> usize {
    let mut client = Client::connect(edge).await;
    let mut asked = 0;
    while !stop.load(Ordering::SeqCst) {
        if kind == 3 {
            client = Client::connect(edge).await;
        }
        let oldest = applied.load(Ordering::SeqCst);
        let delay = (asked * 7 + kind) % 5;
        let answer = match kind {
            0 | 3 => client.get("x.test", &format!("/{delay}")).await,
            1 => {
                let head = format!("POST /{delay} HTTP/1.1\r\nHost: x.test\r\nContent-Length: 5\r\n\r\n");
                client.send(head).await;
                client.ask("hello").await
            }
            _ => {
                let head = format!("POST /{delay} HTTP/1.1\r\nHost: x.test\r\nTransfer-Encoding: chunked\r\n\r\n");
                client.send(head + "3\r\nhel\r\n").await;
                client.ask("2\r\nlo\r\n0\r\n\r\n").await
            }
        };
        assert_eq!(answer.status, 200, "request {asked} of kind {kind}: {answer:?}");
        let (version, echo) = answer.body.split_once(':').unwrap();
        assert_eq!(echo, if kind == 1 || kind == 2 { "hello" } else { "" });
        assert!(version.parse::<usize>().unwrap() >= oldest, "an old version answered a new request");
        asked += 1;
    }
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_over_many_switches() {
    let mut app = start_app(0).await;
    let mut edge = Edge::start(vec![route("x.test", vec![target("r-0", app.address)])]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let applied = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> =
        (0..12).map(|i| tokio::spawn(keep_asking(edge.address, i % 4, stop.clone(), applied.clone()))).collect();
    for version in 1..=SWITCHES {
        let next = start_app(version).await;
        edge.route(vec![route("x.test", vec![target(&format!("r-{version}"), next.address)])]).await;
        applied.store(version, Ordering::SeqCst);
        edge.drained(&format!("r-{}", version - 1)).await;
        drop(std::mem::replace(&mut app, next));
        let served = || app.requests();
        while served() < 20 && clients.iter().any(|client| !client.is_finished()) {
            tokio::task::yield_now().await;
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut asked = 0;
    for client in clients {
        asked += client.await.unwrap();
    }
    assert!(asked >= SWITCHES * 20, "only {asked} requests were made");
    assert_eq!(edge.stop().await, [], "each replica is reported once");
}
