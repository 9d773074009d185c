//! What changes in a head on its way, as both ends see it.

use crate::client::Client;
use crate::harness::{App, AppRequest, Edge, full, route, target};
use http::HeaderValue;
use slipway_edge::EdgeConfig;

/// Answers with the head that it got, one sorted line for each field.
async fn mirror() -> App {
    App::start(|request: AppRequest| async move {
        let mut lines: Vec<String> =
            request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        let mut response = full(format!("{} {}\n{}", request.method(), request.uri(), lines.join("\n")));
        let headers = response.headers_mut();
        for (name, value) in [
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("upgrade", "h2c"),
            ("set-cookie", "a=1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.append("set-cookie", HeaderValue::from_static("b=2"));
        response
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_cleaned_and_forwarding_fields_added() {
    let app = mirror().await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let answer = Client::connect(edge.address)
        .await
        .ask(
            "GET /a%20b?c=d HTTP/1.1\r\nHost: X.test:81\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nUpgrade: websocket\r\n\
             TE: gzip\r\nX-Forwarded-For: 10.9.9.9\r\nX-Forwarded-Proto: https\r\nForwarded: for=10.9.9.9\r\n\
             X-Real-IP: 10.9.9.9\r\nX-Request-Id: mine-1\r\nCookie: a=b\r\n\r\n",
        )
        .await;
    let expected = "GET /a%20b?c=d\ncookie: a=b\nhost: X.test:81\nx-forwarded-for: 127.0.0.1\n\
                    x-forwarded-host: X.test:81\nx-forwarded-proto: http\nx-real-ip: 127.0.0.1\nx-request-id: mine-1";
    assert_eq!(answer.body, expected);
    for gone in ["connection", "x-hop", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.headers.iter().filter(|(name, _)| name == "set-cookie").count(), 2);
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_gets_an_id_when_it_has_none() {
    let app = mirror().await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    let first = client.get("x.test", "/").await;
    let second = client.ask("GET / HTTP/1.1\r\nHost: x.test\r\nX-Request-Id: <b>\r\n\r\n").await;
    let id = first.header("x-request-id").unwrap();
    assert_eq!(id.len(), 32);
    assert!(first.body.contains(&format!("x-request-id: {id}")), "{}", first.body);
    assert_ne!(Some(id), second.header("x-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_in_front_is_believed_when_it_is_trusted() {
    let app = mirror().await;
    let config = EdgeConfig { trust_forwarded: true, ..EdgeConfig::default() };
    let edge = Edge::start_with(config, vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let request = "GET / HTTP/1.1\r\nHost: x.test\r\nX-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n\r\n";
    let answer = Client::connect(edge.address).await.ask(request).await;
    for expected in ["x-forwarded-for: 203.0.113.9, 127.0.0.1", "x-forwarded-proto: https"] {
        assert!(answer.body.contains(expected), "{}", answer.body);
    }
}

/// Two readers of one message must never disagree where it ends.
#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_framing_is_refused() {
    let app = App::named("a").await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    for (framing, body) in [
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"),
        ("Content-Length: 3, 4\r\n", "abcd"),
        ("Content-Length: +3\r\n", "abc"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        (" Folded: x\r\n", ""),
    ] {
        let mut client = Client::connect(edge.address).await;
        client.send(format!("POST / HTTP/1.1\r\nHost: x.test\r\n{framing}\r\n{body}")).await;
        let status = client.head().await.status;
        assert!(status == 400 || status == 501, "{framing:?} gave {status}");
    }
    assert_eq!(app.requests(), 0);
}

/// Both lengths at once: chunked counts, the app is told nothing else, and the connection is closed (RFC 9112 §6.1).
#[tokio::test(flavor = "multi_thread")]
async fn chunked_with_a_length_ends_the_connection() {
    for framing in
        ["Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"]
    {
        let app = mirror().await;
        let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
        let mut client = Client::connect(edge.address).await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: x.test\r\n\r\n";
        client.send(format!("POST / HTTP/1.1\r\nHost: x.test\r\n{framing}\r\n0\r\n\r\n{smuggled}")).await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 200);
        assert!(!answer.body.contains("content-length"), "{}", answer.body);
        assert!(answer.body.contains("transfer-encoding: chunked"), "{}", answer.body);
        assert_eq!(client.rest().await, b"");
        assert_eq!(app.requests(), 1);
    }
}

/// A body on GET is unusual, but must not become the next request.
#[tokio::test(flavor = "multi_thread")]
async fn a_get_may_have_a_body() {
    use http_body_util::BodyExt;
    let app =
        App::start(|request: AppRequest| async move { full(request.into_body().collect().await.unwrap().to_bytes()) })
            .await;
    let edge = Edge::start(vec![route("x.test", vec![target("r-a", app.address)])]).await;
    let mut client = Client::connect(edge.address).await;
    for framing in ["Content-Length: 2\r\n\r\nhi", "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"] {
        let answer = client.ask(&format!("GET / HTTP/1.1\r\nHost: x.test\r\n{framing}")).await;
        assert_eq!(answer.body, "hi", "{framing:?}");
    }
    assert_eq!(app.requests(), 2);
}
