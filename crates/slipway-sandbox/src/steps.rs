//! Where the time of a boot went, in microseconds: the supervisor's steps, with the shim's in between.

use std::time::Instant;

pub(crate) struct Steps {
    last: Instant,
    pub(crate) taken: Vec<(String, u64)>,
}

impl Steps {
    pub(crate) fn begin() -> Self {
        Self { last: Instant::now(), taken: Vec::new() }
    }

    pub(crate) fn done(&mut self, name: &str) {
        self.within(name, Vec::new());
    }

    /// A step of which another process told the parts; what is left of it goes by its own name.
    pub(crate) fn within(&mut self, name: &str, parts: Vec<(String, u64)>) {
        let now = Instant::now();
        let whole = u64::try_from((now - self.last).as_micros()).unwrap_or(u64::MAX);
        let told = parts.iter().map(|(_, micros)| *micros).fold(0, u64::saturating_add);
        self.taken.push((name.to_owned(), whole.saturating_sub(told)));
        self.taken.extend(parts);
        self.last = now;
    }
}
