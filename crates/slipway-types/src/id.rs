//! Ids of things that Slipway makes. Opaque lower-case text, safe in a host name, a path and a URL.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Length in bytes that no id exceeds; with it an id always fits in one DNS label (63).
pub const ID_BYTES_MAX: usize = 40;

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind} id: expected 1 to {ID_BYTES_MAX} characters of a-z, 0-9 and `-`")]
pub struct IdError {
    kind: &'static str,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Takes `text` as an id.
            ///
            /// # Errors
            /// When it is empty, longer than [`ID_BYTES_MAX`] or has a character outside `a-z0-9-`.
            pub fn parse(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                if is_id(&text) { Ok(Self(text)) } else { Err(IdError { kind: $kind, text }) }
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

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

id!(/** One service of one environment. */ ServiceId, "service");
id!(/** One attempt to make a release live; also the first label of its immutable host name. */ DeploymentId, "deployment");
id!(/** One attempt to turn source and plan into an image. */ BuildId, "build");
id!(/** One immutable image with its configuration. */ ReleaseId, "release");
id!(/** One running copy of a release. */ ReplicaId, "replica");
id!(/** One life of a replica's sandbox, from its boot to its end. */ RunId, "run");
id!(/** One uploaded directory, by the digest of its archive. */ UploadId, "upload");

impl RunId {
    /// Bytes of a digest that make an id: two runs of one service never meet.
    pub const DIGEST_BYTES: usize = 5;

    pub fn of_digest(digest: [u8; Self::DIGEST_BYTES]) -> Self {
        Self(digest.map(|byte| format!("{byte:02x}")).concat())
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_BYTES_MAX
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_safe_label() {
        for good in ["dpl-k3x9", "a", "0", &"a".repeat(ID_BYTES_MAX)] {
            assert!(DeploymentId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a.b", "a/b", "..", "a b", &"a".repeat(ID_BYTES_MAX + 1)] {
            assert!(DeploymentId::parse(bad).is_err(), "{bad}");
        }
    }
}
