//! Names that people choose. Each is one part of a host name, so each is a DNS label.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Two names and a `-` must fit in one DNS label of 63 bytes (RFC 1035, section 2.3.4).
pub const NAME_BYTES_MAX: usize = 30;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a {kind} name: a name becomes part of a host name, so it has 1 to {NAME_BYTES_MAX} characters of a-z, 0-9 and `-`, starts with a letter and does not end with `-`"
)]
pub struct NameError {
    kind: &'static str,
    text: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes `text` as a name, as it is.
            ///
            /// # Errors
            /// When it is not a DNS label of at most [`NAME_BYTES_MAX`] characters that starts with a letter.
            pub fn parse(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                if is_name(&text) { Ok(Self(text)) } else { Err(NameError { kind: $kind, text: shortened(&text) }) }
            }

            /// Makes the nearest name out of free text, such as the name of a directory.
            /// None when nothing usable is left.
            pub fn from_free_text(text: &str) -> Option<Self> {
                Self::parse(nearest_label(text)).ok()
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name!(/** A project: what belongs together. */ ProjectName, "project");
name!(/** A service of a project: one thing that runs. */ ServiceName, "service");

fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn nearest_label(text: &str) -> String {
    let mut label = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        let usable = c.is_ascii_lowercase() || (c.is_ascii_digit() && !label.is_empty());
        if usable {
            label.push(c);
        } else if !label.is_empty() && !label.ends_with('-') {
            label.push('-');
        }
    }
    label.truncate(NAME_BYTES_MAX);
    label.trim_end_matches('-').to_owned()
}

/// A refused name is echoed in a message: never more of it than a line can show.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_labels() {
        for good in ["web", "my-shop2", "a", &"a".repeat(NAME_BYTES_MAX)] {
            assert!(ServiceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "2a", "-a", "a-", "A", "a_b", "a.b", "../a", "a b", "ü", &"a".repeat(NAME_BYTES_MAX + 1)] {
            assert!(ServiceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn free_text_becomes_the_nearest_name() {
        for (text, name) in [("My Shop!", "my-shop"), ("nextjs", "nextjs"), ("2024_site", "site"), ("a..b__c", "a-b-c")]
        {
            assert_eq!(ProjectName::from_free_text(text).unwrap().as_str(), name);
        }
        assert!(ProjectName::from_free_text("123").is_none());
    }
}
