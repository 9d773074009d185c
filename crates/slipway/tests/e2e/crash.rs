//! What is killed while it works: the server in each phase, what holds a sandbox, what runs in one, the whole machine.

use crate::{BINARY, up};
use serde_json::Value;
use slipway_testing::{App, TestServer, wait};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);
/// Long enough to be seen and killed in, short enough to be run once more.
const WHILE: &str = "sleep 5";

/// Until `look` finds in what `ps` says of the app's service what it looks for.
fn until(what: &str, server: &TestServer, app: &App, look: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, BOUND, || server.service(app).filter(|service| look(service)))
}

/// The status in which the deployment ends.
fn until_settled(server: &TestServer, app: &App, deployment: &str) -> String {
    let view = wait::until("the deployment to end", BOUND, || server.ended(app, deployment));
    view["status"].as_str().unwrap().to_owned()
}

/// Deploys without waiting.
fn begin(server: &TestServer, app: &App) -> String {
    server.run_in(app.path(), &["up", "--detach", "--json"]).expect_code(0).outcome().deployment()
}

fn until_phase(server: &TestServer, app: &App, deployment: &str, phases: &[&str]) {
    until(&format!("one of the phases {phases:?}"), server, app, |service| {
        let newest = &service["newest"];
        assert!(
            !matches!(newest["status"].as_str(), Some("failed" | "canceled")),
            "ended before it was killed: {newest}"
        );
        newest["deployment"] == deployment && newest["phase"].as_str().is_some_and(|phase| phases.contains(&phase))
    });
}

fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

