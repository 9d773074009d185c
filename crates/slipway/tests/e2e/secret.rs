//! Secrets, looked for everywhere that Slipway writes to: logs, events, diagnoses, listings, files, the process list.

use crate::BINARY;
use slipway_testing::{App, TestServer, wait};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Files of the data directory that are looked through whole; the largest is the database.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Name, value, and whether the build gets it.
const SECRETS: [(&str, &str, bool); 6] = [
    ("PLAIN", "sentinel-plain-71a", true),
    ("LINES", "-----BEGIN KEY-----\nsentinel-line-82b\nsentinel-line-93c\n-----END KEY-----\n", true),
    ("QUOTES", "sentinel \"quo'te\" \\ 04d <&> /ü?", true),
    ("SHORT", "z9q!", true),
    ("ADDRESS", "postgres://app:sentinel-password-15e@db.internal:5432/app", true),
    ("RUN_ONLY", "sentinel-of-the-app-26f", false),
];

/// Prints every secret that it finds in every form, whole and in pieces, on both streams.
const PRINT_JS: &str = r#"
const { execFileSync } = require("node:child_process");
const names = ["PLAIN", "LINES", "QUOTES", "SHORT", "ADDRESS", "RUN_ONLY"];
const forms = names.filter((name) => process.env[name]).flatMap((name) => {
  const value = process.env[name];
  const bytes = Buffer.from(value);
  return [
    value.trim(), JSON.stringify(value).slice(1, -1), JSON.stringify(JSON.stringify(value)).slice(3, -3),
    bytes.toString("base64"), bytes.toString("base64url"), encodeURIComponent(value),
    new URLSearchParams({ x: value }).toString().slice(2), ...value.split("\n").filter((line) => line.length > 3),
    ...(bytes.length >= 8 ? [bytes.toString("hex")] : []),
    ...(name === "ADDRESS" ? [new URL(value).password] : []),
  ];
});
exports.forms = forms;
exports.print = async () => {
  for (const stream of [process.stdout, process.stderr]) {
    for (const form of forms) {
      stream.write(`form ${form}\n`);
      stream.write(`Authorization: Basic ${Buffer.from("user:" + form).toString("base64")}\n`);
      // In pieces, with time between, so that they arrive one by one.
      const half = Math.floor(form.length / 2);
      stream.write("piece " + form.slice(0, half));
      await new Promise((done) => setTimeout(done, 3));
      stream.write(form.slice(half) + "\n");
    }
    stream.write("x".repeat(16384 - 12) + forms[0] + "\n");
  }
  execFileSync("sh", ["-c", 'set -x; echo "$PLAIN" "$QUOTES" >/dev/null'], { stdio: "inherit" });
};
"#;

const SERVER_JS: &str = r#"
const { forms, print } = require("./print.js");
require("node:http").createServer((request, response) => {
  if (request.url === "/crash") throw new Error("crashed with " + process.env.RUN_ONLY + " and " + process.env.QUOTES);
  response.end(JSON.stringify(forms));
}).listen(process.env.PORT, "0.0.0.0", print);
"#;

