//! Runs the binary in a clean environment.

use crate::fake_server::FakeServer;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The lines of standard output, each a JSON value.
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub(crate) fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slipway"));
    command.env_clear().env("PATH", "/usr/bin:/bin").env("TZ", "UTC").env("SLIPWAY_DATA", "/nowhere/slipway");
    command.current_dir(dir).args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Run {
    finish(command(dir, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

pub(crate) fn run_with(server: &FakeServer, dir: &Path, arguments: &[&str]) -> Run {
    finish(with_server(server, dir, arguments).spawn().unwrap())
}

pub(crate) fn with_server(server: &FakeServer, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = command(dir, arguments);
    command.env("SLIPWAY_URL", server.url()).env("SLIPWAY_TOKEN", "secret-token");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run_with_input(server: &FakeServer, dir: &Path, arguments: &[&str], input: &str) -> Run {
    let mut child = with_server(server, dir, arguments).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    finish(child)
}

pub(crate) fn finish(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
