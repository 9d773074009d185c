//! What is sent again, and what never is.

use crate::client::Client;
use crate::harness::{App, Edge, full, nobody, patient, route, target, within};
use slipway_edge::EdgeLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Answers the first request of each connection, and takes the second without an answer.
async fn one_answer_a_connection(taken: Arc<AtomicUsize>) -> App {
    App::raw(move |mut stream| {
        let taken = taken.clone();
        async move {
            if read_head(&mut stream).await.is_none() {
                return;
            }
            taken.fetch_add(1, Ordering::SeqCst);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            if read_head(&mut stream).await.is_some() {
                taken.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_on_a_stale_connection_is_sent_again() {
    let taken = Arc::new(AtomicUsize::new(0));
    let app = one_answer_a_connection(taken.clone()).await;
    let edge = Edge::start_limited(patient(), vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    assert_eq!(client.get("x.test", "/").await.status, 200);
    let answer = client.get("x.test", "/").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
    assert_eq!((app.connections(), taken.load(Ordering::SeqCst)), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_never_sent_twice() {
    for request in [
        "POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 1\r\n\r\nx",
        "DELETE / HTTP/1.1\r\nHost: x.test\r\n\r\n",
    ] {
        let taken = Arc::new(AtomicUsize::new(0));
        let app = one_answer_a_connection(taken.clone()).await;
        let edge = Edge::start_limited(patient(), vec![route("x.test", vec![target("r-a", app.address)])]).await;
        let mut client = Client::connect(edge.address).await;
        assert_eq!(client.get("x.test", "/").await.status, 200);
        let answer = client.ask(request).await;
        assert_eq!((answer.status, answer.header("x-slipway-error")), (502, Some("upstream-broken")), "{request}");
        assert_eq!((app.connections(), taken.load(Ordering::SeqCst)), (1, 2), "{request}");
    }
}

/// The app closes idle connections at once: none of them may cost a request, whatever its method.
#[tokio::test(flavor = "multi_thread")]
async fn connections_closed_by_the_app_are_not_used() {
    let app = App::raw(|mut stream| async move {
        if read_head(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await.unwrap();
        }
    })
    .await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    for _ in 0..20 {
        let answer = client.ask("POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 0\r\n\r\n").await;
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
    assert_eq!(app.connections(), 20);
}

/// A fresh connection that breaks is the app's failure: the request may have had its effect.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_on_a_fresh_connection_is_not_repeated() {
    let app = App::raw(|mut stream| async move {
        let _ = read_head(&mut stream).await;
    })
    .await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let answer = Client::connect(edge.address).await.get("x.test", "/").await;
    assert_eq!(answer.status, 502);
    assert_eq!(app.connections(), 1);
}

/// A replica that refuses for a moment (its app restarts) or was replaced meanwhile does not cost the request.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_looks_at_the_table_again() {
    let (dead, app) = (nobody(), App::start(|_| async { full("new") }).await);
    // As many as it takes until the next table is there.
    let limits = EdgeLimits { connect_attempts_max: 100, ..EdgeLimits::default() };
    let mut edge = Edge::start_limited(limits, vec![route("x.test", vec![target("r-dead", dead.address)])]).await;
    let address = edge.address;
    let asking = tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        client.ask("POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 2\r\n\r\nhi").await
    });
    edge.route(vec![route("x.test", vec![target("r-new", app.address)])]).await;
    edge.drained("r-dead").await;
    assert_eq!(asking.await.unwrap().body, "new");
    assert_eq!(app.requests(), 1);
}

/// The pool belongs to the replica: another one at the same address gets connections of its own.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_when_the_replica_leaves() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut edge = Edge::start(vec![route("x.test", vec![target("r-a", address)])]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let mut first = within("a connection", listener.accept()).await.unwrap().0;
    read_head(&mut first).await.unwrap();
    first.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
    assert_eq!(client.answer().await.body, "ok");

    edge.route(vec![route("x.test", vec![target("r-b", address)])]).await;
    edge.drained("r-a").await;
    assert_eq!(within("the end", read_head(&mut first)).await, None);
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let mut second = within("a connection", listener.accept()).await.unwrap().0;
    assert!(read_head(&mut second).await.is_some());
}
