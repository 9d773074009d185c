//! What is refused, with which exit code, and what help says.

use crate::fake_server::{FakeServer, Reply};
use crate::slipway::{Run, command, finish, run, run_with};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Stdio;

fn anywhere(arguments: &[&str]) -> Run {
    run(Path::new("/"), arguments)
}

#[test]
fn usage_is_exit_code_2() {
    for (arguments, part) in [
        (&["frobnicate"][..], "unrecognized subcommand"),
        (&["ps", "--project", "Not A Name"], "is not a project name"),
        (&["ps", "--service", "../x"], "is not a service name"),
        (&["rollback", "latest"], "a release is written like `v12`"),
        (&["cancel", "A/B"], "is not a deployment id"),
        (&["events", "--limit", "0"], "is not in 1..=1000"),
        (&["logs", "--since", "yesterday"], "write a duration like `10m`"),
        (&["logs", "--since", "5m", "--until", "10m"], "`--until` is not after `--since`"),
        (&["logs", "--until", "5m", "--follow"], "cannot be used with"),
        (&["logs", "--build", "--grep", "x"], "cannot be used with"),
        (&["logs", "--phase", "bild"], "the phases are `source`"),
        (&["service", "set", "replica=1"], "did you mean `replicas`?"),
        (&["service", "set", "replicas"], "is not `KEY=VALUE`"),
        (&["env", "set", "1A=x"], "is not a variable's name"),
        (&["env", "set"], "required arguments were not provided"),
        (&["ps", "--url", "https://x"], "expected `http://host:port`"),
        (&["up", "/nowhere/at/all"], "cannot open the directory `/nowhere/at/all`"),
        (&["up", "/"], "no project name can be made"),
        (&["server", "--config", "/nowhere/slipway-server.toml"], "cannot read `/nowhere/slipway-server.toml`"),
        (&["server", "--listen", "7700"], "invalid socket address"),
        (&["server", "--domain", "A_b"], "is not a usable domain"),
    ] {
        let run = anywhere(arguments);
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stdout, "", "{arguments:?}");
    }
}

#[test]
fn a_bad_manifest_is_refused_before_anything_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::start(|_, _| Reply::Json(200, json!({})));
    for (text, part) in [
        ("replicas = ", "TOML parse error at line 1"),
        ("[health]\npth = \"/\"", "unknown field `pth`"),
        ("name = \"x\"", "there is no setting `name`"),
        ("service = \"a.b\"", "is not a service name"),
        ("port = 0", "`port = 0` is out of range"),
    ] {
        fs::write(dir.path().join("slipway.toml"), text).unwrap();
        let run = run_with(&server, dir.path(), &["up"]);
        assert_eq!(run.code, Some(2), "{text}: {}", run.stderr);
        assert!(run.stderr.starts_with("error: `") && run.stderr.contains(part), "{text}: {}", run.stderr);
    }
    assert!(server.asked().is_empty());
}

#[test]
fn no_server_is_exit_code_3_with_a_hint() {
    let run = anywhere(&["ps"]);
    assert_eq!(run.code, Some(3));
    insta::assert_snapshot!(run.stderr, @r"
    error: no server found: there is no `/nowhere/slipway/client.json`
    hint: start one by `slipway server`, or name it by `--url` and `--token`
    ");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = anywhere(&["ps", "--url", &format!("http://{closed}")]);
    assert_eq!(run.code, Some(3));
    assert!(run.stderr.starts_with(&format!("error: cannot reach the server at `http://{closed}`\ncause: ")));
}

#[test]
fn what_a_server_says_wrongly_is_exit_code_3() {
    let refusal = |code, blame| json!({"code": code, "blame": blame, "retry": false, "message": "no", "hints": []});
    for (reply, exit, part) in [
        (Reply::Json(401, refusal("token-unknown", "user")), 3, "does not accept the token"),
        (Reply::Json(500, refusal("internal", "platform")), 3, "error: no"),
        (Reply::Json(404, refusal("service-missing", "user")), 2, "error: no"),
        (Reply::Json(502, json!("<html>")), 3, "answered 502"),
        (Reply::Json(200, json!({"not": "a list"})), 3, "does not understand"),
        (Reply::Broken(vec![]), 3, "broke"),
    ] {
        let shown = format!("{reply:?}");
        let server = FakeServer::start(move |_, _| reply.clone());
        let run = run_with(&server, Path::new("/"), &["ps"]);
        assert_eq!(run.code, Some(exit), "{shown}: {}", run.stderr);
        assert!(run.stderr.contains(part), "{shown}: {}", run.stderr);
    }
}

#[test]
fn an_endless_answer_is_cut_off() {
    let line = json!("x".repeat(2 << 20));
    let service = json!({
        "project": "a", "service": "web", "kind": "web", "url": null, "live": null, "newest": null,
        "replicas_wanted": 1, "replicas": [],
    });
    let server = FakeServer::start(move |asked, _| match asked.line.contains("/logs") {
        true => Reply::Lines(vec![line.clone()]),
        false => Reply::Json(200, service.clone()),
    });
    let run = run_with(&server, Path::new("/"), &["logs", "--project", "a"]);
    assert_eq!(run.code, Some(3), "{}", run.stdout.len());
    assert!(run.stderr.contains("longer than 1048576 bytes"), "{}", run.stderr);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let server = FakeServer::start(|_, _| Reply::Lines(vec![json!("x".repeat(1000)); 1000]));
    let mut command = command(Path::new("/"), &["logs", "--project", "a", "--url", server.url()]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let run = finish(child);
    assert_eq!((run.code, run.stderr.as_str()), (Some(141), ""));
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = anywhere(&["completions", shell]);
        assert_eq!(run.code, Some(0));
        assert!(run.stdout.contains("rollback") && run.stdout.contains("slipway"), "{shell}");
    }
}

#[test]
fn help_says_what_there_is() {
    let run = anywhere(&["--help"]);
    assert_eq!(run.code, Some(0));
    assert!(!run.stdout.contains("shim"));
    insta::assert_snapshot!("help", run.stdout);
    for name in ["up", "deploy", "logs", "env set", "server"] {
        let arguments: Vec<&str> = name.split(' ').chain(["--help"]).collect();
        insta::assert_snapshot!(format!("help-{}", name.replace(' ', "-")), anywhere(&arguments).stdout);
    }
}

#[test]
fn doctor_says_that_there_is_no_server() {
    let run = anywhere(&["doctor", "--json"]);
    assert_eq!(run.code, Some(3));
    let checks: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&checks[0]["name"], &checks[0]["ok"]), (&json!("server"), &json!(false)));
}
