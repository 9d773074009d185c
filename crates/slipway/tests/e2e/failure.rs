//! Deployments that fail while they are built: each ends in its diagnosis, and what is live stays live.

use crate::{BINARY, up, up_fails};
use slipway_testing::{App, TestServer};

/// A server with `v1` of an app live, which `break_it` then spoils.
fn fails_and_v1_stays(name: &str, code: &str, break_it: impl FnOnce(&App)) {
    let server = TestServer::start(BINARY);
    let app = App::node(name, "v1");
    up(&server, app.path());
    app.set_version("v2");
    break_it(&app);
    up_fails(&server, app.path(), code);
    assert_eq!(server.get(&format!("web-{name}.localhost"), "/").body, "v1\n", "what was live still serves");
}

fn package(body: &str) -> String {
    format!(r#"{{"name":"app","version":"1.0.0","private":true,{body}}}"#)
}

#[test]
fn no_package_json() {
    fails_and_v1_stays("nopkg", "no-package-json", |app| {
        std::fs::remove_file(app.path().join("package.json")).unwrap()
    });
}

#[test]
fn broken_package_json() {
    fails_and_v1_stays("brokenpkg", "invalid-package-json", |app| {
        app.write("package.json", "{\n  \"name\": \"x\",\n  oops\n}")
    });
}

#[test]
fn lockfile_out_of_step() {
    fails_and_v1_stays("outofstep", "lockfile-out-of-step", |app| {
        app.write(
            "package.json",
            &package(r#""scripts":{"start":"node server.js"},"dependencies":{"is-number":"7.0.0"}"#),
        );
        app.write(
            "package-lock.json",
            r#"{"name":"app","version":"1.0.0","lockfileVersion":3,"requires":true,"packages":{"":{"name":"app","version":"1.0.0"}}}"#,
        );
    });
}

#[test]
fn package_that_does_not_exist() {
    fails_and_v1_stays("nosuchpkg", "package-not-found", |app| {
        app.write(
            "package.json",
            &package(r#""scripts":{"start":"node server.js"},"dependencies":{"slipway-no-such-package-4711":"1.0.0"}"#),
        );
    });
}

#[test]
fn wrong_node_version() {
    fails_and_v1_stays("badnode", "version-unavailable", |app| {
        app.write("package.json", &package(r#""engines":{"node":">=999"},"scripts":{"start":"node server.js"}"#));
    });
}

#[test]
fn invalid_node_version() {
    fails_and_v1_stays("oddnode", "invalid-node-version", |app| {
        app.write(
            "package.json",
            &package(r#""engines":{"node":"not a version"},"scripts":{"start":"node server.js"}"#),
        );
    });
}

#[test]
fn typescript_error() {
    fails_and_v1_stays("tserror", "typescript-error", |app| {
        app.write(
            "package.json",
            &package(
                r#""scripts":{"start":"node server.js","build":"tsc --noEmit"},"devDependencies":{"typescript":"5.9.3"}"#,
            ),
        );
        app.write("tsconfig.json", r#"{"compilerOptions":{"strict":true},"files":["main.ts"]}"#);
        app.write("main.ts", "const n: number = 'text';\nconsole.log(n);\n");
    });
}

#[test]
fn build_script_missing() {
    fails_and_v1_stays("noscript", "missing-script", |app| {
        app.write("slipway.toml", "project = \"noscript\"\n[build]\ncommand = \"npm run build\"\n");
    });
}

#[test]
fn build_command_fails() {
    fails_and_v1_stays("badbuild", "command-failed", |app| {
        app.write("slipway.toml", "project = \"badbuild\"\n[build]\ncommand = \"echo about to fail; exit 3\"\n");
    });
}

#[test]
fn build_command_not_found() {
    fails_and_v1_stays("nocmd", "command-not-found", |app| {
        app.write("slipway.toml", "project = \"nocmd\"\n[build]\ncommand = \"no-such-program-4711\"\n");
    });
}

#[test]
fn build_out_of_memory() {
    fails_and_v1_stays("oom", "out-of-memory", |app| {
        let hog = "node -e 'const kept=[]; for(;;) kept.push(Buffer.alloc(8<<20, 1))'";
        app.write("slipway.toml", &format!("project = \"oom\"\n[build]\ncommand = \"{hog}\"\nmemory = \"128MB\"\n"));
    });
}

#[test]
fn build_time_out() {
    fails_and_v1_stays("slow", "timed-out", |app| {
        app.write(
            "slipway.toml",
            "project = \"slow\"\n[build]\ncommand = \"echo working; sleep 60\"\ntimeout = \"2s\"\n",
        );
    });
}

#[test]
fn build_disk_full() {
    fails_and_v1_stays("full", "disk-full", |app| {
        app.write(
            "slipway.toml",
            "project = \"full\"\n[build]\ncommand = \"dd if=/dev/zero of=big bs=1M count=200\"\ndisk = \"64MB\"\n",
        );
    });
}

#[test]
fn migration_fails() {
    fails_and_v1_stays("migrate", "pre-deploy-failed", |app| {
        app.write("slipway.toml", "project = \"migrate\"\npre_deploy_command = \"echo no such table; exit 1\"\n");
    });
}
