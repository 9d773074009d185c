//! Why a command could not do what it was asked, as a person reads it: `error:`, `cause:` and `hint:` lines on
//! standard error, and the exit code that a script reads.

use crate::output::{self, Palette};
use slipway_types::{ApiError, Blame};
use std::error::Error;
use std::process::ExitCode;

/// The exit codes other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The deployment failed, was canceled or superseded.
    DeploymentFailed,
    /// Something to correct in what was asked: arguments, names, files, what does not exist.
    Usage,
    /// The server or the network.
    Server,
    /// Ctrl-C: 128 + SIGINT.
    Interrupted,
    /// Whoever read standard output went away: 128 + SIGPIPE.
    OutputClosed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::DeploymentFailed => 1,
            Exit::Usage => 2,
            Exit::Server => 3,
            Exit::Interrupted => 130,
            Exit::OutputClosed => 141,
        })
    }
}

/// Longest chain of causes that is shown; deeper ones repeat themselves.
const CAUSES_MAX: usize = 6;

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    /// Empty: everything was said already.
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
}

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), causes: Vec::new(), hints: Vec::new() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn server(message: impl Into<String>) -> Self {
        Self::new(Exit::Server, message)
    }

    /// Nothing is left to say: only the exit code counts.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// Takes `error` and what is below it as causes.
    pub(crate) fn caused_by(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string().trim_end().to_owned();
            // Many libraries repeat their source in their own text.
            let repeated = self.causes.last().is_some_and(|last| last.contains(&text));
            if !repeated && self.causes.len() < CAUSES_MAX {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// As [`Failure::caused_by`], where the error itself is in the message already.
    pub(crate) fn caused_by_all(self, source: Option<&(dyn Error + 'static)>) -> Self {
        match source {
            Some(source) => self.caused_by(source),
            None => self,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// In one line, for a log that goes on.
    pub(crate) fn in_one_line(&self) -> String {
        std::iter::once(self.message.as_str())
            .chain(self.causes.iter().map(String::as_str))
            .collect::<Vec<_>>()
            .join(": ")
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Says it on standard error.
    pub(crate) fn report(&self) {
        if self.message.is_empty() {
            return;
        }
        let palette = Palette::of_stderr();
        output::say(&format!("{} {}", palette.red("error:"), self.message));
        for cause in &self.causes {
            output::say(&format!("{} {cause}", palette.bold("cause:")));
        }
        for hint in &self.hints {
            output::say(&format!("{} {hint}", palette.cyan("hint:")));
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let exit = if error.blame == Blame::User { Exit::Usage } else { Exit::Server };
        let mut failure = Self::new(exit, error.message);
        failure.hints = error.hints;
        if error.retry {
            failure.hints.push("the same command can succeed later".to_owned());
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_a_chain_without_repetition() {
        let inner = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let outer = std::io::Error::other(inner);
        let failure = Failure::server("cannot read").caused_by(&outer);
        assert_eq!(failure.causes, ["no such file"]);
    }

    #[test]
    fn blame_decides_the_exit_code() {
        assert_eq!(Failure::from(ApiError::new("x", Blame::User, "m")).exit, Exit::Usage);
        assert_eq!(Failure::from(ApiError::new("x", Blame::Platform, "m")).exit, Exit::Server);
        assert_eq!(Failure::from(ApiError::new("x", Blame::Host, "m")).exit, Exit::Server);
    }
}
