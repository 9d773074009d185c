//! Secret values never reach a log, an event or a diagnosis: whatever is stored or streamed passes here first, and a value
//! is recognised in every form that [`super::form`] knows, in one pass over the text.

use super::form::{derived, plain};
use aho_corasick::{AhoCorasick, AhoCorasickKind};
use slipway_types::host::{Evidence, LOG_LINE_BYTES_MAX};
use slipway_types::{Diagnosis, Secret};
use std::borrow::Cow;
use std::ops::Range;

/// What stands for a secret.
const MASK: &str = "***";
/// Values known at once, in bytes: twice what the variables of a service may have. Beyond it the ones that were not used
/// for the longest time are forgotten; they are of revisions that no longer run.
const VALUES_BYTES_MAX: usize = 1 << 20;
/// Derived forms looked for at once, in bytes, which is room for a hundred tokens; the newest values first. The finder takes
/// some 15 times as much memory.
const DERIVED_BYTES_MAX: usize = 1 << 20;
/// The end of a line that was cut may be the beginning of a secret, from this many bytes on.
const BEGINNING_BYTES_MIN: usize = 4;
/// The host cuts at a character's boundary; the longest character has four bytes.
const CUT_BYTES: usize = LOG_LINE_BYTES_MAX - 3;

/// The secret values of one service.
#[derive(Clone, Default)]
pub(crate) struct Masker {
    /// As they were given; the newest last.
    values: Vec<String>,
    /// All forms of all values.
    forms: Vec<String>,
    finder: Option<AhoCorasick>,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Masker({} values)", self.values.len())
    }
}

/// Knows no secret.
pub(crate) static NO_SECRETS: Masker = Masker { values: Vec::new(), forms: Vec::new(), finder: None };

