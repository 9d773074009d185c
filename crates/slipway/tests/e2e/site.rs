//! Sites without a process: plain files, the output of a build, their way back and their server's restarts.

use crate::{BINARY, up, up_fails};
use slipway_testing::{App, TestServer, wait};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(30);

fn page(title: &str) -> String {
    format!("<!doctype html><title>{title}</title>")
}

/// Mounts below the server's data directory.
fn mounts(server: &TestServer) -> usize {
    let sites = server.data().join("sites");
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(sites.to_str().unwrap())).count()
}

#[test]
fn a_site_is_deployed_rolled_back_and_survives_its_server() {
    let mut server = TestServer::start(BINARY);
    let app = App::empty("pages")
        .with("index.html", &page("one"))
        .with("about.html", &page("about"))
        .with("404.html", &page("lost"))
        .with(".well-known/security.txt", "Contact: mailto:x@example.com\n")
        .with(".env", "SECRET=1\n");
    const HOST: &str = "web-pages.localhost";
    up(&server, app.path());
    let index = server.get(HOST, "/");
    assert_eq!((index.status, index.body), (200, page("one")));
    for (path, status, body) in [
        ("/about", 200, page("about")),
        ("/.well-known/security.txt", 200, "Contact: mailto:x@example.com\n".to_owned()),
        ("/nothing", 404, page("lost")),
        ("/.env", 404, page("lost")),
        ("/slipway.toml", 404, page("lost")),
    ] {
        let answer = server.get(HOST, path);
        assert_eq!((answer.status, answer.body), (status, body), "{path}");
    }
    assert_eq!((server.sandboxes(), mounts(&server)), (vec![], 1), "a mount and no process");

    app.write("index.html", &page("two"));
    up(&server, app.path());
    assert_eq!(server.get(HOST, "/").body, page("two"));
    let back = server.run_in(app.path(), &["rollback", "--json"]).expect_code(0);
    assert_eq!((back.outcome().release(), server.get(HOST, "/").body), (1, page("one")));

    let serves_again = |server: &TestServer| {
        wait::until("the site to be served again", BOUND, || {
            let answer = server.get(HOST, "/");
            (answer.status == 200 && answer.body == page("one")).then_some(())
        });
        assert_eq!(mounts(server), 1, "{}", server.log());
    };
    server.stop_process();
    assert_eq!(mounts(&server), 0);
    server.start_process();
    serves_again(&server);
    server.kill_process();
    server.start_process();
    serves_again(&server);

    let _ = server.run_in(app.path(), &["destroy", "--yes"]).expect_code(0);
    wait::until("the mount to go", BOUND, || (mounts(&server) == 0).then_some(()));
}

const BUILD: &str = r#"
import { mkdirSync, writeFileSync } from "node:fs";
mkdirSync("dist/assets", { recursive: true });
writeFileSync("dist/index.html", "<!doctype html><title>built</title>");
writeFileSync("dist/assets/app-3f9d79a1.js", "console.log('" + "x".repeat(4000) + "')");
"#;

#[test]
fn the_output_of_a_build_is_a_site_and_a_bad_one_changes_nothing() {
    let server = TestServer::start(BINARY);
    let settings = "kind = \"static\"\n[site]\ndirectory = \"dist\"\nfallback = \"index.html\"";
    let app = App::empty("spa")
        .with("package.json", r#"{"name":"spa","private":true,"scripts":{"build":"node build.mjs"}}"#)
        .with("build.mjs", BUILD)
        .settings(settings);
    const HOST: &str = "web-spa.localhost";
    up(&server, app.path());
    for path in ["/", "/deep/link"] {
        let answer = server.get(HOST, path);
        assert_eq!((answer.status, answer.body), (200, page("built")), "{path}");
    }
    let script = server.get(HOST, "/assets/app-3f9d79a1.js");
    assert!(script.status == 200 && script.body.len() == 4015, "{script:?}");
    assert_eq!(server.get(HOST, "/package.json").status, 404, "what is not published is not there");

    let elsewhere = app.settings(&settings.replace("dist", "out"));
    let refused = up_fails(&server, elsewhere.path(), "site-directory-missing");
    let why = refused.last["deployment"]["diagnosis"]["why"].as_str().unwrap();
    assert!(why.contains("the build wrote `dist` (with an `index.html`)"), "{why}");
    let migrates = elsewhere.settings(&format!("pre_deploy_command = \"node migrate.js\"\n{settings}"));
    up_fails(&server, migrates.path(), "pre-deploy-without-process");
    assert_eq!(server.get(HOST, "/").body, page("built"));
}
