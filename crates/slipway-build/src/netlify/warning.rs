//! What is said about a rule that is not as its owner thinks. A bad rule never keeps the good ones from being used.

use super::text::quoted;
use std::fmt;

/// One line or entry, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleWarning {
    pub place: RulePlace,
    /// The beginning of what is written there.
    pub text: String,
    pub why: String,
    /// The rule is not used; else it is, without what the warning speaks of.
    pub left_out: bool,
}

/// Where a rule is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RulePlace {
    /// 1-based line of `_redirects` or `_headers`.
    Line { file: &'static str, line: usize },
    /// 1-based entry of `redirects` or `headers` in `netlify.toml`.
    Entry { list: &'static str, number: usize },
}

impl RulePlace {
    /// The rule is not used.
    pub(super) fn left_out(&self, text: &str, why: impl Into<String>) -> RuleWarning {
        RuleWarning { place: self.clone(), text: quoted(text), why: why.into(), left_out: true }
    }

    /// The rule is used, but.
    pub(super) fn but(&self, text: &str, why: impl Into<String>) -> RuleWarning {
        RuleWarning { place: self.clone(), text: quoted(text), why: why.into(), left_out: false }
    }
}

impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RulePlace::Line { file, line } => write!(f, "line {line} of `{file}`"),
            RulePlace::Entry { list, number } => write!(f, "entry {number} of `[[{list}]]` in `netlify.toml`"),
        }
    }
}

impl fmt::Display for RuleWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fate = if self.left_out { " is left out" } else { "" };
        write!(f, "{}{fate}: {}", self.place, self.why)?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ", in `{}`", self.text) }
    }
}
