//! What a sandbox may not do, asked from inside one.

use crate::{BINARY, up};
use slipway_testing::{App, TestServer};

#[test]
fn an_app_is_unprivileged_and_reaches_neither_host_nor_neighbour() {
    let server = TestServer::start(BINARY);
    let (app, neighbour) = (App::node("inside", "v1"), App::node("neighbour", "v1"));
    up(&server, app.path());
    up(&server, neighbour.path());
    let ask = |path: &str| server.get("web-inside.localhost", path).body;
    let whoami: serde_json::Value = serde_json::from_str(&ask("/whoami")).unwrap();
    assert_ne!(whoami["uid"], 0);

    let forwarded: serde_json::Value = serde_json::from_str(&ask("/headers")).unwrap();
    assert_eq!(forwarded["x-forwarded-for"], "127.0.0.1");
    let api: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(server.data().join("client.json")).unwrap()).unwrap();
    let api_port = api["url"].as_str().unwrap().rsplit(':').next().unwrap().trim_end_matches('/').to_owned();
    let edge_port = server.edge_port().to_string();
    for (host, port) in [
        ("127.0.0.1", api_port.as_str()),
        (&gateway(&server), &api_port),
        (&gateway(&server), &edge_port),
        (&address_of(&server, "neighbour"), "3000"),
        ("169.254.169.254", "80"),
        ("10.0.0.1", "80"),
        ("192.168.1.1", "80"),
        ("172.16.0.1", "80"),
    ] {
        let answer = ask(&format!("/get?host={host}&port={port}"));
        assert_ne!(answer, "open", "{host}:{port} is reachable from a sandbox");
    }
}

/// The sandbox's own gateway is the host's side of its network: two addresses in a /30.
fn gateway(server: &TestServer) -> String {
    let own: std::net::Ipv4Addr = address_of(server, "inside").parse().unwrap();
    std::net::Ipv4Addr::from(u32::from(own) - 1).to_string()
}

/// The address of a service's only replica, as it sees itself.
fn address_of(server: &TestServer, project: &str) -> String {
    server.get(&format!("web-{project}.localhost"), "/address").body
}
