//! Databases that are not there, say no, or are busy with a migration.

use crate::case::{Case, provoke};

const PG: &str = r#"{"name":"x","dependencies":{"pg":"8.16.3"}}"#;
/// Connects as every app does.
const CONNECT: &str =
    "const { Client } = require('pg');\nnew Client({ connectionString: process.env.DATABASE_URL }).connect();\n";

pub(crate) const CASES: &[Case] = &[
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
        ..Case::EMPTY
    },
    Case {
        name: "private-database",
        code: "database-unreachable",
        place: "10.1.2.3:5432",
        says: &["network"],
        settings: "start_command = \"node start.js\"",
        files: &[("package.json", PG), ("start.js", CONNECT)],
        variables: &["DATABASE_URL=postgres://app:secret@10.1.2.3:5432/app"],
        ..Case::EMPTY
    },
    Case {
        name: "named-database",
        code: "host-name-unknown",
        place: "`postgres`",
        says: &["ENOTFOUND"],
        settings: "start_command = \"node start.js\"",
        files: &[("package.json", PG), ("start.js", CONNECT)],
        variables: &["DATABASE_URL=postgres://app:secret@postgres:5432/app"],
        ..Case::EMPTY
    },
    Case {
        name: "migrate-database",
        code: "database-unreachable",
        place: "127.0.0.1:5432",
        says: &["not made live"],
        settings: "start_command = \"sleep 60\"\npre_deploy_command = \"node start.js\"",
        files: &[("package.json", PG), ("start.js", CONNECT)],
        variables: &["DATABASE_URL=postgres://app:secret@127.0.0.1:5432/app"],
        ..Case::EMPTY
    },
];

#[test]
fn databases() {
    provoke(CASES);
}
