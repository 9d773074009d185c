//! Running the shipped binary and reading what it says.

use serde_json::Value;
use std::process::{Child, Command, Output, Stdio};

/// A finished run of the CLI.
#[derive(Debug)]
pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    pub(crate) fn of(output: &Output) -> Run {
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Panics with everything that was printed unless the exit code is `code`.
    #[must_use]
    pub fn expect_code(self, code: i32) -> Run {
        assert_eq!(self.code, code, "exit code\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The objects of a `--json` run, one a line.
    pub fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// How a deployment ended, from the last line of a `--json` run.
    pub fn outcome(&self) -> Outcome {
        let last = self.events().pop().unwrap_or_else(|| panic!("no JSON line\n--- stderr\n{}", self.stderr));
        Outcome { last, transcript: format!("{}\n--- stderr\n{}", self.stdout, self.stderr) }
    }
}

/// The last event of a deployment.
#[derive(Debug)]
pub struct Outcome {
    pub last: Value,
    transcript: String,
}

impl Outcome {
    pub fn event(&self) -> &str {
        self.last["event"].as_str().unwrap_or_default()
    }

    /// All that the CLI printed.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    pub fn text(&self, key: &str) -> String {
        let nested = &self.last["deployment"][key];
        let value = if nested.is_null() { &self.last[key] } else { nested };
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    pub fn deployment(&self) -> String {
        self.text("deployment")
    }

    pub fn url(&self) -> String {
        self.text("url")
    }

    pub fn release(&self) -> u64 {
        self.last["deployment"]["release"].as_u64().unwrap_or_default()
    }

    /// Panics unless the deployment failed with that diagnosis, which must say what, where, why and what to do.
    pub fn expect_diagnosis(&self, code: &str) -> &Value {
        let diagnosis = &self.last["deployment"]["diagnosis"];
        assert_eq!(self.event(), "failed", "{}", self.transcript);
        assert_eq!(diagnosis["code"], code, "{}", self.transcript);
        for part in ["what", "where", "why"] {
            assert!(
                !diagnosis[part].as_str().unwrap_or_default().is_empty(),
                "the diagnosis has no `{part}`: {diagnosis}"
            );
        }
        assert!(!diagnosis["hints"].as_array().unwrap().is_empty(), "the diagnosis has no hint: {diagnosis}");
        diagnosis
    }
}

/// A run in the background whose standard output is collected.
#[derive(Debug)]
pub struct Background(Child);

impl Background {
    pub(crate) fn spawn(command: &mut Command) -> Background {
        Background(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn finish(self) -> Run {
        Run::of(&self.0.wait_with_output().unwrap())
    }
}
