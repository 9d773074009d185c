//! What a client cannot do to the edge, and how it ends.

use crate::client::Client;
use crate::drain::streaming;
use crate::harness::{App, Edge, route, target, within};
use slipway_edge::{EdgeConfig, EdgeLimits};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Long enough for a test that is held off between its connection and its request.
const HEAD: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn oversized_heads_are_refused() {
    let app = App::named("a").await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let many: String = (0..200).map(|i| format!("X-{i}: 1\r\n")).collect();
    for (fields, expected) in [
        (format!("X-Large: {}\r\n", "a".repeat(20 * 1024)), 200),
        (format!("X-Large: {}\r\n", "a".repeat(40 * 1024)), 431),
        (format!("X-Large: {}\r\n", "a".repeat(200 * 1024)), 431),
        (many, 431),
    ] {
        let stream = Client::connect(edge.address).await.stream;
        let (read, mut write) = stream.into_split();
        let request = format!("GET / HTTP/1.1\r\nHost: x.test\r\n{fields}\r\n");
        // The edge may answer and close before it has read all.
        let writing = tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut write, request.as_bytes()).await;
            write
        });
        let mut line = [0; 12];
        within("an answer", tokio::io::AsyncReadExt::read_exact(&mut { read }, &mut line)).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&line), format!("HTTP/1.1 {expected}"));
        writing.await.unwrap();
    }
    assert_eq!(app.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_cut_and_a_quick_one_is_not() {
    let (app, mut opened) = streaming().await;
    let limits = EdgeLimits { header_read_timeout: HEAD, ..EdgeLimits::default() };
    let edge = Edge::start_limited(limits, vec![route("x.test", vec![target("r-a", app.address)])]).await;
    // One says nothing, one dribbles, one waits for its response for longer than a head may take.
    let mut silent = Client::connect(edge.address).await;
    let mut waiting = Client::connect(edge.address).await;
    waiting.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let chunks = within("a request", opened.recv()).await.unwrap();
    let began = Instant::now();
    let slow = TcpStream::connect(edge.address).await.unwrap();
    let (read, mut write) = slow.into_split();
    let dribble = tokio::spawn(async move {
        loop {
            if tokio::io::AsyncWriteExt::write_all(&mut write, b"G").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut buffer = Vec::new();
    let _ = within("the cut", tokio::io::AsyncReadExt::read_to_end(&mut { read }, &mut buffer)).await;
    assert!(began.elapsed() >= HEAD - Duration::from_millis(50), "cut after {:?}", began.elapsed());
    dribble.abort();
    assert_eq!(silent.rest().await, b"");
    drop(chunks);
    assert_eq!(waiting.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_in_time() {
    let app = App::named("a").await;
    let idle = HEAD + Duration::from_secs(1);
    let limits = EdgeLimits { header_read_timeout: HEAD, client_idle_timeout: idle, ..EdgeLimits::default() };
    let edge = Edge::start_limited(limits, vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    // Before the request: its end is seen later than it is.
    let began = Instant::now();
    assert_eq!(client.get("x.test", "/").await.body, "a");
    assert_eq!(client.rest().await, b"");
    assert!(began.elapsed() >= idle - Duration::from_millis(50), "closed after {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_request_is_cut() {
    let (app, mut opened) = streaming().await;
    let limits =
        EdgeLimits { stall_timeout: Duration::from_secs(1), header_read_timeout: HEAD, ..EdgeLimits::default() };
    let mut edge = Edge::start_limited(limits, vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let _chunks = within("a request", opened.recv()).await.unwrap();
    edge.route(vec![]).await;
    client.rest().await;
    edge.drained("r-a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_past_the_bound_wait() {
    let app = App::named("a").await;
    let limits = EdgeLimits { connections_max: 2, ..EdgeLimits::default() };
    let config = EdgeConfig { limits, threads: std::num::NonZeroUsize::new(1), ..EdgeConfig::default() };
    let edge = Edge::start_with(config, vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut first = Client::connect(edge.address).await;
    let mut second = Client::connect(edge.address).await;
    assert_eq!(first.get("x.test", "/").await.body, "a");
    assert_eq!(second.get("x.test", "/").await.body, "a");
    let mut third = Client::connect(edge.address).await;
    third.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    assert_eq!(first.get("x.test", "/").await.body, "a");
    assert_eq!(app.requests(), 3, "the third must wait");
    drop(first);
    assert_eq!(third.answer().await.body, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_lets_requests_end() {
    let (app, mut opened) = streaming().await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let address = edge.address;
    let mut idle = Client::connect(address).await;
    let mut busy = Client::connect(address).await;
    idle.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    drop(within("a request", opened.recv()).await.unwrap());
    assert_eq!(idle.answer().await.status, 200);
    busy.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let chunks = within("a request", opened.recv()).await.unwrap();
    chunks.send("one").unwrap();
    assert_eq!(busy.head().await.status, 200);
    edge.shutdown.cancel();
    assert_eq!(idle.rest().await, b"");
    within("the listener's end", async { while TcpStream::connect(address).await.is_ok() {} }).await;
    assert_eq!(busy.chunk().await, b"one");
    chunks.send("two").unwrap();
    drop(chunks);
    assert_eq!(busy.chunk().await, b"two");
    assert_eq!(busy.chunk().await, b"");
    edge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_is_bounded() {
    let (app, mut opened) = streaming().await;
    let limits = EdgeLimits { shutdown_grace: Duration::from_millis(200), ..EdgeLimits::default() };
    let edge = Edge::start_limited(limits, vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let _chunks = within("a request", opened.recv()).await.unwrap();
    assert_eq!(client.head().await.status, 200);
    edge.stop().await;
    assert_eq!(client.rest().await, b"", "cut, without the end of the body");
}
