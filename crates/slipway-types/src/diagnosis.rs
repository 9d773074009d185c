//! What a failed deployment ends in.

use serde::{Deserialize, Serialize};

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The source, its configuration or a value that its owner set.
    User,
    /// Slipway itself.
    Platform,
    /// The machine: disk, memory, network.
    Host,
}

/// One answer to "why did it fail": rendered alike in the CLI, the dashboard and the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Stable, kebab-case, documented. Never reused for something else.
    pub code: String,
    pub blame: Blame,
    /// What happened, in one sentence without a full stop.
    pub what: String,
    /// Where: file and line, command, phase or address. Empty only when nothing is known.
    pub r#where: String,
    /// Why it happened, as far as the evidence says; never a guess.
    pub why: String,
    /// What to do, most promising first.
    pub hints: Vec<String>,
}

impl Diagnosis {
    pub fn new(code: &str, blame: Blame, what: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            blame,
            what: what.into(),
            r#where: String::new(),
            why: String::new(),
            hints: Vec::new(),
        }
    }

    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.r#where = place.into();
        self
    }

    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}