fn set_secret(server: &TestServer, app: &App, name: &str, value: &str, build: bool) {
    let mut command = server.command(&["env", "set", name, "--secret", "--stdin", "--stage"]);
    command.args(build.then_some("--build")).current_dir(app.path()).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What a secret may look like: all that the app printed.
struct Sentinels(Vec<Vec<u8>>);

impl Sentinels {
    fn assert_none_in(&self, sink: &str, bytes: &[u8]) {
        for form in &self.0 {
            let found = bytes.windows(form.len()).position(|window| window == form.as_slice());
            if let Some(at) = found {
                let around = &bytes[at.saturating_sub(200)..bytes.len().min(at + 200)];
                panic!("`{}` is in {sink}: {}", String::from_utf8_lossy(form), String::from_utf8_lossy(around));
            }
        }
    }

    fn assert_none_in_files(&self, dir: &Path) -> usize {
        let mut files = 0;
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            let path = entry.path();
            if kind.is_dir() {
                files += self.assert_none_in_files(&path);
            } else if kind.is_file() && entry.metadata().is_ok_and(|data| data.len() <= FILE_BYTES_MAX) {
                // A file may go while it is looked for.
                if let Ok(bytes) = std::fs::read(&path) {
                    files += 1;
                    self.assert_none_in(&path.display().to_string(), &bytes);
                }
            }
        }
        files
    }

    /// Command lines of all processes, and the variables of those that are Slipway's own: server, shims, runtime.
    fn assert_none_in_processes(&self, agent: &Path) {
        let own = [Path::new(BINARY).canonicalize().unwrap(), agent.canonicalize().unwrap()];
        let mut seen = 0;
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let path = entry.path();
            let Ok(command) = std::fs::read(path.join("cmdline")) else { continue };
            self.assert_none_in(&format!("the command line of {}", path.display()), &command);
            if std::fs::read_link(path.join("exe")).is_ok_and(|exe| own.contains(&exe)) {
                seen += 1;
                let variables = std::fs::read(path.join("environ")).unwrap_or_default();
                self.assert_none_in(&format!("the variables of {}", path.display()), &variables);
            }
        }
        assert!(seen >= 2, "the server and a shim run");
    }
}

