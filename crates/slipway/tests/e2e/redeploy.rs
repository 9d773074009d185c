//! A redeploy builds when something that the build reads has changed, and only then.

use crate::{BINARY, assert_one_is_below, up};
use slipway_testing::{App, Run, TestServer};
use std::time::{Duration, Instant};

/// Of a redeploy that builds nothing, from the command to its end; of it one second is the stable window.
const WITHOUT_BUILD_MAX: Duration = Duration::from_secs(2);

/// A build that bakes a variable in and leaves the time of the build.
const BUILD: &str =
    "[build]\ncommand = \"echo $PUBLIC_GREETING-$FOR_BUILD-$RUN_ONLY > baked.txt; date +%s%N > built.txt\"";
const SERVER: &str = r#"
const fs = require("node:fs");
require("node:http").createServer((request, response) => {
  const text = (name) => fs.readFileSync(name, "utf8").trim();
  response.end(JSON.stringify({ baked: text("baked.txt"), built: text("built.txt"), run: process.env.RUN_ONLY ?? "" }));
}).listen(process.env.PORT, "0.0.0.0");
"#;

fn phases(run: &Run) -> Vec<String> {
    let ended =
        run.events().into_iter().filter(|event| event["event"] == "phase_finished" && event["result"] == "done");
    ended.map(|event| event["phase"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_redeploy_builds_only_when_the_build_would_read_something_else() {
    let server = TestServer::start(BINARY);
    // Vite's prefix is public: its variables are baked in.
    let package = r#"{"name":"reuse","scripts":{"start":"node server.js"},"devDependencies":{}}"#;
    let app = App::empty("reuse").with("package.json", package).with("server.js", SERVER).settings(BUILD);
    let run = |args: &[&str]| server.run_in(app.path(), args).expect_code(0);
    let seen = || -> serde_json::Value { serde_json::from_str(&server.get("web-reuse.localhost", "/").body).unwrap() };
    let _ = run(&["env", "set", "--build", "FOR_BUILD=one"]);
    up(&server, app.path());
    let first = seen();
    assert_eq!((first["baked"].as_str(), first["run"].as_str()), (Some("-one-"), Some("")));

    // Of the running app: no build, and well under two seconds.
    let said = run(&["env", "set", "RUN_ONLY=hello", "--stage"]).stderr;
    assert!(said.contains("`slipway env apply` brings them to what is live, without a build"), "{said}");
    let begun = Instant::now();
    let again = run(&["redeploy", "--json"]);
    let took = begun.elapsed();
    assert!(again.stdout.contains("unchanged since v1: nothing that the build reads has changed"), "{}", again.stdout);
    assert_eq!(again.outcome().release(), 2);
    assert!(!phases(&again).iter().any(|phase| ["source", "build"].contains(&phase.as_str())), "{:?}", phases(&again));
    assert_eq!((&seen()["built"], seen()["run"].as_str()), (&first["built"], Some("hello")));

    // Of the build: said beforehand, and done in one step.
    let said = run(&["env", "set", "--build", "FOR_BUILD=two", "--stage"]).stderr;
    assert!(said.contains("builds again: the build reads the variable `FOR_BUILD`, which changed"), "{said}");
    let built = run(&["env", "set", "RUN_ONLY=again", "--deploy", "--json"]);
    assert!(phases(&built).contains(&"build".to_owned()), "{}", built.stdout);
    assert_eq!((seen()["baked"].as_str(), seen()["run"].as_str()), (Some("-two-"), Some("again")));

    // A release keeps its own configuration.
    let _ = run(&["rollback", "v1"]);
    assert_eq!((&seen()["built"], seen()["run"].as_str()), (&first["built"], Some("")));
    let _ = run(&["rollback", "v3"]);
    let before = seen()["built"].clone();
    let _ = run(&["redeploy", "--rebuild"]);
    assert_ne!(seen()["built"], before, "a rebuild builds in any case");

    assert_one_is_below(WITHOUT_BUILD_MAX, |attempt| {
        if attempt == 0 {
            return took;
        }
        let _ = run(&["env", "set", &format!("RUN_ONLY=attempt-{attempt}"), "--stage"]);
        let begun = Instant::now();
        let _ = run(&["redeploy"]);
        begun.elapsed()
    });
}

#[test]
fn a_redeploy_of_a_branch_that_moved_is_of_the_same_commit() {
    let server = TestServer::start(BINARY);
    let app = App::node("moved", "one");
    app.commit("one");
    let url = format!("file://{}", app.path().display());
    let run = |args: &[&str]| server.run_in(app.path(), args).expect_code(0);
    let _ = run(&["deploy", "--git", &url, "--ref", "main"]);
    app.set_version("two");
    app.commit("two");
    let body = || server.get("web-moved.localhost", "/").body;
    let _ = run(&["redeploy"]);
    assert_eq!(body(), "one\n");
    let _ = run(&["redeploy", "--rebuild"]);
    assert_eq!(body(), "one\n");
    let _ = run(&["deploy", "--git", &url, "--ref", "main"]);
    assert_eq!(body(), "two\n");
}
