//! Migrations of `examples/postgres` against a real PostgreSQL: once, in the new image, before any new replica.

use crate::{BINARY, up, up_fails};
use slipway_testing::{App, Postgres, Run, TestServer, app};
use std::io::Write;
use std::process::Stdio;

const HOST: &str = "web-notes.localhost";

/// What the example's own files do not tell: each run of the pre-deploy command and each start of a replica leaves a row.
const MARK_JS: &str = r#"
import fs from "node:fs";
import pg from "pg";
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
await client.query("CREATE TABLE IF NOT EXISTS marks (what text, version text, motd text, at timestamptz)");
const version = fs.readFileSync("version.txt", "utf8");
const values = [process.argv[2], version, process.env.MOTD ?? ""];
await client.query("INSERT INTO marks VALUES ($1, $2, $3, clock_timestamp())", values);
await client.end();
"#;

struct World {
    server: TestServer,
    postgres: Postgres,
    app: App,
}

impl World {
    /// The example in a directory of its own, with marks.
    fn new() -> World {
        let postgres = Postgres::start();
        let server = TestServer::start_with(BINARY, &postgres.allow());
        let app = App::copy_of("notes", &app::example("postgres")).with("mark.js", MARK_JS).with("version.txt", "one");
        let package = std::fs::read_to_string(app.path().join("package.json")).unwrap();
        app.write("package.json", &package.replace("node server.js", "node mark.js replica && node server.js"));
        let settings = std::fs::read_to_string(app.path().join("slipway.toml")).unwrap();
        let marked = settings.replace("\"npm run migrate\"", "\"npm run migrate && node mark.js pre-deploy\"");
        assert!(marked.contains("mark.js") && marked.contains("replicas = 2"));
        app.write("slipway.toml", &marked);
        World { server, postgres, app }
    }

    fn run(&self, args: &[&str]) -> Run {
        self.server.run_in(self.app.path(), args)
    }

    fn set_database_url(&self) {
        let mut command = self.server.command(&["env", "set", "DATABASE_URL", "--secret", "--stdin"]);
        let mut child = command.current_dir(self.app.path()).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(self.postgres.url().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    fn marks(&self, what: &str) -> String {
        self.postgres.query(&format!("SELECT version, motd FROM marks WHERE what = '{what}' ORDER BY at"))
    }

    /// Whether the last run of the pre-deploy command was over before the first replica of its deployment began.
    fn in_order(&self, version: &str, motd: &str) -> bool {
        let of = |what: &str| format!("FROM marks WHERE (what, version, motd) = ('{what}', '{version}', '{motd}')");
        let sql = format!("SELECT (SELECT max(at) {}) < (SELECT min(at) {})", of("pre-deploy"), of("replica"));
        self.postgres.query(&sql) == "t"
    }

    fn status(&self) -> serde_json::Value {
        let answer = self.server.get(HOST, "/status");
        assert_eq!(answer.status, 200, "{}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }
}

#[test]
fn a_migration_runs_once_in_the_new_image_before_any_replica() {
    let world = World::new();
    world.set_database_url();
    let _ = world.run(&["env", "set", "MOTD=hello"]).expect_code(0);
    up(&world.server, world.app.path());
    assert_eq!(world.marks("pre-deploy"), "one|hello", "once, whatever the number of replicas");
    assert_eq!(world.marks("replica"), "one|hello\none|hello");
    assert!(world.in_order("one", "hello"));
    assert_eq!(world.status()["migrations"].as_array().unwrap().len(), 2);

    // Another image and another configuration: the new image's files, the configuration of now.
    world.app.write("version.txt", "two");
    world
        .app
        .write("migrations/0003_author.sql", "ALTER TABLE notes ADD COLUMN author text NOT NULL DEFAULT 'nobody';");
    let _ = world.run(&["env", "set", "MOTD=again", "--stage"]).expect_code(0);
    up(&world.server, world.app.path());
    assert_eq!(world.marks("pre-deploy"), "one|hello\ntwo|again");
    assert!(world.in_order("two", "again"));
    let applied = world.status();
    assert_eq!(applied["migrations"].as_array().unwrap().len(), 3);

    // The same image with another configuration: nothing is built, the command runs all the same.
    let again = world.run(&["env", "set", "MOTD=third", "--deploy", "--json"]).expect_code(0);
    assert!(again.stdout.contains("unchanged since v2"), "{}", again.stdout);
    assert_eq!(world.marks("pre-deploy"), "one|hello\ntwo|again\ntwo|third");
    assert!(world.in_order("two", "third"));
    assert_eq!(world.status()["migrations"], applied["migrations"], "no migration is applied twice");
}

#[test]
fn a_failing_migration_stops_the_deployment_and_the_old_release_serves_its_schema() {
    let world = World::new();
    world.set_database_url();
    up(&world.server, world.app.path());
    let posted = slipway_testing::http::Connection::open(world.server.edge_port(), HOST)
        .and_then(|mut connection| connection.request("POST", "/", &[], "a note"))
        .unwrap();
    assert_eq!(posted.status, 200, "{}", posted.body);
    world.app.write("version.txt", "bad");
    world.app.write("migrations/0003_bad.sql", "ALTER TABLE notes DROP COLUMN text; SELECT no_such_function();");
    let failed = up_fails(&world.server, world.app.path(), "pre-deploy-failed");
    let diagnosis = failed.expect_diagnosis("pre-deploy-failed");
    assert!(diagnosis["why"].as_str().unwrap().contains("no_such_function"), "{diagnosis}");
    assert!(!diagnosis.to_string().contains(slipway_testing::postgres::PASSWORD));
    let notes = world.server.get(HOST, "/");
    assert!(notes.status == 200 && notes.body.contains("\"text\":\"a note\""), "{}", notes.body);
    assert_eq!(world.marks("replica"), "one|\none|", "no replica of the new release began");
}

#[test]
fn a_migration_that_waits_for_another_one_says_so_and_is_tried_again_without_a_build() {
    let world = World::new();
    world.set_database_url();
    let _ = world.run(&["env", "set", "MIGRATION_LOCK_TIMEOUT=500ms"]).expect_code(0);
    // The number in `migrate.js`.
    let held = world.postgres.hold("SELECT pg_advisory_lock(7201001)");
    let failed = up_fails(&world.server, world.app.path(), "migration-locked");
    let diagnosis = failed.expect_diagnosis("migration-locked");
    assert!(diagnosis["why"].as_str().unwrap().contains("lock timeout"), "{diagnosis}");
    drop(held);
    let _ = world.run(&["env", "unset", "MIGRATION_LOCK_TIMEOUT"]).expect_code(0);
    let again = world.run(&["redeploy", "--json"]).expect_code(0);
    assert!(again.stdout.contains("nothing that the build reads has changed"), "{}", again.stdout);
    assert_eq!(world.marks("pre-deploy"), "one|");
}

#[test]
fn without_the_address_of_the_database_it_is_said_how_to_set_it() {
    let world = World::new();
    let failed = up_fails(&world.server, world.app.path(), "missing-database-url");
    let diagnosis = failed.expect_diagnosis("missing-database-url").to_string();
    assert!(diagnosis.contains("DATABASE_URL") && diagnosis.contains("slipway env set"), "{diagnosis}");
    world.set_database_url();
    let _ = world.run(&["redeploy"]).expect_code(0);
    assert_eq!(world.server.get(HOST, "/").body, "[]\n");
}
