//! WebSocket and other upgrades.

use crate::client::Client;
use crate::harness::{App, Edge, route, target, within};
use futures_util::{SinkExt, StreamExt};
use slipway_edge::{EdgeConfig, EdgeLimits};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};

async fn websocket_echo() -> App {
    App::raw(|stream| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

async fn open(edge: &Edge, host: &str) -> tokio_tungstenite::WebSocketStream<TcpStream> {
    let request = format!("ws://{host}/chat").into_client_request().unwrap();
    let stream = TcpStream::connect(edge.address).await.unwrap();
    tokio_tungstenite::client_async(request, stream).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_survives_a_switch_and_holds_up_the_drain() {
    let (old, new) = (websocket_echo().await, App::named("new").await);
    let mut edge = Edge::start(vec![route("x.test", vec![target("r-old", old.address)])]).await;
    let mut socket = open(&edge, "x.test").await;
    socket.send(Message::text("before")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("before"));

    edge.route(vec![route("x.test", vec![target("r-new", new.address)])]).await;
    assert_eq!(Client::connect(edge.address).await.get("x.test", "/").await.body, "new");
    let large = Message::binary(vec![7_u8; 1_000_000]);
    socket.send(large.clone()).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), large);
    assert!(edge.reports.try_recv().is_err(), "drained with a WebSocket open");

    socket.close(None).await.unwrap();
    while let Some(Ok(_)) = within("the close", socket.next()).await {}
    drop(socket);
    edge.drained("r-old").await;
    assert_eq!(edge.stop().await, []);
}

/// Any protocol, with bytes right behind the heads and one side ended early.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgraded_connection_may_be_half_closed() {
    let app = App::raw(|mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.contains("upgrade: echo") && head.contains("connection: upgrade"), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhello";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
    })
    .await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET / HTTP/1.1\r\nHost: x.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("upgrade")), (101, Some("echo")));
    assert_eq!(client.exactly(5).await, b"hello");
    client.send("late words").await;
    client.stream.shutdown().await.unwrap();
    assert_eq!(client.rest().await, b"late words");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_is_a_plain_answer() {
    let app = App::named("plain").await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    let request = "GET / HTTP/1.1\r\nHost: x.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(client.ask(request).await.body, "plain");
    assert_eq!(client.get("x.test", "/").await.body, "plain");
    // HTTP/2 without TLS is not passed on: the app behind would speak past the edge.
    let request = "GET / HTTP/1.1\r\nHost: x.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(client.ask(request).await.body, "plain");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unasked_upgrade_is_an_error() {
    let app = App::raw(|mut stream| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read(&mut buffer).await;
    })
    .await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let answer = Client::connect(edge.address).await.get("x.test", "/").await;
    assert_eq!((answer.status, answer.header("x-slipway-error")), (502, Some("upstream-broken")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_upgraded_connection_is_cut() {
    let app = websocket_echo().await;
    let limits = EdgeLimits { upgraded_idle_timeout: Duration::from_millis(300), ..EdgeLimits::default() };
    let mut edge = Edge::start_with(
        EdgeConfig { limits, ..EdgeConfig::default() },
        vec![route("x.test", vec![target("r-a", app.address)])],
    )
    .await;
    let mut socket = open(&edge, "x.test").await;
    edge.route(vec![]).await;
    assert!(!matches!(within("the cut", socket.next()).await, Some(Ok(_))));
    edge.drained("r-a").await;
}
