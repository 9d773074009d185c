//! What happened in a world, in order. Two runs of one seed have the same trace.

use std::hash::{DefaultHasher, Hasher};

#[derive(Debug, Default)]
pub(super) struct Trace {
    digest: DefaultHasher,
    /// Kept only where somebody is to read them.
    lines: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn kept(kept: bool) -> Self {
        Self { lines: kept.then(Vec::new), ..Self::default() }
    }

    pub(super) fn say(&mut self, at_ms: i64, line: &str) {
        self.digest.write_i64(at_ms);
        self.digest.write(line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>8}.{:03} {line}", at_ms / 1000, at_ms % 1000));
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest.finish()
    }

    pub(super) fn text(&self) -> String {
        self.lines.as_ref().map(|lines| lines.join("\n")).unwrap_or_default()
    }
}
