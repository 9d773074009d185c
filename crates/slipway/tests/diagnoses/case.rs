//! A broken app, and the diagnosis that it must end in.

use crate::BINARY;
use slipway_testing::{App, TestServer};
use std::path::Path;

/// One deployment that must fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case<'c> {
    /// Of the project: unique in its group.
    pub(crate) name: &'static str,
    pub(crate) code: &'static str,
    /// A part of the line `where:`.
    pub(crate) place: &'static str,
    /// Each is a part of what is printed about the failure.
    pub(crate) says: &'static [&'static str],
    /// Lines of `slipway.toml` below the project's name.
    pub(crate) settings: &'static str,
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// `NAME=value`, for the app.
    pub(crate) variables: &'c [&'c str],
}

impl Case<'_> {
    pub(crate) const EMPTY: Case<'static> =
        Case { name: "", code: "", place: "", says: &[], settings: "", files: &[], variables: &[] };
}

/// Deploys each case and compares; all of them run before the test fails.
pub(crate) fn provoke(cases: &[Case<'_>]) {
    provoke_on(&TestServer::start(BINARY), cases);
}

/// As [`provoke`], on a server of the caller's.
pub(crate) fn provoke_on(server: &TestServer, cases: &[Case<'_>]) {
    let only = std::env::var("SLIPWAY_TEST_CASE").ok();
    let cases = cases.iter().filter(|case| only.as_deref().is_none_or(|name| name == case.name));
    let wrong: Vec<String> = cases.filter_map(|case| differs(server, case)).collect();
    assert!(wrong.is_empty(), "{} cases differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}

/// What is not as expected.
fn differs(server: &TestServer, case: &Case<'_>) -> Option<String> {
    let app = App::empty(case.name).settings(case.settings);
    for (path, text) in case.files {
        app.write(path, text);
    }
    for variable in case.variables {
        drop(server.run_in(app.path(), &["env", "set", variable]).expect_code(0));
    }
    let run = server.run_in(app.path(), &["up"]);
    keep(case, &run.stderr);
    let failure = run.stderr.rsplit_once("\nerror: ").map_or("", |(_, failure)| failure);
    let place = failure.lines().find_map(|line| line.strip_prefix("where: ")).unwrap_or_default();
    let mut missing: Vec<&str> = case.says.iter().filter(|text| !failure.contains(**text)).copied().collect();
    missing.extend((!place.contains(case.place)).then_some(case.place));
    let is_code = failure.lines().next().is_some_and(|line| line.ends_with(&format!("[{}]", case.code)));
    // Every diagnosis says where, why and what to do.
    let complete = ["where: ", "why: ", "hint: "].iter().all(|part| failure.lines().any(|line| line.starts_with(part)));
    let right = run.code == 1 && is_code && complete && missing.is_empty();
    let name = case.name;
    (!right).then(|| {
        format!("{name}: expected [{}], exit code 1 and {missing:?}; exit code {}\n{}", case.code, run.code, run.stderr)
    })
}

fn keep(case: &Case, text: &str) {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("diagnoses");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(format!("{}-{}.txt", case.code, case.name)), text).unwrap();
}