fn until_nothing_is_left(server: &TestServer) {
    let mut left = Vec::new();
    let begun = std::time::Instant::now();
    while begun.elapsed() < BOUND {
        left = server.leftovers();
        if left.is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("left on the machine: {left:#?}");
}

fn answers(server: &TestServer, host: &str) -> String {
    wait::until("an answer", BOUND, || {
        let response = slipway_testing::http::get(server.edge_port(), host, "/").ok()?;
        (response.status == 200).then_some(response.body)
    })
}

#[test]
fn a_server_killed_in_any_phase_ends_what_it_began() {
    const HOST: &str = "web-killed.localhost";
    let mut server = TestServer::start(BINARY);
    let app = App::node("killed", "v0");
    up(&server, app.path());
    let mut former = "v0\n".to_owned();
    for phases in [&["environment", "install"][..], &["build"], &["start", "health"], &["route", "drain", "clean-up"]] {
        let version = format!("after-{}", phases[0]);
        app.set_version(&version);
        // What is installed and built again each time, also where an earlier run has left its layers.
        let once = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let slowly = |phase| if phases.contains(&phase) { WHILE } else { "true" };
        app.settings_again(&format!(
            "start_command = \"{} && node server.js\"\n\
             [build]\ninstall_command = \"{}; true {once}\"\ncommand = \"{}; echo {once} > built.txt\"",
            slowly("start"),
            slowly("install"),
            slowly("build"),
        ));
        let deployment = begin(&server, &app);
        if phases[0] != "route" {
            until_phase(&server, &app, &deployment, phases);
            assert_eq!(server.get(HOST, "/").body, former);
        } else {
            until("the switch", &server, &app, |service| service["live"]["deployment"] == deployment.as_str());
        }
        server.kill_process();
        server.start_process();
        let first = answers(&server, HOST);
        assert!(first == former || first == format!("{version}\n"), "{first}");
        assert_eq!(until_settled(&server, &app, &deployment), "live", "killed in {phases:?}");
        former = format!("{version}\n");
        wait::until("the new version", BOUND, || (answers(&server, HOST) == former).then_some(()));
        until_nothing_is_left(&server);
    }
}

#[test]
fn a_server_killed_in_a_migration_says_so_and_does_not_run_it_again() {
    let mut server = TestServer::start(BINARY);
    let app = App::node("half", "old");
    up(&server, app.path());
    app.set_version("new");
    app.settings_again("pre_deploy_command = \"echo migrating; sleep 300\"");
    let deployment = begin(&server, &app);
    let log = |server: &TestServer| server.run_in(app.path(), &["logs", "--build"]).stdout;
    wait::until("the migration to run", BOUND, || log(&server).contains("] migrating").then_some(()));
    server.kill_process();
    server.start_process();
    assert_eq!(until_settled(&server, &app, &deployment), "failed");
    let service = until("the diagnosis", &server, &app, |service| !service["newest"]["diagnosis"].is_null());
    assert_eq!(service["newest"]["diagnosis"]["code"], "interrupted-pre-deploy");
    assert_eq!(log(&server).matches("] migrating").count(), 1, "{}", log(&server));
    assert_eq!(answers(&server, "web-half.localhost"), "old\n");
    until_nothing_is_left(&server);
}

#[test]
fn a_build_whose_sandbox_dies_fails_and_leaves_nothing() {
    let server = TestServer::start(BINARY);
    let app = App::node("torn", "old");
    up(&server, app.path());
    let live = server.sandboxes();
    for who in ["shim", "init"] {
        app.settings_again(&format!("[build]\ncommand = \"echo building for {who}; sleep 300\""));
        let deployment = begin(&server, &app);
        wait::until("the build to run", BOUND, || {
            server
                .run_in(app.path(), &["logs", "--build"])
                .stdout
                .contains(&format!("] building for {who}"))
                .then_some(())
        });
        let sandbox = server.sandboxes().into_iter().find(|name| !live.contains(name)).unwrap();
        kill(server.process_of(&sandbox, who).unwrap());
        assert_eq!(until_settled(&server, &app, &deployment), "failed", "its {who} was killed");
        let service = until("the diagnosis", &server, &app, |service| !service["newest"]["diagnosis"].is_null());
        let diagnosis = &service["newest"]["diagnosis"];
        assert_eq!(
            (&diagnosis["code"], &diagnosis["blame"]),
            (&"sandbox-failed".into(), &"platform".into()),
            "{diagnosis}"
        );
        assert_eq!(answers(&server, "web-torn.localhost"), "old\n");
        until_nothing_is_left(&server);
    }
}

#[test]
fn a_replica_whose_sandbox_dies_comes_back() {
    let server = TestServer::start(BINARY);
    let app = App::node("phoenix", "alive");
    up(&server, app.path());
    for who in ["shim", "init"] {
        let sandbox = server.sandboxes().pop().unwrap();
        let pid = server.process_of(&sandbox, who).unwrap();
        kill(pid);
        wait::until("another sandbox", BOUND, || {
            let now = server.process_of(&server.sandboxes().pop()?, who)?;
            (now != pid).then_some(())
        });
        assert_eq!(answers(&server, "web-phoenix.localhost"), "alive\n");
        until_nothing_is_left(&server);
    }
}

#[test]
fn apps_and_sites_come_back_when_the_machine_lost_power() {
    let mut server = TestServer::start(BINARY);
    let app = App::node("again", "alive");
    up(&server, app.path());
    let site =
        App::empty("page").with("index.html", "<!doctype html><title>page</title>here").settings("kind = \"static\"");
    up(&server, site.path());
    // In the middle of a build.
    let half = App::node("middle", "built").settings(&format!("[build]\ncommand = \"{WHILE}\""));
    let deployment = begin(&server, &half);
    until_phase(&server, &half, &deployment, &["build"]);
    server.lose_power();
    server.start_process();
    assert_eq!(answers(&server, "web-again.localhost"), "alive\n");
    assert!(answers(&server, "web-page.localhost").contains("here"));
    assert_eq!(until_settled(&server, &half, &deployment), "live");
    assert_eq!(answers(&server, "web-middle.localhost"), "built\n");
    until_nothing_is_left(&server);
    // Some stand ready, one may be on its way.
    let slots = server.sandboxes().len() + 4 + 1;
    assert!(server.namespaces().len() <= slots, "at most {slots}: {:?}", server.namespaces());
}
