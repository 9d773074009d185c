//! Who may call, and how a call that makes no sense is answered.

use crate::world::{WEB, World};
use bytes::Bytes;
use http::{Method, header};
use serde_json::{Value, json};
use slipway_types::api::ServerView;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_opens_and_nothing_else() {
    let world = World::new().await;
    let server: ServerView = world.client.get("/v1/server").await.json();
    assert_eq!((server.domain.as_str(), server.edge_port, server.driver.as_str()), ("localhost", 8080, "oci"));

    for (name, value, expected) in [
        (header::AUTHORIZATION, "Bearer wrong", (401, "token-unknown")),
        (header::AUTHORIZATION, "Basic x", (401, "token-missing")),
        (header::HOST, "evil.example", (403, "host-not-allowed")),
    ] {
        let mut request = world.client.request(Method::GET, "/v1/server", "");
        request.headers_mut().insert(name, value.parse().unwrap());
        let (status, code) = world.client.send(request).await.refusal();
        assert_eq!((status, code.as_str()), expected, "{value}");
    }
    for path in ["/v1/server", "/v1/services", "/v1/deployments/dpl-a", "/v1/nothing", "/"] {
        let mut request = world.client.request(Method::GET, path, "");
        request.headers_mut().remove(header::AUTHORIZATION);
        assert_eq!(world.client.send(request).await.status, 401, "{path}");
    }
    let mut request = world.client.request(Method::GET, "/healthz", "");
    request.headers_mut().remove(header::AUTHORIZATION);
    assert_eq!(world.client.send(request).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_make_no_sense_are_refused_with_a_code() {
    let world = World::new().await;
    for (method, path, body, expected) in [
        (Method::GET, "/v1/nothing", "", (404, "no-such-call")),
        (Method::DELETE, "/v1/server", "", (405, "no-such-method")),
        (Method::GET, WEB, "", (404, "service-unknown")),
        (Method::DELETE, WEB, "", (404, "service-unknown")),
        (Method::POST, "/v1/projects/shop/services/web/redeploy", "{}", (404, "service-unknown")),
        (Method::GET, "/v1/projects/Shop/services/web", "", (400, "bad-name")),
        (Method::GET, "/v1/projects/shop/services/..%2f", "", (400, "bad-name")),
        (Method::GET, "/v1/deployments/dpl-none", "", (404, "deployment-unknown")),
        (Method::GET, "/v1/deployments/dpl-none/events", "", (404, "deployment-unknown")),
        (Method::POST, "/v1/deployments/dpl-none/cancel", "{}", (404, "deployment-unknown")),
        (Method::GET, "/v1/deployments/DPL!", "", (400, "bad-id")),
        (Method::GET, "/v1/events?limit=many", "", (400, "bad-query")),
        (Method::POST, "/v1/projects/shop/services/web/deployments", "{nonsense", (400, "bad-json")),
        (Method::POST, "/v1/projects/shop/services/web/deployments", "{}", (400, "bad-json")),
        (
            Method::POST,
            "/v1/projects/shop/services/web/deployments",
            r#"{"source":{"from":"upload","upload":"up-0"}}"#,
            (422, "upload-missing"),
        ),
        (
            Method::POST,
            "/v1/projects/shop/services/web/deployments",
            r#"{"source":{"from":"git","url":"ext::sh -c id"}}"#,
            (422, "git-url"),
        ),
        (
            Method::PUT,
            "/v1/projects/shop/services/web/settings",
            r#"{"settings":{"replica":2}}"#,
            (422, "setting-unknown"),
        ),
        (
            Method::PUT,
            "/v1/projects/shop/services/web/settings",
            r#"{"settings":{"replicas":0}}"#,
            (422, "setting-invalid"),
        ),
        (
            Method::PUT,
            "/v1/projects/shop/services/web/settings",
            r#"{"settings":{"port":"x"}}"#,
            (422, "setting-invalid"),
        ),
        (Method::PATCH, "/v1/projects/shop/services/web/env", r#"{"set":{"A B":{"value":"x"}}}"#, (422, "env-name")),
    ] {
        let (status, code) = world.client.send(world.client.request(method, path, body)).await.refusal();
        assert_eq!((status, code.as_str()), expected, "{path} {body}");
    }
    let huge = Bytes::from(vec![b' '; 2 << 20]);
    let request = world.client.request(Method::PATCH, "/v1/projects/shop/services/web/env", huge);
    assert_eq!(world.client.send(request).await.refusal(), (413, "body-too-large".to_owned()));
    let services: Vec<Value> = world.client.get("/v1/services").await.json();
    assert!(services.is_empty(), "a refused call leaves nothing behind: {services:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_services_never_have_one_host_name() {
    let world = World::new().await;
    let settings = json!({"settings": {"replicas": 2}});
    let first = world.client.call(Method::PUT, "/v1/projects/c/services/a-b/settings", settings.clone()).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let second = world.client.call(Method::PUT, "/v1/projects/b-c/services/a/settings", settings).await;
    assert_eq!(second.refusal(), (409, "host-name-taken".to_owned()));
}
