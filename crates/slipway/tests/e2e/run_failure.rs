//! Deployments that fail when they start: the diagnosis says what the app did, and what is live stays live.

use crate::{BINARY, up, up_fails};
use slipway_testing::{App, TestServer};

fn fails_and_v1_stays(name: &str, code: &str, server_js: &str, settings: &str) {
    let server = TestServer::start(BINARY);
    let app = App::node(name, "v1");
    up(&server, app.path());
    app.write("server.js", server_js);
    app.write("slipway.toml", &format!("project = \"{name}\"\n{settings}\n"));
    up_fails(&server, app.path(), code);
    assert_eq!(server.get(&format!("web-{name}.localhost"), "/").body, "v1\n", "what was live still serves");
}

const QUICK: &str = "[health]\npath = \"/healthz\"\nstart_timeout = \"8s\"\n";

fn listens_on(host: &str, port: &str, status: u16) -> String {
    format!(
        "require('node:http').createServer((q, r) => {{ r.statusCode = {status}; r.end('answer'); }}).listen({port}, '{host}');"
    )
}

#[test]
fn app_exits_at_start() {
    fails_and_v1_stays("exits", "app-exited", "console.error('cannot find the moon'); process.exit(4);", "");
}

#[test]
fn app_listens_on_loopback() {
    fails_and_v1_stays("loopback", "listens-on-loopback", &listens_on("127.0.0.1", "process.env.PORT", 200), QUICK);
}

#[test]
fn app_listens_on_the_wrong_port() {
    fails_and_v1_stays("wrongport", "listens-on-wrong-port", &listens_on("0.0.0.0", "4321", 200), QUICK);
}

#[test]
fn app_listens_on_nothing() {
    fails_and_v1_stays("nothing", "listens-on-nothing", "setInterval(() => {}, 1000);", QUICK);
}

#[test]
fn health_path_answers_404() {
    fails_and_v1_stays("h404", "health-path-status", &listens_on("0.0.0.0", "process.env.PORT", 404), QUICK);
}

#[test]
fn health_path_answers_500() {
    fails_and_v1_stays("h500", "health-path-status", &listens_on("0.0.0.0", "process.env.PORT", 500), QUICK);
}

/// What it said is told, not that the last probe had no time.
#[test]
fn health_path_answers_500_and_then_nothing() {
    let falls_silent = "let asked = 0; require('node:http').createServer((q, r) => {\n\
        if (++asked > 3) return; r.statusCode = 500; r.end('answer');\n}).listen(process.env.PORT, '0.0.0.0');";
    let settings = "[health]\npath = \"/healthz\"\nstart_timeout = \"8s\"\ntimeout = \"20s\"\n";
    fails_and_v1_stays("silenced", "health-path-status", falls_silent, settings);
}

#[test]
fn health_times_out() {
    let silent = "require('node:http').createServer(() => {}).listen(process.env.PORT, '0.0.0.0');";
    let settings = "[health]\npath = \"/healthz\"\nstart_timeout = \"8s\"\ntimeout = \"2s\"\n";
    fails_and_v1_stays("silent", "health-timeout", silent, settings);
}
