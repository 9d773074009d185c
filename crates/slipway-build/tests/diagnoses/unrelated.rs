//! Output with words of a known failure that is none: it stays a command that failed, or an app that ended.

use crate::case::{Case, built, installed, running};
use slipway_build::diagnose;

/// Each a whole output; the last line is what the command really failed of.
const BUILDS: [&[&str]; 18] = [
    &["info: retrying after connect ECONNREFUSED 127.0.0.1:6379", "AssertionError: 3 tests failed"],
    &["warning: environment variable SENTRY_KEY is not set, skipping upload", "Error: 2 links are broken"],
    &[
        "fatal: not a git repository (or any of the parent directories): .git",
        "using version 0.0.0",
        "the moon is missing",
    ],
    &["\u{25b2} [WARNING] bundle initial exceeded maximum budget. Budget 500 kB was not met", "the moon is missing"],
    &["WARNING in ./src/a.js", "export 'x' (imported as 'x') was not found in './b.js'", "the moon is missing"],
    &["src/a.js: we say \"EMFILE\" here", "the moon is missing"],
    &["Specified \"rewrites\" will not automatically work with \"output: export\". See a page", "the moon is missing"],
    &[
        "  1:7  warning  'x' is assigned a value but never used  no-unused-vars",
        "\u{2716} 1 problem (0 errors, 1 warning)",
        "the moon is missing",
    ],
    &["The SECRET_KEY is required reading", "the moon is missing"],
    &["checking that Module not found pages exist", "the moon is missing"],
    &["npm warn EBADENGINE Unsupported engine {", "the moon is missing"],
    &["the migration guide says: Another day, another migration", "the moon is missing"],
    &["the lockfile needs love", "the moon is missing"],
    &["test: password of user is empty", "the moon is missing"],
    &["docs/errors.md mentions P3009 and invalid header", "the moon is missing"],
    &["GLIBC_2.36 found", "the moon is missing"],
    &["Executing tests without Chrome", "the moon is missing"],
    &["- at /app/x.js:1:2 SyntaxError is handled", "the moon is missing"],
];

const INSTALLS: [&[&str]; 6] = [
    &["npm warn deprecated x@1.0.0: no longer supported", "npm error the moon is missing"],
    &["npm warn ERESOLVE overriding peer dependency", "npm error the moon is missing"],
    &["npm warn EBADENGINE Unsupported engine {", "npm error the moon is missing"],
    &["npm warn optional SKIPPING OPTIONAL DEPENDENCY: fsevents@1 (platform)", "npm error the moon is missing"],
    &["WARN  Issues with peer dependencies found", "the moon is missing"],
    &["Installing requests 401k-calculator 403forbidden", "the moon is missing"],
];

const STARTS: [&[&str]; 6] = [
    &["cache: connect ECONNREFUSED 127.0.0.1:6379, going on without", "TypeError: x is not a function"],
    &["DATABASE_URL is missing, using SQLite", "the moon is missing"],
    &["loaded 3 environment variables", "the moon is missing"],
    &["GET /api 401 Unauthorized", "the moon is missing"],
    &["SyntaxError: Unexpected token '<', \"<!DOCTYPE \"... is not valid JSON", "    at JSON.parse (<anonymous>)"],
    &["worker 3 was ended, starting another", "the moon is missing"],
];

fn check(case: &Case, code: &str, lines: &[&str]) {
    let diagnosis = diagnose(&case.evidence, None, &[]);
    assert_eq!(diagnosis.code, code, "{lines:#?} is taken for {diagnosis:#?}");
    let last = lines.last().unwrap().trim();
    assert!(diagnosis.why.contains(last) || last.starts_with("at "), "{last} is not in {diagnosis:#?}");
}

#[test]
fn output_with_similar_words_is_not_taken_for_a_known_failure() {
    BUILDS.iter().for_each(|lines| check(&built("npm run build", 1, lines), "command-failed", lines));
    INSTALLS.iter().for_each(|lines| check(&installed("npm ci", lines), "command-failed", lines));
    STARTS.iter().for_each(|lines| check(&running("node server.js", Some(1), lines), "app-exited", lines));
}

/// The command, the exit status and the lines that say something, and no guess.
#[test]
fn an_unknown_failure_is_shown_as_it_is() {
    let lines =
        ["> build", "> make all", "", "npm error code 2", "make: *** [all] the moon is missing", "npm notice x"];
    let diagnosis = diagnose(&built("npm run build", 2, &lines).evidence, None, &[]);
    assert_eq!(diagnosis.code, "command-failed");
    assert_eq!(diagnosis.what, "`npm run build` exited with status 2");
    assert!(diagnosis.why.ends_with("make: *** [all] the moon is missing"), "{diagnosis:#?}");
    assert!(!diagnosis.why.contains("npm"), "{diagnosis:#?}");
}