impl Masker {
    pub(crate) fn add<'s>(&mut self, secrets: impl IntoIterator<Item = &'s Secret>) {
        let mut changed = false;
        for value in secrets.into_iter().map(Secret::expose) {
            match self.values.iter().position(|known| known == value) {
                Some(at) => self.values[at..].rotate_left(1),
                None => {
                    changed = true;
                    self.values.push(value.to_owned());
                }
            }
        }
        if !changed {
            return;
        }
        let mut bytes: usize = self.values.iter().map(String::len).sum();
        while bytes > VALUES_BYTES_MAX {
            bytes -= self.values.remove(0).len();
        }
        self.forms = self.values.iter().flat_map(|value| plain(value)).collect();
        self.add_derived();
        self.forms.sort();
        self.forms.dedup();
        // The default would be a table of every byte for every state. It fails only beyond 2^31 patterns or bytes.
        let mut builder = AhoCorasick::builder();
        let built = builder.kind(Some(AhoCorasickKind::ContiguousNFA)).build(&self.forms);
        self.finder = built.ok().filter(|_| !self.forms.is_empty());
    }

    fn add_derived(&mut self) {
        let mut bytes = 0;
        for value in self.values.iter().rev() {
            let forms = derived(value);
            bytes += forms.iter().map(String::len).sum::<usize>();
            if bytes > DERIVED_BYTES_MAX {
                return;
            }
            self.forms.extend(forms);
        }
    }

    pub(crate) fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(finder) = &self.finder else { return Cow::Borrowed(text) };
        let mut found: Vec<Range<usize>> = finder.find_overlapping_iter(text).map(|found| found.range()).collect();
        found.extend(self.cut_off(text));
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
        let (mut masked, mut at) = (String::with_capacity(text.len()), 0);
        for range in found {
            if range.start >= at {
                masked.push_str(&text[at..range.start]);
                masked.push_str(MASK);
            }
            at = at.max(range.end);
        }
        masked.push_str(&text[at..]);
        Cow::Owned(masked)
    }

    /// The beginning of a secret at the end of a line that the host has cut.
    fn cut_off(&self, text: &str) -> Option<Range<usize>> {
        if text.len() < CUT_BYTES {
            return None;
        }
        let longest = |form: &String| {
            let ends = (BEGINNING_BYTES_MIN..form.len()).rev().filter(|end| form.is_char_boundary(*end));
            ends.map(|end| &form[..end]).find(|beginning| text.ends_with(beginning)).map(str::len)
        };
        let bytes = self.forms.iter().filter_map(longest).max()?;
        Some(text.len() - bytes..text.len())
    }

    pub(crate) fn mask_text(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.mask(text) {
            *text = masked;
        }
    }

    pub(crate) fn mask_diagnosis(&self, diagnosis: &mut Diagnosis) {
        for text in [&mut diagnosis.what, &mut diagnosis.r#where, &mut diagnosis.why] {
            self.mask_text(text);
        }
        for hint in &mut diagnosis.hints {
            self.mask_text(hint);
        }
    }

    /// A diagnosis quotes evidence, so evidence is masked before one is made of it.
    pub(crate) fn mask_evidence(&self, evidence: &mut Evidence) {
        for line in &mut evidence.tail {
            self.mask_text(line);
        }
        if let Some(command) = &mut evidence.command {
            self.mask_text(command);
        }
        if let Some(error) = &mut evidence.host_error {
            self.mask_text(&mut error.message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(values: &[&str]) -> Masker {
        let mut masker = Masker::default();
        let secrets: Vec<_> = values.iter().map(|value| Secret::new(*value)).collect();
        masker.add(&secrets);
        masker
    }

    #[test]
    fn values_are_masked_wherever_they_stand() {
        let masker = masker(&["hunter2", "hunter2-long", "abc", "-----BEGIN-----\nMIIabc\r\n-----END-----\n"]);
        for (line, masked) in [
            ("connect postgres://app:hunter2@db", "connect postgres://app:***@db"),
            ("hunter2-long hunter2", "*** ***"),
            ("hunter2hunter2", "******"),
            ("abc is too short", "abc is too short"),
            ("key: MIIabc", "key: ***"),
            ("Authorization: Basic YXBwOmh1bnRlcjI=", "Authorization: Basic YXBwOm***I="),
            ("nothing", "nothing"),
        ] {
            assert_eq!(masker.mask(line), masked);
        }
    }

    #[test]
    fn secrets_that_overlap_are_masked_whole() {
        assert_eq!(masker(&["hunter2xyz", "2xyz-other"]).mask("a hunter2xyz-other b"), "a *** b");
    }

    #[test]
    fn the_beginning_of_a_secret_at_the_cut_of_a_line_is_masked() {
        let masker = masker(&["hunter2-and-more"]);
        let cut = |line: &str| format!("{}{line}", "x".repeat(LOG_LINE_BYTES_MAX - line.len()));
        assert!(masker.mask(&cut("hunter2-an")).ends_with("x***"));
        assert!(masker.mask(&cut("hun")).ends_with("xhun"), "too little to be told from a word");
        assert_eq!(masker.mask("hunter2-an"), "hunter2-an", "a line that is whole holds no part");
    }

    #[test]
    fn a_value_that_comes_again_is_kept_and_the_oldest_goes_first() {
        let (mut masker, large) = (masker(&["first-value", "second-value"]), "x".repeat(VALUES_BYTES_MAX - 20));
        masker.add(&[Secret::new("first-value"), Secret::new(large)]);
        assert_eq!((masker.mask("first-value"), masker.mask("second-value")), ("***".into(), "second-value".into()));
    }

    #[test]
    fn many_secrets_cost_one_pass() {
        let values: Vec<String> =
            (0..500).map(|number| format!("secret value /{number}/ {}", "y".repeat(900))).collect();
        let masker = masker(&values.iter().map(String::as_str).collect::<Vec<_>>());
        let line = "an ordinary line of an app that says something ".repeat(300);
        let took = || {
            let begun = std::time::Instant::now();
            assert_eq!(masker.mask(&line), line);
            begun.elapsed()
        };
        // The best of some: another test on the same machine is not its slowness.
        let fastest = (0..5).map(|_| took()).min().unwrap();
        // One look for each of some ten thousand forms would take seconds without optimisation.
        assert!(fastest < std::time::Duration::from_millis(200), "{fastest:?}");
    }

    #[test]
    fn evidence_and_diagnosis_are_masked_whole() {
        let masker = masker(&["hunter2"]);
        let mut evidence =
            Evidence { tail: vec!["a hunter2".into()], command: Some("x hunter2".into()), ..Default::default() };
        masker.mask_evidence(&mut evidence);
        assert!(!format!("{evidence:?}").contains("hunter2"));
        let mut diagnosis =
            Diagnosis::new("x", slipway_types::Blame::User, "hunter2").at("hunter2").because("hunter2").hint("hunter2");
        masker.mask_diagnosis(&mut diagnosis);
        assert!(!format!("{diagnosis:?}").contains("hunter2"));
    }
}
