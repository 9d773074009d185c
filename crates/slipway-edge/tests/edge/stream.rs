//! Bodies pass as they come, both ways.

use crate::client::Client;
use crate::drain::streaming;
use crate::harness::{App, AppRequest, Edge, full, patient, route, target};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

async fn edge_of(app: &App) -> Edge {
    Edge::start_limited(patient(), vec![route("x.test", vec![target("r-a", app.address)])]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_arrives_as_it_is_made() {
    let (app, mut opened) = streaming().await;
    let edge = edge_of(&app).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    let chunks = opened.recv().await.unwrap();
    chunks.send("0").unwrap();
    assert_eq!(client.head().await.header("transfer-encoding"), Some("chunked"));
    assert_eq!(client.chunk().await, b"0");
    for part in ["1", "2", "3"] {
        chunks.send(part).unwrap();
        assert_eq!(client.chunk().await, part.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_arrives_as_it_is_sent() {
    let (frames, mut arrived) = mpsc::unbounded_channel();
    let app = App::start(move |request: AppRequest| {
        let frames = frames.clone();
        async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                frames.send(frame.unwrap().into_data().unwrap()).unwrap();
            }
            full("done")
        }
    })
    .await;
    let edge = edge_of(&app).await;
    let mut client = Client::connect(edge.address).await;
    client.send("POST / HTTP/1.1\r\nHost: x.test\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    for part in ["aa", "bb", "cc"] {
        client.send(format!("2\r\n{part}\r\n")).await;
        assert_eq!(arrived.recv().await.unwrap(), part);
    }
    client.send("0\r\n\r\n").await;
    assert_eq!(client.answer().await.body, "done");
}

/// The app echoes while the client has not ended its upload: neither way waits for the other.
#[tokio::test(flavor = "multi_thread")]
async fn both_ways_flow_at_once() {
    let app = App::start(|request: AppRequest| async move {
        Response::new(request.into_body().map_err(|error| panic!("{error}")).boxed())
    })
    .await;
    let edge = edge_of(&app).await;
    let mut client = Client::connect(edge.address).await;
    client.send("POST / HTTP/1.1\r\nHost: x.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\naa\r\n").await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await, b"aa");
    client.send("2\r\nbb\r\n").await;
    assert_eq!(client.chunk().await, b"bb");
    client.send("0\r\n\r\n").await;
    assert_eq!(client.chunk().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_whole() {
    let app = App::start(|request: AppRequest| async move {
        Response::new(request.into_body().map_err(|error| panic!("{error}")).boxed())
    })
    .await;
    let edge = edge_of(&app).await;
    let body: Vec<u8> = (0..8_000_000_u32).map(|i| (i % 251) as u8).collect();
    let client = Client::connect(edge.address).await;
    let (mut read, mut write) = client.stream.into_split();
    let head = format!("PUT / HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    let sent = body.clone();
    let upload = tokio::spawn(async move {
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&sent).await.unwrap();
        write
    });
    let mut answer = Vec::new();
    read.read_to_end(&mut answer).await.unwrap();
    upload.await.unwrap();
    let start = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    assert!(String::from_utf8_lossy(&answer[..start]).contains("content-length: 8000000"));
    assert!(answer[start..] == body[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_continue_is_answered_when_the_app_takes_the_body() {
    let app = App::start(|request: AppRequest| async move {
        assert!(!request.headers().contains_key("expect"));
        Response::new(Full::new(request.into_body().collect().await.unwrap().to_bytes()).boxed())
    })
    .await;
    let edge = edge_of(&app).await;
    let mut client = Client::connect(edge.address).await;
    client.send("POST / HTTP/1.1\r\nHost: x.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(client.head().await.status, 100);
    assert_eq!(client.ask("hi").await.body, "hi");
    // No host: refused without asking for the body.
    client.send("POST / HTTP/1.1\r\nHost: y.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await;
    assert_eq!(client.head().await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_answer_keeps_its_length_and_the_connection() {
    let app = App::start(|_| async { full("12345") }).await;
    let edge = edge_of(&app).await;
    let mut client = Client::connect(edge.address).await;
    for _ in 0..2 {
        client.send("HEAD / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
        let head = client.head().await;
        assert_eq!((head.status, head.header("content-length")), (200, Some("5")));
    }
    assert_eq!(client.get("x.test", "/").await.body, "12345");
    assert_eq!(app.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let app = App::start(|request: AppRequest| async move {
        let seen = request.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default();
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("x-sum"),
            seen.get("x-sum").cloned().unwrap_or(HeaderValue::from_static("none")),
        )]);
        let body = Full::new(Bytes::from("hi")).with_trailers(async move { Some(Ok(trailers)) });
        let mut response = Response::new(body.boxed());
        response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        response.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"));
        response
    })
    .await;
    let edge = edge_of(&app).await;
    let mut client = Client::connect(edge.address).await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: x.test\r\nTE: trailers\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n\
             2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.status, 200);
    assert_eq!(client.chunk().await, b"hi");
    assert_eq!(client.chunk().await, b"");
    assert_eq!(client.until(b"\r\n\r\n").await, b"x-sum: 7\r\n\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_breaks_off_is_not_passed_as_whole() {
    let app = App::raw(|mut stream| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await.unwrap();
    })
    .await;
    let edge = edge_of(&app).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    let rest = String::from_utf8(client.rest().await).unwrap();
    assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_gets_a_body_that_ends_with_the_connection() {
    let (app, mut opened) = streaming().await;
    let edge = edge_of(&app).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.0\r\nHost: x.test\r\n\r\n").await;
    opened.recv().await.unwrap().send("old").unwrap();
    let head = client.head().await;
    assert_eq!((head.status, head.header("transfer-encoding")), (200, None));
    assert_eq!(client.rest().await, b"old");
}
