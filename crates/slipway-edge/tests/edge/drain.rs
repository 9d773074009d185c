//! When a replica counts as drained.

use crate::client::Client;
use crate::harness::{App, AppBody, Edge, route, target, within};
use bytes::Bytes;
use http::Response;
use http_body_util::StreamBody;
use hyper::body::Frame;
use slipway_types::ReplicaId;
use slipway_types::route::EdgeReport;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

pub(crate) type Chunks = mpsc::UnboundedSender<&'static str>;

/// An app whose response body is what the test sends.
pub(crate) async fn streaming() -> (App, mpsc::UnboundedReceiver<Chunks>) {
    let (streams, opened) = mpsc::unbounded_channel();
    let app = App::start(move |_| {
        let (chunks, mut sent) = mpsc::unbounded_channel::<&'static str>();
        streams.send(chunks).unwrap();
        let frames = futures_util::stream::poll_fn(move |cx| {
            sent.poll_recv(cx).map(|chunk| chunk.map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from(chunk)))))
        });
        let body: AppBody = http_body_util::BodyExt::boxed(StreamBody::new(Mutexed(Arc::new(Mutex::new(frames)))));
        async move { Response::new(body) }
    })
    .await;
    (app, opened)
}

/// Makes a stream `Sync`, which a boxed body must be.
struct Mutexed<S>(Arc<Mutex<S>>);

impl<S: futures_util::Stream + Unpin> futures_util::Stream for Mutexed<S> {
    type Item = S::Item;
    fn poll_next(self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<S::Item>> {
        std::pin::Pin::new(&mut *self.0.lock().unwrap()).poll_next(cx)
    }
}

fn drained(replica: &str) -> EdgeReport {
    EdgeReport::Drained { replica: ReplicaId::parse(replica).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_drained_once_and_after_its_last_response_byte() {
    let ((old, mut opened), new) = (streaming().await, App::named("new").await);
    let mut edge = Edge::start(vec![route("x.test", vec![target("r-old", old.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let chunks = opened.recv().await.unwrap();
    chunks.send("one").unwrap();
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await, b"one");

    edge.route(vec![route("x.test", vec![target("r-new", new.address)])]).await;
    assert_eq!(Client::connect(edge.address).await.get("x.test", "/").await.body, "new");
    chunks.send("two").unwrap();
    assert_eq!(client.chunk().await, b"two");
    assert!(edge.reports.try_recv().is_err(), "drained with a response in flight");

    drop(chunks);
    assert_eq!(client.chunk().await, b"");
    edge.drained("r-old").await;
    edge.route(vec![route("y.test", vec![target("r-new", new.address)])]).await;
    assert_eq!(edge.stop().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_counts_after_its_response_has_ended() {
    // Answers before the body has come, and goes on reading.
    let (uploads, mut uploaded) = mpsc::unbounded_channel();
    let old = App::raw(move |mut stream| {
        let uploads = uploads.clone();
        async move {
            let mut request = Vec::new();
            while !request.ends_with(b"abc") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await.unwrap();
            let mut rest = [0; 3];
            stream.read_exact(&mut rest).await.unwrap();
            uploads.send(rest).unwrap();
        }
    })
    .await;
    let mut edge = Edge::start(vec![route("x.test", vec![target("r-old", old.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 6\r\n\r\nabc").await;
    assert_eq!(client.answer().await.body, "early");
    edge.route(vec![]).await;
    // A second report of a table, and nothing between.
    edge.route(vec![]).await;
    client.send("def").await;
    assert_eq!(within("the upload", uploaded.recv()).await, Some(*b"def"));
    edge.drained("r-old").await;
    assert_eq!(edge.stop().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_the_replica() {
    let (old, mut opened) = streaming().await;
    let mut edge = Edge::start(vec![route("x.test", vec![target("r-old", old.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let chunks = opened.recv().await.unwrap();
    chunks.send("one").unwrap();
    client.head().await;
    edge.route(vec![]).await;
    drop(client);
    edge.drained("r-old").await;
    assert_eq!(edge.stop().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_back_is_not_drained() {
    let (old, mut opened) = streaming().await;
    let here = vec![route("x.test", vec![target("r-old", old.address)])];
    let mut edge = Edge::start(here.clone()).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let chunks = opened.recv().await.unwrap();
    edge.route(vec![]).await;
    edge.route(here).await;
    drop(chunks);
    assert_eq!(client.answer().await.status, 200);
    let mut again = Client::connect(edge.address).await;
    again.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    drop(opened.recv().await.unwrap());
    assert_eq!(again.answer().await.status, 200);
    edge.route(vec![]).await;
    edge.drained("r-old").await;
    assert_eq!(edge.stop().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_in_another_route_is_still_a_target() {
    let app = App::named("a").await;
    let here = || target("r-a", app.address);
    let mut edge = Edge::start(vec![route("x.test", vec![here()]), route("dpl-1.test", vec![here()])]).await;
    edge.route(vec![route("dpl-1.test", vec![here()])]).await;
    assert_eq!(Client::connect(edge.address).await.get("dpl-1.test", "/").await.body, "a");
    edge.route(vec![]).await;
    assert_eq!(edge.report().await, drained("r-a"));
    assert_eq!(edge.stop().await, []);
}
