//! Apps that end or never get healthy, and hosts that can not do their part.

use crate::Checked;
use crate::case::{Case, host, listening, ran, running};
use slipway_types::Phase;
use slipway_types::host::{Evidence, ProbeResult};

pub(crate) fn apps_that_end(checked: &mut Checked) {
    let start = |code, fixture| ran(Phase::Start, "node server.js", code, fixture);
    let place = "`node server.js` in the phase `start`";
    checked.check(
        start(1, "node-thrown"),
        (
            "app-exited",
            "`throw.js:1`, by `node server.js` in the phase `start`",
            "exited with status 1 with `TypeError: Cannot read",
            "slipway logs",
        ),
    );
    checked.check(
        running("node server.js", Some(0), &["bye"]),
        (
            "app-exited",
            "`node server.js` in the phase `health`",
            "exited with status 0; its last lines are:\nbye",
            "foreground",
        ),
    );
    checked.check(
        running("node server.js", Some(3), &[]),
        ("app-exited", "`node server.js` in the phase `health`", "it printed nothing", "env set"),
    );
    checked.check(start(1, "node-module-cjs"), ("app-module-not-found", "cjs.js", "`express`", "`dependencies`"));
    checked.check(start(1, "node-module-esm"), ("app-module-not-found", "esm.mjs", "`express`", "`dependencies`"));
    checked.check(
        start(1, "node-module-file"),
        ("app-module-not-found", "relesm.mjs", "needs `nope.js`", "start command"),
    );
    checked.check(
        start(1, "node-main-missing"),
        ("app-module-not-found", place, "the start command needs `dist/index.js`", "start command"),
    );
    checked.check(start(1, "node-port-in-use"), ("port-in-use", place, "127.0.0.1:45871", "second `listen`"));
    checked.check(
        start(1, "node-variable-missing"),
        ("missing-database-url", place, "DATABASE_URL", "slipway env set --secret DATABASE_URL"),
    );
    checked.check(
        start(1, "next-start-without-build"),
        ("build-output-missing", place, "Could not find a production build", "build command"),
    );
    checked.check(start(127, "npm-command-not-found"), ("command-not-found", place, "`no-such-tool`", "dependencies"));
}

pub(crate) fn apps_that_never_get_healthy(checked: &mut Checked) {
    let command = "`node server.js` in the phase `health`";
    checked.check(
        listening(Some(ProbeResult::Refused), &[]),
        ("listens-on-nothing", command, "after 61 s no TCP socket listened", "kind = \"worker\""),
    );
    checked.check(
        listening(Some(ProbeResult::Refused), &["127.0.0.1:3000"]),
        ("listens-on-loopback", "127.0.0.1:3000", "port 3000 is right", "0.0.0.0"),
    );
    checked.check(
        listening(Some(ProbeResult::Refused), &["[::1]:3000"]),
        ("listens-on-loopback", "[::1]:3000", "loopback", "HOST"),
    );
    checked.check(
        listening(Some(ProbeResult::Refused), &["0.0.0.0:8080"]),
        ("listens-on-wrong-port", "`0.0.0.0:8080`", "`PORT` says 3000", "port = 8080"),
    );
    checked.check(
        listening(None, &["127.0.0.1:4000"]),
        ("listens-on-wrong-port", "`127.0.0.1:4000`", "saw `127.0.0.1:4000`", "loopback address only"),
    );
    let probe = "`GET /up` on port 3000";
    checked.check(
        listening(Some(ProbeResult::Status { status: 404 }), &["0.0.0.0:3000"]),
        ("health-path-status", probe, "nothing at `/up`", "health.path"),
    );
    checked.check(
        listening(Some(ProbeResult::Status { status: 500 }), &["0.0.0.0:3000"]),
        ("health-path-status", probe, "fails at this path", "slipway logs"),
    );
    checked.check(
        listening(Some(ProbeResult::Status { status: 401 }), &["0.0.0.0:3000"]),
        ("health-path-status", probe, "credentials", "without a login"),
    );
    checked.check(
        listening(Some(ProbeResult::TimedOut), &["[::]:3000"]),
        ("health-timeout", probe, "no answer in time", "health.start_timeout"),
    );
    checked.check(
        listening(Some(ProbeResult::Refused), &["[::]:3000"]),
        ("health-timeout", probe, "refused the last probe", "health.start_timeout"),
    );
    checked.check(
        listening(Some(ProbeResult::Broken { message: "invalid HTTP version".into() }), &["0.0.0.0:3000"]),
        ("health-not-http", "port 3000", "invalid HTTP version", "TLS"),
    );
}