/// What is given to somebody who helps.
fn assert_none_in_bundle(server: &TestServer, sentinels: &Sentinels) {
    let dir = tempfile::tempdir().unwrap();
    let (file, config) = (dir.path().join("bundle.tar.zst"), server.config_path());
    let written =
        server.run(&["debug", "bundle", file.to_str().unwrap(), "--config", config.to_str().unwrap(), "--json"]);
    let written: serde_json::Value = serde_json::from_str(&written.expect_code(0).stdout).unwrap();
    // No systemd runs here.
    assert!(
        written["missing"].as_array().unwrap().iter().all(|why| why.as_str().unwrap().starts_with("server.log")),
        "{written}"
    );
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    let token = std::fs::read_to_string(server.data().join("admin-token")).unwrap();
    let mut tar = tar::Archive::new(zstd::Decoder::new(std::fs::File::open(&file).unwrap()).unwrap());
    let mut parts = Vec::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let (name, mut content) = (entry.path().unwrap().display().to_string(), Vec::new());
        entry.read_to_end(&mut content).unwrap();
        sentinels.assert_none_in(&name, &content);
        assert!(!String::from_utf8_lossy(&content).contains(token.trim()), "the token is in {name}");
        parts.push((name, content.len()));
    }
    for part in ["versions.txt", "doctor.json", "events.json", "metrics.txt", "config.toml", "mounts.txt"] {
        assert!(parts.iter().any(|(name, bytes)| name.ends_with(part) && *bytes > 100), "{part}: {parts:?}");
    }
    let refused = server.run(&["debug", "bundle", file.to_str().unwrap()]);
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn no_secret_is_in_anything_that_slipway_writes() {
    let server = TestServer::start(BINARY);
    let app = App::empty("hush")
        .with("package.json", r#"{"name":"hush","scripts":{"start":"node server.js"}}"#)
        .with("print.js", PRINT_JS)
        .with("server.js", SERVER_JS)
        .settings("[build]\ncommand = \"node -e 'require(\\\"./print.js\\\").print()'; env | grep RUN_ONLY && exit 9; exit 0\"");
    for (name, value, build) in SECRETS {
        set_secret(&server, &app, name, value, build);
    }
    let run = |args: &[&str]| server.run_in(app.path(), args);
    let live = run(&["up", "--json"]).expect_code(0);
    assert!(live.stdout.contains("form ***"), "the build printed secrets: {}", live.stdout);
    let forms: Vec<String> = serde_json::from_str(&server.get("web-hush.localhost", "/").body).unwrap();
    assert!(forms.len() > 50 && forms.iter().any(|form| form == "sentinel-password-15e"), "{forms:?}");
    let sentinels = Sentinels(forms.into_iter().map(String::into_bytes).collect());

    // A crash of the app, its page, a build and a migration that fail with secrets in their last lines.
    wait::until("the app's log", Duration::from_secs(20), || run(&["logs"]).stdout.contains("form ***").then_some(()));
    let crash = server.get("web-hush.localhost", "/crash");
    app.settings_again("[build]\ncommand = \"node -e 'require(\\\"./print.js\\\").print().then(() => { throw new Error(process.env.QUOTES) })'\"");
    let failed = run(&["up", "--json"]).expect_code(1);
    assert!(failed.stdout.contains("\"diagnosis\":{"), "{}", failed.stdout);
    app.settings_again(
        "pre_deploy_command = \"node -e 'require(\\\"./print.js\\\").print().then(() => process.exit(3))'\"",
    );
    let migration = run(&["up"]).expect_code(1);
    assert!(migration.stderr.contains("pre-deploy-failed"), "{}", migration.stderr);

    sentinels.assert_none_in("a page", format!("{crash:?}").as_bytes());
    for run in [&live, &failed, &migration] {
        sentinels.assert_none_in("what a deployment prints", format!("{}{}", run.stdout, run.stderr).as_bytes());
    }
    for args in [
        &["env", "ls"][..],
        &["env", "ls", "--json"],
        &["events", "--limit", "1000"],
        &["events", "--limit", "1000", "--json"],
        &["logs"],
        &["logs", "--json"],
        &["logs", "--build"],
        &["logs", "--build", "--json"],
        &["ps", "--json"],
        &["service", "show"],
    ] {
        let shown = run(args).expect_code(0);
        assert!(!shown.stdout.is_empty() || args[0] == "service", "{args:?} says nothing");
        sentinels.assert_none_in(&format!("{args:?}"), format!("{}{}", shown.stdout, shown.stderr).as_bytes());
    }
    sentinels.assert_none_in("the server's log", server.log().as_bytes());
    assert_none_in_bundle(&server, &sentinels);
    let files = sentinels.assert_none_in_files(&server.data());
    assert!(files > 10, "database, logs, uploads and sandboxes are looked through: {files} files");
    sentinels.assert_none_in_processes(&Path::new(BINARY).parent().unwrap().join("libexec/slipway-agent"));
}

#[test]
fn a_secret_reaches_the_build_by_its_owner_s_word_alone() {
    let server = TestServer::start(BINARY);
    // The source asks for a secret by naming it, and by a public prefix in its name.
    let app = App::empty("asks")
        .with("package.json", r#"{"name":"asks","scripts":{"start":"node server.js","preinstall":"env > seen.txt"},"dependencies":{"left-pad":"1.3.0"}}"#)
        .with("server.js", "require('node:http').createServer((q, r) => r.end(require('node:fs').readFileSync('seen.txt'))).listen(process.env.PORT, '0.0.0.0')")
        .settings("[build]\nvariables = [\"API_KEY\"]\ncommand = \"env >> seen.txt\"");
    set_secret(&server, &app, "API_KEY", "sentinel-api-key", false);
    set_secret(&server, &app, "NEXT_PUBLIC_KEY", "sentinel-public", false);
    let run = |args: &[&str]| server.run_in(app.path(), args);
    let refused = run(&["up", "--json"]).expect_code(1).outcome();
    let diagnosis = refused.expect_diagnosis("missing-build-variable");
    assert!(diagnosis.to_string().contains("API_KEY") && !refused.last.to_string().contains("sentinel"), "{diagnosis}");

    app.settings_again("[build]\ncommand = \"env >> seen.txt\"");
    let _ = run(&["up"]).expect_code(0);
    let seen = server.get("web-asks.localhost", "/").body;
    assert!(seen.contains("npm_lifecycle_event=preinstall") && !seen.contains("sentinel"), "{seen}");
    // Given by its owner it is there, for the install script and the build.
    set_secret(&server, &app, "API_KEY", "sentinel-api-key", true);
    let _ = run(&["redeploy"]).expect_code(0);
    assert!(server.get("web-asks.localhost", "/").body.contains("API_KEY=sentinel-api-key"));
}
