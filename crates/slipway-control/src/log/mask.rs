//! Secret values never reach a log, an event or a diagnosis: whatever is stored or streamed passes here first.

use slipway_types::host::Evidence;
use slipway_types::{Diagnosis, Secret};
use std::borrow::Cow;

/// What stands for a secret.
const MASK: &str = "***";
/// A shorter value would blank ordinary words; it is no secret worth the name.
pub(crate) const VALUE_CHARS_MIN: usize = 4;

/// The secret values of one service.
#[derive(Clone, Default)]
pub(crate) struct Masker {
    /// Longest first, so that a value that contains another is masked whole.
    values: Vec<String>,
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Masker({} values)", self.values.len())
    }
}

/// Knows no secret.
pub(crate) static NO_SECRETS: Masker = Masker { values: Vec::new() };

impl Masker {
    /// Adds values. Logs are read line by line, so each line of a value of several counts too.
    pub(crate) fn add<'s>(&mut self, secrets: impl IntoIterator<Item = &'s Secret>) {
        for secret in secrets {
            let value = secret.expose();
            for part in std::iter::once(value).chain(value.lines()).map(str::trim) {
                if part.chars().count() >= VALUE_CHARS_MIN && !self.values.iter().any(|known| known == part) {
                    self.values.push(part.to_owned());
                }
            }
        }
        self.values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    }

    pub(crate) fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked = Cow::Borrowed(text);
        for value in &self.values {
            if masked.contains(value.as_str()) {
                masked = Cow::Owned(masked.replace(value.as_str(), MASK));
            }
        }
        masked
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
            ("abc is too short", "abc is too short"),
            ("key: MIIabc", "key: ***"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(masker.mask(line), masked);
        }
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