pub(crate) fn hosts(checked: &mut Checked) {
    let source = "the phase `source`";
    checked.check(
        host(Phase::Source, "git-unreachable", "could not resolve host"),
        ("git-unreachable", source, "could not resolve host", "check the URL"),
    );
    checked.check(
        host(Phase::Source, "git-reference-missing", "no `nope`"),
        ("git-reference-missing", source, "no `nope`", "push it first"),
    );
    checked.check(host(Phase::Source, "git-authentication", "403"), ("git-authentication", source, "403", "token"));
    checked.check(
        host(Phase::Source, "git-failed", "index-pack failed"),
        ("git-failed", source, "index-pack failed", "git clone"),
    );
    checked.check(
        host(Phase::Source, "upload-missing", "no such file"),
        ("upload-missing", source, "no such file", "slipway up"),
    );
    checked.check(
        host(Phase::Source, "upload-unusable", "link out of the tree"),
        ("upload-unusable", source, "link out of the tree", "slipway up"),
    );
    let environment = "the phase `environment`";
    checked.check(
        host(Phase::Environment, "version-unavailable", "node 99"),
        ("version-unavailable", environment, "node 99", "engines.node"),
    );
    checked.check(
        host(Phase::Environment, "toolchain-unavailable", "timed out"),
        ("toolchain-unavailable", environment, "timed out", "deploy again"),
    );
    checked.check(
        host(Phase::Build, "sandbox-failed", "runc"),
        ("sandbox-failed", "the phase `build`", "runc", "slipway doctor"),
    );
    checked.check(
        host(Phase::Install, "layer-failed", "mount"),
        ("layer-failed", "the phase `install`", "mount", "slipway doctor"),
    );
    let build = "the phase `build`";
    checked.check(
        host(Phase::Build, "site-directory-missing", "no directory `dist`; the build wrote `out/`"),
        ("site-directory-missing", build, "the build wrote `out/`", "site.directory"),
    );
    checked.check(
        host(Phase::Build, "site-fallback-missing", "no `app.html`"),
        ("site-fallback-missing", build, "no `app.html`", "site.fallback"),
    );
    checked.check(
        host(Phase::Build, "site-too-large", "more than 200000 files"),
        ("site-too-large", build, "200000 files", "site.directory"),
    );
    checked.check(
        host(Phase::Install, "disk-full", "no space"),
        ("host-disk-full", "the phase `install`", "no space", "df -h"),
    );
    checked.check(
        host(Phase::Source, "disk-nearly-full", "1.0 GB is free"),
        ("disk-nearly-full", "the phase `source`", "1.0 GB is free", "slipway cache gc"),
    );
    checked.check(
        host(Phase::Start, "release-gone", "no layer"),
        ("release-gone", "the phase `start`", "no layer", "slipway redeploy --rebuild"),
    );
    checked.check(
        host(Phase::Start, "driver-changed", "written in a virtual machine"),
        ("driver-changed", "the phase `start`", "written in a virtual machine", "slipway redeploy --rebuild"),
    );
    checked.check(
        host(Phase::Build, "new-code", "odd"),
        ("host-error", "the phase `build`", "new-code: odd", "server's log"),
    );
    checked.check(Case { evidence: Evidence::default() }, ("unknown-failure", "", "no exit status", "server's log"));
}
