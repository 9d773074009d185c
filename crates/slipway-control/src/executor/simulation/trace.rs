//! What happened in a world, in order. Two runs of one seed have the same trace.

use std::hash::{DefaultHasher, Hasher};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Keep {
    #[default]
    Nothing,
    Lines,
    /// They are printed at once, among what the server itself logs.
    Printed,
}

#[derive(Debug, Default)]
pub(super) struct Trace {
    digest: DefaultHasher,
    keep: Keep,
    lines: Vec<String>,
}

impl Trace {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, ..Self::default() }
    }

    pub(super) fn say(&mut self, at_ms: i64, line: &str) {
        self.digest.write_i64(at_ms);
        self.digest.write(line.as_bytes());
        let whole = || format!("{:>8}.{:03} {line}", at_ms / 1000, at_ms % 1000);
        match self.keep {
            Keep::Nothing => {}
            Keep::Lines => self.lines.push(whole()),
            Keep::Printed => println!("{}", whole()),
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub(super) fn text(&self) -> String {
        self.lines.join("\n")
    }
}
