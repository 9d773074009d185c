//! `slipway plan`: what would be decided, without a server.

use crate::slipway::run;
use std::fs;

const PACKAGE: &str = r#"{"engines":{"node":"22"},"scripts":{"build":"tsc","start":"node server.js"}}"#;

fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

#[test]
fn each_decision_names_its_file() {
    let dir = project(&[("package.json", PACKAGE), ("package-lock.json", "{}"), ("server.js", "")]);
    let printed = run(dir.path(), &["plan"]);
    assert_eq!((printed.code, printed.stderr.as_str()), (Some(0), ""));
    assert!(printed.stdout.contains("(`package-lock.json`)"), "{}", printed.stdout);
    assert!(
        printed.stdout.contains("build: `npm run build` (the script `build` in `package.json`)"),
        "{}",
        printed.stdout
    );
    let elsewhere = run(std::path::Path::new("/"), &["plan", dir.path().to_str().unwrap()]);
    assert_eq!(elsewhere.stdout, printed.stdout);
}

#[test]
fn slipway_toml_and_ignored_files_count_as_they_do_in_a_deployment() {
    let dir = project(&[
        ("slipway.toml", "root = \"web\"\nstart_command = \"node other.js\"\n"),
        ("web/package.json", PACKAGE),
        ("other/package.json", "not JSON, and not looked at"),
        (".gitignore", "package-lock.json\n"),
        ("web/package-lock.json", "{}"),
    ]);
    let printed = run(dir.path(), &["plan", "--json"]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let plan: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!((plan["kind"].as_str(), plan["root"].as_str()), (Some("web"), Some("web")));
    assert_eq!(plan["toolchains"][0], serde_json::json!({ "name": "node", "version_range": "22" }));
    assert!(plan["start"]["command"].as_str().unwrap().contains("node other.js"), "{plan}");
    let files = plan["install"]["key_files"].to_string();
    assert!(!files.contains("package-lock.json"), "the lockfile is ignored, so the server will not see it: {files}");
}

#[test]
fn without_a_plan_there_is_a_diagnosis() {
    let dir = project(&[("slipway.toml", "replicas = 99\n"), ("package.json", PACKAGE)]);
    let refused = run(dir.path(), &["plan"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(
        refused
            .stderr
            .starts_with("error: `slipway.toml` is not valid [invalid-slipway-toml]\nwhere: slipway.toml:1:1\n")
    );
    let refused = run(dir.path(), &["plan", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((refused.code, answer["diagnosis"]["code"].as_str()), (Some(1), Some("invalid-slipway-toml")));
    let missing = run(dir.path(), &["plan", "/nowhere/at/all"]);
    assert_eq!(missing.code, Some(2), "{}", missing.stderr);
}
