//! An error that crosses a boundary.

use crate::diagnosis::Blame;
use serde::{Deserialize, Serialize};

/// The body of every API answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Stable, kebab-case, documented.
    pub code: String,
    pub blame: Blame,
    /// Whether the same call can succeed later without a change.
    pub retry: bool,
    /// Lower case, no full stop, literals in backticks.
    pub message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl ApiError {
    pub fn new(code: &str, blame: Blame, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), blame, retry: false, message: message.into(), hints: Vec::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retry = true;
        self
    }
}
