//! Dependencies that want credentials: given to builds by their owner, and found in no layer and no log afterwards.

use crate::{BINARY, up, up_fails};
use slipway_testing::{App, Registry, TestServer, image};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

const SERVER_JS: &str = "const text = require('LIBRARY');\n\
    require('node:http').createServer((q, r) => r.end(q.url === '/env' ? Object.keys(process.env).join() : text)).listen(process.env.PORT, '0.0.0.0');\n";

/// An app whose dependencies no other test has, so that no layer of theirs is found.
fn app(name: &str, registry: &Registry, library: &str, version: &str) -> App {
    let unique = registry.token().rsplit('-').next().unwrap();
    let package = serde_json::json!({
        "name": name, "private": true, "dependencies": {library: version},
        "scripts": {"start": "node server.js", "postinstall": format!("echo {unique}")},
    });
    App::empty(name)
        .with("package.json", &package.to_string())
        .with("server.js", &SERVER_JS.replace("LIBRARY", library))
        .settings("[build]\ncommand = \"echo built > built.txt\"")
}

fn give_to_builds(server: &TestServer, app: &App, name: &str, value: &str) {
    let mut command = server.command(&["env", "set", name, "--secret", "--build-only", "--stdin"]);
    let mut child = command.current_dir(app.path()).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// Looks through every layer that the server has made, deleted files of them included. Those of failed deployments are gone.
fn assert_in_no_layer(server: &TestServer, token: &str) {
    let layers = Path::new(BINARY).parent().unwrap().join("test-shared/layers");
    let path = |name: &str| layers.join(format!("{name}.img"));
    let log = server.log();
    let published = log.lines().filter_map(|line| line.split_once("layer published layer=")).map(|(_, name)| name);
    let names: Vec<&str> = published.filter(|name| path(name).exists()).collect();
    assert!(
        ["dependencies-", "source-", "output-"].iter().all(|kind| names.iter().any(|name| name.starts_with(kind))),
        "{names:?}"
    );
    // Those of a failed deployment may go meanwhile.
    for name in names.into_iter().filter(|name| path(name).exists()) {
        assert!(!image::contains(&path(name), token), "the token is in the layer `{name}`");
    }
}

fn assert_in_no_log(server: &TestServer, app: &App, token: &str) {
    for args in [&["logs", "--build"][..], &["events", "--limit", "1000"], &["logs"]] {
        let shown = server.run_in(app.path(), args);
        assert!(!format!("{}{}", shown.stdout, shown.stderr).contains(token), "the token is in {args:?}");
    }
    assert!(!server.log().contains(token));
}

#[test]
fn a_private_registry_gives_its_package_to_a_build_that_was_given_the_token() {
    let registry = Registry::start();
    let server = TestServer::start_with(BINARY, &registry.allow());
    let address = registry.authority();
    let app = app("privatenpm", &registry, "@private/lib", "1.0.0").with(
        ".npmrc",
        &format!("@private:registry=http://{address}/npm/\n//{address}/npm/:_authToken=${{NPM_TOKEN}}\n"),
    );
    up_fails(&server, app.path(), "registry-authentication");
    // A secret of the running app is none of the build.
    let set = server.run_in(app.path(), &["env", "set", "--secret", &format!("NPM_TOKEN={}", registry.token())]);
    let _ = set.expect_code(0);
    up_fails(&server, app.path(), "registry-authentication");
    give_to_builds(&server, &app, "NPM_TOKEN", registry.token());
    up(&server, app.path());
    assert_eq!(server.get("web-privatenpm.localhost", "/").body, "from the private registry");
    assert_in_no_layer(&server, registry.token());
    assert_in_no_log(&server, &app, registry.token());
    let names = server.get("web-privatenpm.localhost", "/env").body;
    assert!(names.contains("PORT") && !names.contains("NPM_TOKEN"), "what is of the build alone: {names}");
}

#[test]
fn a_git_dependency_is_fetched_with_the_credential_that_builds_were_given() {
    let registry = Registry::start();
    let server = TestServer::start_with(BINARY, &registry.allow());
    let address = registry.authority();
    let app = app("privategit", &registry, "private-git", &format!("git+http://{address}/git/lib.git"));
    let refused = server.run_in(app.path(), &["up", "--json"]).expect_code(1).outcome();
    let diagnosis = refused.last["deployment"]["diagnosis"].to_string();
    assert_eq!(refused.text("phase"), "install");
    assert!(diagnosis.contains("Authentication failed") || diagnosis.contains("private-git"), "{diagnosis}");
    // Of two hosts: the credential of one is never sent to the other.
    let lines = format!("https://me:other@git.example\nhttp://reader:{}@{address}\n", registry.token());
    give_to_builds(&server, &app, "GIT_CREDENTIALS", &lines);
    up(&server, app.path());
    assert_eq!(server.get("web-privategit.localhost", "/").body, "from the private repository");
    assert_in_no_layer(&server, registry.token());
    assert_in_no_log(&server, &app, registry.token());

    // Another address of the same repository, as package managers write it: git's own is turned into the given one.
    app.write(
        "package.json",
        &std::fs::read_to_string(app.path().join("package.json"))
            .unwrap()
            .replace(&format!("git+http://{address}/git/lib.git"), &format!("git+ssh://git@{address}/git/lib.git")),
    );
    up(&server, app.path());
    assert_eq!(server.get("web-privategit.localhost", "/").body, "from the private repository");
}
