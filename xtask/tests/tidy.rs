//! House rules, as a test: what ARCHITECTURE.md states as an absence is looked for here.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file is one concept that a person can hold in the head.
const FILE_LINES_MAX: usize = 500;
const FORBIDDEN_MODULES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "manager"];

/// Which of the workspace's crates each may depend on, outside its tests.
const DIRECTION: [(&str, &[&str]); 13] = [
    ("slipway-types", &[]),
    ("slipway-build", &["slipway-types"]),
    ("slipway-pipeline", &["slipway-types"]),
    ("slipway-store", &["slipway-types", "slipway-pipeline"]),
    ("slipway-layers", &["slipway-types"]),
    ("slipway-tree", &["slipway-types"]),
    ("slipway-sandbox", &["slipway-types", "slipway-layers", "slipway-tree"]),
    ("slipway-agent", &["slipway-types", "slipway-tree"]),
    ("slipway-host", &["slipway-types", "slipway-layers", "slipway-sandbox", "slipway-tree"]),
    ("slipway-edge", &["slipway-types"]),
    ("slipway-control", &["slipway-types", "slipway-build", "slipway-pipeline", "slipway-store"]),
    (
        "slipway",
        &[
            "slipway-types",
            "slipway-build",
            "slipway-store",
            "slipway-layers",
            "slipway-pipeline",
            "slipway-sandbox",
            "slipway-host",
            "slipway-edge",
            "slipway-control",
        ],
    ),
    ("slipway-testing", &["slipway-types"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Files that git knows or would add, relative to the root.
fn files(suffix: &str) -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    let files: Vec<PathBuf> = listed
        .lines()
        .filter(|line| line.ends_with(suffix))
        .map(PathBuf::from)
        .filter(|path| root().join(path).exists())
        .collect();
    assert!(!files.is_empty(), "no file ends with {suffix}");
    files
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

fn manifests() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            (name(package), dependencies.iter().filter(|d| d["kind"].is_null()).map(name).collect())
        })
        .collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let manifests = manifests();
    for (name, allowed) in DIRECTION {
        let wrong: Vec<&String> =
            manifests[name].iter().filter(|d| d.starts_with("slipway") && !allowed.contains(&d.as_str())).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
    let known: BTreeSet<&str> = DIRECTION.iter().map(|(name, _)| *name).collect();
    for name in manifests.keys().filter(|name| name.starts_with("slipway")) {
        assert!(known.contains(name.as_str()), "{name} has no line in DIRECTION");
    }
}

#[test]
fn sql_stands_in_the_store_alone() {
    // Of the server's database; tests of apps have one of their own.
    let words = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "sqlx::"];
    // The apps that tests deploy have databases of their own.
    let of_the_product = |path: &&PathBuf| {
        let is_test =
            path.components().any(|part| part.as_os_str() == "tests") || path.starts_with("crates/slipway-testing");
        path.starts_with("crates") && !path.starts_with("crates/slipway-store") && !is_test
    };
    for path in files(".rs").iter().filter(of_the_product) {
        let source = text(path);
        for word in words {
            assert!(!source.contains(word), "{}: `{word}` stands outside slipway-store", path.display());
        }
    }
}

#[test]
fn pure_crates_do_no_io() {
    let forbidden =
        ["std::fs", "std::net::Tcp", "std::process", "std::time::Instant", "SystemTime", "std::env", "tokio"];
    for path in files(".rs") {
        let pure = ["slipway-types", "slipway-build", "slipway-pipeline"]
            .iter()
            .any(|c| path.starts_with(Path::new("crates").join(c).join("src")));
        if !pure {
            continue;
        }
        let whole = text(&path);
        let source = whole.split("#[cfg(test)]").next().unwrap();
        for word in forbidden {
            assert!(!source.contains(word), "{}: `{word}` in a pure crate", path.display());
        }
    }
}

#[test]
fn files_are_of_a_size_to_read() {
    for path in files(".rs") {
        let lines = text(&path).lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines: split it by concept", path.display());
    }
}

#[test]
fn modules_have_names_that_say_something() {
    for path in files(".rs") {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(!FORBIDDEN_MODULES.contains(&stem.as_str()), "{}: name it after its concept", path.display());
        assert!(stem != "mod", "{}: use `name.rs` beside `name/`", path.display());
    }
}

#[test]
fn every_dependency_has_a_reason() {
    let reasons = text(Path::new("docs/dependencies.md"));
    for (name, dependencies) in manifests() {
        for dependency in dependencies.iter().filter(|d| !d.starts_with("slipway")) {
            assert!(
                reasons.contains(&format!("| `{dependency}` |")),
                "{name} uses `{dependency}`: give it a line in docs/dependencies.md"
            );
        }
    }
}

#[test]
fn every_promise_names_a_test_or_benchmark_that_exists() {
    let sources: String = files(".rs").iter().map(|path| text(path)).collect();
    let specification = text(Path::new("SPECIFICATION.md"));
    let mut promises = 0;
    for line in specification.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let holder = line.trim_end_matches('|').rsplit('|').next().unwrap();
        for name in holder.split('`').skip(1).step_by(2) {
            let exists = ["./x bench", "./x machine"].iter().any(|command| name.starts_with(command))
                || sources.contains(&format!("fn {name}("));
            assert!(exists, "SPECIFICATION.md names `{name}`, which does not exist");
            promises += 1;
        }
    }
    assert!(promises > 10, "only {promises} promises found: has the table's form changed?");
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    // Written in two parts so that this file does not find itself.
    let forbidden =
        [concat!("registry.", "npmjs"), concat!("crates", ".io/"), concat!("/work", "/"), concat!("pypi", ".org")];
    for suffix in [".rs", ".md", ".toml", ".json", "x", ".ts", ".tsx"] {
        for path in files(suffix) {
            let source = std::fs::read(root().join(&path)).unwrap();
            let source = String::from_utf8_lossy(&source);
            for word in forbidden {
                assert!(!source.contains(word), "{} names `{word}`", path.display());
            }
        }
    }
}
