//! Rules that pass requests on to servers outside, here on loopback and let through.

use crate::client::{Answer, Client};
use crate::drain::streaming;
use crate::files::SiteDirectory;
use crate::harness::{App, AppRequest, Edge, full, nobody, route, target, within};
use crate::rules::{headers, redirects};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use slipway_edge::{EdgeConfig, EdgeLimits, ProxyConfig};
use slipway_types::route::Route;
use slipway_types::site::SiteRules;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

fn config() -> EdgeConfig {
    let allow = vec!["127.0.0.0/8".parse().unwrap()];
    EdgeConfig { proxy: ProxyConfig { allow, ca_bundle: None }, ..EdgeConfig::default() }
}

fn site() -> SiteDirectory {
    SiteDirectory::new(&[("index.html", "home"), ("file.html", "file")])
}

async fn ask(edge: &Edge, method: &str, path: &str, fields: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x.test\r\nContent-Length: {length}\r\n{fields}\r\n");
    Client::connect(edge.address).await.ask(&format!("{head}{body}")).await
}

fn refusal(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("x-slipway-error"))
}

/// Says what it was asked.
async fn echo() -> App {
    App::start(|request: AppRequest| async move {
        let (parts, body) = request.into_parts();
        let mut lines: Vec<String> =
            parts.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let mut response = full(format!("{} {}\n{}\n\n{body}", parts.method, parts.uri, lines.join("\n")));
        *response.status_mut() = http::StatusCode::CREATED;
        for (name, value) in [
            ("x-outside", "1"),
            ("set-cookie", "a=b"),
            ("keep-alive", "timeout=9"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("alt-svc", "h3=\":443\""),
        ] {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        response
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_passes_a_request_on_and_the_answer_back() {
    let (other, app) = (echo().await, App::named("app").await);
    let (port, site) = (other.address.port(), site());
    let mut rules = redirects(&[
        &format!("/api/* http://localhost:{port}/v1/:splat 200"),
        &format!("/file http://localhost:{port}/never 200"),
        &format!("/index.html http://localhost:{port}/forced?own=1 200!"),
        &format!("/locked/* http://localhost:{port}/locked/:splat 200"),
    ]);
    for (name, value) in [("X-From", "rule"), ("Host", "evil.test"), ("Connection", "x-from"), ("X-Bad", "a\nb")] {
        rules.redirects[0].headers.insert(name.to_owned(), value.to_owned());
    }
    rules.headers = headers(&[("/*", "X-Frame-Options", "DENY"), ("/locked/*", "Basic-Auth", "u:p")]);
    let of_app = Route { rules: Arc::new(rules.clone()), ..route("x.test", vec![target("r-app", app.address)]) };
    let edge = Edge::start_with(config(), vec![site.route(rules.clone())]).await;
    let edge_of_app = Edge::start_with(config(), vec![of_app]).await;
    let fields = "Cookie: c=1\r\nAuthorization: Bearer t\r\nX-Forwarded-For: 9.9.9.9\r\nUpgrade: websocket\r\n\
                  Connection: upgrade, x-mine\r\nX-Mine: 1\r\nX-From: client\r\nX-Request-Id: id-1\r\n";
    let expected = format!(
        "POST /v1/users/7?q=a%20b\nauthorization: Bearer t\ncdn-loop: slipway\ncontent-length: 5\ncookie: c=1\n\
         host: localhost:{port}\nx-forwarded-for: 127.0.0.1\nx-forwarded-host: x.test\nx-forwarded-proto: http\n\
         x-from: rule\nx-real-ip: 127.0.0.1\nx-request-id: id-1\n\nhello"
    );
    for edge in [&edge, &edge_of_app] {
        let answer = ask(edge, "POST", "/api/users/7?q=a%20b", fields, "hello").await;
        assert_eq!((answer.status, answer.body.as_str()), (201, expected.as_str()));
        let got = ["x-outside", "set-cookie", "x-request-id", "keep-alive", "x-hop", "alt-svc", "x-frame-options"];
        let got = got.map(|name| answer.header(name));
        assert_eq!(got, [Some("1"), Some("a=b"), Some("id-1"), None, None, None, None]);
        let forced = ask(edge, "GET", "/index.html?a=1", "", "").await;
        assert!(forced.body.starts_with("GET /forced?own=1\n"), "{forced:?}");
        // The password of the site stays here.
        let locked = ask(edge, "GET", "/locked/x", "Authorization: Basic dTpw\r\n", "").await;
        assert!(locked.body.starts_with("GET /locked/x\n") && !locked.body.contains("authorization"), "{locked:?}");
        assert_eq!(ask(edge, "GET", "/locked/x", "", "").await.status, 401);
    }
    assert_eq!(ask(&edge, "GET", "/file", "", "").await.body, "file");
    // A path that leaves what the rule was written for is not the rule's; where there is a lock, it is nobody's.
    for path in ["/api/%2e%2e/secret", "/api/../secret"] {
        assert_eq!(ask(&edge, "GET", path, "", "").await.status, 400);
        assert_eq!(ask(&edge_of_app, "GET", path, "", "").await.status, 400);
    }
    assert_eq!(app.requests(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_pass_to_and_from_other_servers_as_they_are_made() {
    let (other, mut opened) = streaming().await;
    let rules = redirects(&[&format!("/* http://{}/:splat 200", other.address)]);
    let edge = Edge::start_with(config(), vec![site().route(rules)]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("POST /s HTTP/1.1\r\nHost: x.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\naa\r\n").await;
    let chunks = within("the request", opened.recv()).await.unwrap();
    for (index, part) in ["0", "1", "2"].into_iter().enumerate() {
        chunks.send(part).unwrap();
        if index == 0 {
            assert_eq!(client.head().await.status, 200);
        }
        assert_eq!(client.chunk().await, part.as_bytes());
    }
    let uploaded = echo().await;
    let rules = redirects(&[&format!("/* http://{}/:splat 200", uploaded.address)]);
    let edge = Edge::start_with(config(), vec![site().route(rules)]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("POST /s HTTP/1.1\r\nHost: x.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\naa\r\n").await;
    client.send("3\r\nbbb\r\n0\r\n\r\n").await;
    let answer = client.answer().await;
    assert!(answer.body.contains("transfer-encoding: chunked") && answer.body.ends_with("\n\naabbb"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_public_are_refused() {
    let other = App::named("secret").await;
    let port = other.address.port();
    let hosts = ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"];
    let lines: Vec<String> =
        hosts.iter().enumerate().map(|(at, host)| format!("/{at} http://{host}:{port}/ 200")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let edge = Edge::start(vec![site().route(redirects(&lines))]).await;
    for (at, host) in hosts.iter().enumerate() {
        let answer = ask(&edge, "GET", &format!("/{at}"), "", "").await;
        assert_eq!(refusal(&answer), (502, Some("proxy-address-refused")), "{host}");
        assert!(answer.body.contains("proxy_allow") && !answer.body.contains("secret"), "{}", answer.body);
    }
    assert_eq!(other.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_with_another_server_is_said() {
    let closes = App::raw(|stream| async move { drop(stream) }).await;
    let babbles =
        App::raw(|mut stream| async move { stream.write_all(b"220 smtp ready\r\n\r\n").await.unwrap() }).await;
    let silent = App::raw(|stream| async move {
        let _stream = stream;
        std::future::pending().await
    })
    .await;
    let nobody = nobody();
    let rules = redirects(&[
        &format!("/nobody http://{}/ 200", nobody.address),
        "/name http://no-such-name.invalid/ 200",
        &format!("/closes http://{}/ 200", closes.address),
        &format!("/babbles http://{}/ 200", babbles.address),
        &format!("/silent http://{}/ 200", silent.address),
        &format!("/login http://user:word@{}/ 200", silent.address),
        &format!("/plain https://{}/ 200", babbles.address),
    ]);
    let site = site();
    let edge = Edge::start_with(config(), vec![site.route(rules.clone())]).await;
    // Only for the one that is to be late.
    let limits = EdgeLimits { response_header_timeout: Duration::from_millis(200), ..EdgeLimits::default() };
    let hasty = Edge::start_with(EdgeConfig { limits, ..config() }, vec![site.route(rules)]).await;
    for (path, status, code) in [
        ("/nobody", 502, "proxy-unreachable"),
        ("/name", 502, "proxy-unreachable"),
        ("/closes", 502, "proxy-broken"),
        ("/babbles", 502, "proxy-broken"),
        ("/silent", 504, "proxy-timeout"),
        ("/login", 502, "proxy-target-invalid"),
        ("/plain", 502, "proxy-tls"),
    ] {
        let edge = if path == "/silent" { &hasty } else { &edge };
        let answer = ask(edge, "GET", path, "", "").await;
        assert_eq!(refusal(&answer), (status, Some(code)), "{path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_leads_to_itself_ends() {
    let mut edge = Edge::start_with(config(), Vec::new()).await;
    let rules: SiteRules = redirects(&[&format!("/* http://{}/:splat 200", edge.address)]);
    let site = site();
    edge.route(vec![Route { host: "127.0.0.1".to_owned(), ..site.route(rules) }]).await;
    let answer = Client::connect(edge.address).await.get("127.0.0.1", "/x").await;
    assert_eq!(refusal(&answer), (508, Some("proxy-loop")), "{answer:?}");
}

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, self.0.pem()).unwrap();
    }

    /// A server with a certificate for `name`.
    async fn server(&self, name: &str) -> App {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        App::raw(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request: AppRequest| async move {
                    let host = request.headers()["host"].to_str().unwrap().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, Infallible>(full(format!("{host} {}", String::from_utf8_lossy(&body))))
                });
                let serving = hyper::server::conn::http1::Builder::new();
                let _ = serving.serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("ca.pem");
    let (known, unknown) = (Authority::new(), Authority::new());
    known.write(&bundle);
    let good = known.server("localhost").await;
    let misnamed = known.server("other.test").await;
    let strange = unknown.server("localhost").await;
    let by_address = known.server("127.0.0.1").await;
    let rules = redirects(&[
        &format!("/good https://localhost:{}/ 200", good.address.port()),
        &format!("/misnamed https://localhost:{}/ 200", misnamed.address.port()),
        &format!("/strange https://localhost:{}/ 200", strange.address.port()),
        &format!("/address https://{}/ 200", by_address.address),
    ]);
    let mut trusting = config();
    trusting.proxy.ca_bundle = Some(bundle);
    let edge = Edge::start_with(trusting, vec![site().route(rules.clone())]).await;
    let expected = format!("localhost:{} hello", good.address.port());
    for _ in 0..2 {
        let answer = ask(&edge, "POST", "/good", "", "hello").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, expected.as_str()));
    }
    assert_eq!(ask(&edge, "GET", "/address", "", "").await.status, 200);
    for path in ["/misnamed", "/strange"] {
        let answer = ask(&edge, "GET", path, "", "").await;
        assert_eq!(refusal(&answer), (502, Some("proxy-tls")), "{path}: {}", answer.body);
    }
    let edge = Edge::start_with(config(), vec![site().route(rules)]).await;
    assert_eq!(refusal(&ask(&edge, "GET", "/good", "", "").await), (502, Some("proxy-tls")));
}
