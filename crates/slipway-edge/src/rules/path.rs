//! A request's path, cut into segments that are compared decoded and put into targets as they came.

use crate::percent;
use std::borrow::Cow;

/// One part between two slashes.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) raw: &'a str,
    pub(super) text: Cow<'a, str>,
    /// Where it begins and ends in the path.
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug)]
pub(super) struct AskedPath<'a> {
    pub(super) raw: &'a str,
    /// Without the empty one after a last slash; none for the root.
    pub(super) segments: Vec<Segment<'a>>,
}

impl<'a> AskedPath<'a> {
    /// None: not a path from the root (`*`), or one with `.` or `..`, which could leave what a rule was written for.
    pub(super) fn of(raw: &'a str) -> Option<Self> {
        let rest = raw.strip_prefix('/')?;
        if rest.is_empty() {
            return Some(Self { raw, segments: Vec::new() });
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut start = 1;
        let mut segments = Vec::new();
        for raw in rest.split('/') {
            let text = percent::decode_or_keep(raw);
            if matches!(&*text, "." | "..") {
                return None;
            }
            segments.push(Segment { raw, text, start, end: start + raw.len() });
            start += raw.len() + 1;
        }
        Some(Self { raw, segments })
    }

    /// Decoded, without the last slash.
    pub(super) fn joined(&self) -> String {
        let mut path = String::with_capacity(self.raw.len());
        for segment in &self.segments {
            path.push('/');
            path.push_str(&segment.text);
        }
        if path.is_empty() { "/".to_owned() } else { path }
    }
}
