//! Databases that are not there, say no, or are busy with a migration.

use crate::BINARY;
use crate::case::{Case, provoke, provoke_on};
use slipway_testing::{Postgres, TestServer, wait};
use std::time::Duration;

/// Of node-pg-migrate.
const MIGRATION_LOCK: u64 = 7_241_865_325_823_964;

const PG: &str = r#"{"name":"x","dependencies":{"pg":"8.16.3"}}"#;
/// Connects as every app does.
const CONNECT: &str =
    "const { Client } = require('pg');\nnew Client({ connectionString: process.env.DATABASE_URL }).connect();\n";

pub(crate) const CASES: &[Case<'_>] = &[
    Case {
        name: "no-url",
        code: "missing-database-url",
        place: "node start.js",
        says: &["slipway env set --secret DATABASE_URL"],
        settings: "start_command = \"node start.js\"",
        files: &[
            ("package.json", r#"{"name":"x"}"#),
            ("start.js", "if (!process.env.DATABASE_URL) throw new Error('DATABASE_URL is not set');\n"),
        ],
        ..Case::EMPTY
    },
    Case {
        name: "loopback-database",
        code: "database-unreachable",
        place: "127.0.0.1:5432",
        says: &["loopback"],
        settings: "start_command = \"node start.js\"",
        files: &[("package.json", PG), ("start.js", CONNECT)],
        variables: &["DATABASE_URL=postgres://app:secret@127.0.0.1:5432/app"],
    },
    Case {
        name: "private-database",
        code: "database-unreachable",
        place: "10.1.2.3:5432",
        says: &["network"],
        settings: "start_command = \"node start.js\"",
        files: &[("package.json", PG), ("start.js", CONNECT)],
        variables: &["DATABASE_URL=postgres://app:secret@10.1.2.3:5432/app"],
    },
    Case {
        name: "named-database",
        code: "host-name-unknown",
        place: "`postgres`",
        says: &["ENOTFOUND"],
        settings: "start_command = \"node start.js\"",
        files: &[("package.json", PG), ("start.js", CONNECT)],
        variables: &["DATABASE_URL=postgres://app:secret@postgres:5432/app"],
    },
    Case {
        name: "migrate-database",
        code: "database-unreachable",
        place: "127.0.0.1:5432",
        says: &["not made live"],
        settings: "start_command = \"sleep 60\"\npre_deploy_command = \"node start.js\"",
        files: &[("package.json", PG), ("start.js", CONNECT)],
        variables: &["DATABASE_URL=postgres://app:secret@127.0.0.1:5432/app"],
    },
];

/// Against a real PostgreSQL; the address stands in `address.json` of the app.
const MIGRATE: &str = r#"{"name":"x","dependencies":{"pg":"8.16.3","node-pg-migrate":"8.0.3"}}"#;

pub(crate) const REAL_CASES: &[Case<'_>] = &[
    Case {
        name: "wrong-password",
        code: "database-refused",
        place: "node start.js",
        says: &["password authentication failed", "percent-encoded"],
        settings: "start_command = \"node start.js\"",
        files: &[("package.json", MIGRATE), ("start.js", CONNECT)],
        ..Case::EMPTY
    },
    Case {
        name: "no-database",
        code: "database-refused",
        place: "node start.js",
        says: &["does not exist"],
        settings: "start_command = \"node start.js\"",
        files: &[("package.json", MIGRATE), ("start.js", CONNECT)],
        ..Case::EMPTY
    },
    Case {
        name: "lock",
        code: "migration-locked",
        place: "node-pg-migrate",
        says: &["Another migration is already running", "not made live"],
        settings: "start_command = \"sleep 60\"\npre_deploy_command = \"npx node-pg-migrate up\"",
        files: &[("package.json", MIGRATE), ("migrations/1_x.sql", "-- Up Migration\nselect 1;\n")],
        ..Case::EMPTY
    },
    Case {
        name: "broken-migration",
        code: "migration-failed",
        place: "node-pg-migrate",
        says: &["no_such_table", "not made live"],
        settings: "start_command = \"sleep 60\"\npre_deploy_command = \"npx node-pg-migrate up\"",
        files: &[
            ("package.json", MIGRATE),
            ("migrations/1_x.sql", "-- Up Migration\nALTER TABLE no_such_table ADD x int;\n"),
        ],
        ..Case::EMPTY
    },
];

/// The URL that a case is given, by its name.
fn url_of(case: &str, url: &str) -> String {
    match case {
        "wrong-password" => url.replacen(":pg-sentinel-4711@", ":wrong@", 1),
        "no-database" => format!("{}/no_such_database", url.rsplit_once('/').unwrap().0),
        _ => url.to_owned(),
    }
}

#[test]
fn databases() {
    provoke(CASES);
}

#[test]
fn databases_that_answer() {
    let postgres = Postgres::start();
    let server = TestServer::start_with(BINARY, &postgres.allow());
    for case in REAL_CASES {
        let url = format!("DATABASE_URL={}", url_of(case.name, &postgres.url()));
        let held = (case.name == "lock").then(|| postgres.hold(&format!("select pg_advisory_lock({MIGRATION_LOCK})")));
        let variables = &[url.as_str()];
        provoke_on(&server, &[Case { variables, ..*case }]);
        if let Some(held) = held {
            drop(held);
            wait::until("the lock to be free", Duration::from_secs(60), || {
                (postgres.query(&format!("select pg_try_advisory_lock({MIGRATION_LOCK})")) == "t").then_some(())
            });
        }
    }
}
