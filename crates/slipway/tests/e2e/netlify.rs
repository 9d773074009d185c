//! Projects that run on Netlify run unchanged: their `netlify.toml`, `_redirects` and `_headers` hold.

use crate::{BINARY, up};
use slipway_testing::{App, Outcome, TestServer};

const SITE: &str = r#"
[build]
  base = "site"
  command = "mkdir -p dist/guide && echo \"$GREETING in $CONTEXT with $(node --version)\" > dist/index.html && echo guide > dist/guide/index.html && cp rules dist/_redirects && cp headers dist/_headers"
  publish = "dist"
[build.environment]
  GREETING = "hello"
  NODE_VERSION = "22"
[context.production.environment]
  GREETING = "good day"
[context.deploy-preview]
  command = "false"
[[redirects]]
  from = "/both"
  to = "/from-the-file"
[[redirects]]
  from = "/help/*"
  to = "/guide/:splat"
  status = 302
[[redirects]]
  from = "/app/*"
  to = "/index.html"
  status = 200
[[headers]]
  for = "/*"
  [headers.values]
  X-Frame-Options = "DENY"
"#;

#[test]
fn a_netlify_site_answers_as_on_netlify() {
    let server = TestServer::start(BINARY);
    let app = App::empty("netlify")
        .with("netlify.toml", SITE)
        .with("site/package.json", r#"{"name":"site","private":true}"#)
        .with("site/rules", "/both /from-the-directory 302\n/broken\n/old/:name /new/:name 308\n")
        .with("site/headers", "/guide/*\n  X-Guide: yes\n");
    let run = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    assert!(run.stdout.contains("line 2 of `_redirects` is left out"), "{}", run.stdout);
    assert!(server.sandboxes().is_empty(), "a site needs no process");

    let get = |path: &str| server.get("web-netlify.localhost", path);
    let home = get("/");
    assert!(home.body.starts_with("good day in production with v22."), "{}", home.body);
    assert_eq!(home.header("x-frame-options"), Some("DENY"));
    assert_eq!(get("/app/deep/link").body, home.body);
    let to = |path: &str| {
        let response = get(path);
        (response.status, response.header("location").unwrap_or_default().to_owned())
    };
    assert_eq!(to("/both"), (302, "/from-the-directory".to_owned()), "the published directory's rules come first");
    assert_eq!(to("/old/x"), (308, "/new/x".to_owned()));
    assert_eq!(to("/help/start"), (302, "/guide/start".to_owned()));
    let guide = get("/guide/");
    assert_eq!((guide.body.as_str(), guide.header("x-guide")), ("guide\n", Some("yes")));
    assert_eq!(get("/nothing").status, 404, "only a rule answers for paths that are no file");
    assert_eq!(get("/_redirects").status, 404);
}

/// `netlify.toml` of a service with a process, and the order of who says what.
#[test]
fn netlify_toml_sets_what_its_owner_does_not() {
    let server = TestServer::start(BINARY);
    let app = App::node("order", "one").with(
        "netlify.toml",
        "[build]\ncommand = \"echo said-by=netlify-$COLOUR\"\n[build.environment]\nCOLOUR = \"red\"\nNODE_VERSION = \"22\"\n",
    );
    let build = || {
        let run = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
        assert_eq!(run.outcome().event(), "deployed");
        run.stdout
    };
    let log = build();
    assert!(log.contains("said-by=netlify-red") && log.contains("Node.js 22"), "{log}");
    let _ = server.run_in(app.path(), &["service", "set", "build.command=echo said-by=owner-$COLOUR"]).expect_code(0);
    assert!(build().contains("said-by=owner-red"));
    app.write("slipway.toml", "project = \"order\"\n[build]\ncommand = \"echo said-by=manifest-$COLOUR\"\n");
    assert!(build().contains("said-by=manifest-red"));
}

fn deploy(server: &TestServer, app: &App, reference: &str, code: i32) -> Outcome {
    let url = format!("file://{}", app.path().display());
    let run = server.run_in(app.path(), &["deploy", "--git", &url, "--ref", reference, "--json"]).expect_code(code);
    run.outcome()
}

#[test]
fn an_ignored_commit_ends_as_canceled_and_leaves_what_is_live() {
    let server = TestServer::start(BINARY);
    let app = App::node("ignore", "one").with(
        "netlify.toml",
        "[build]\nignore = \"test \\\"$(cat wanted)\\\" != \\\"$CACHED_COMMIT_REF\\\" && test -n \\\"$COMMIT_REF\\\"\"\n",
    );
    app.write("wanted", "nothing");
    let first = app.commit("one");
    deploy(&server, &app, "main", 0);
    let body = || server.get("web-ignore.localhost", "/").body;
    assert_eq!(body(), "one\n", "with nothing live there is nothing to ignore a commit for");

    app.set_version("two");
    app.commit("two");
    let outcome = deploy(&server, &app, "main", 1);
    assert_eq!((outcome.text("status").as_str(), body().as_str()), ("canceled", "one\n"));
    let log = server.run_in(app.path(), &["events"]).expect_code(0).stdout;
    assert!(log.contains("exited with status 0; what is live stays"), "{log}");

    app.write("wanted", &first);
    app.commit("three");
    deploy(&server, &app, "main", 0);
    assert_eq!(body(), "two\n", "the command named the commit that was live");

    // A directory is deployed because its owner says so.
    app.write("wanted", "nothing");
    app.set_version("four");
    up(&server, app.path());
    assert_eq!(body(), "four\n");
}
