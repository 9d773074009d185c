//! Apps that run and are never healthy.

use crate::case::{Case, provoke};

pub(crate) const CASES: &[Case<'_>] = &[Case {
    name: "not-http",
    code: "health-not-http",
    place: "port 3000",
    says: &["HTTP"],
    settings: "start_command = \"node start.js\"\n[health]\npath = \"/up\"\nstart_timeout = \"8s\"",
    files: &[
        ("package.json", r#"{"name":"x"}"#),
        (
            "start.js",
            "require('node:net').createServer((socket) => socket.end('hello\\r\\n')).listen(process.env.PORT, '0.0.0.0');",
        ),
    ],
    ..Case::EMPTY
}];

#[test]
fn health() {
    provoke(CASES);
}
