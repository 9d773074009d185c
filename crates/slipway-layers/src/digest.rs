//! Digest of a layer.

use serde::{Deserialize, Serialize};
use std::fmt;

/// 32 bytes; as text 64 lower-case hex characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LayerDigest([u8; 32]);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: expected 64 characters of 0-9 and a-f")]
pub struct DigestError {
    text: String,
}

impl LayerDigest {
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        match blake3::Hash::from_hex(text) {
            Ok(hash) if text.len() == 64 => Ok(Self(*hash.as_bytes())),
            _ => Err(DigestError { text: text.chars().take(80).collect() }),
        }
    }
}

impl fmt::Display for LayerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from(self.0).to_hex())
    }
}

impl TryFrom<String> for LayerDigest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        Self::parse(&text)
    }
}

impl From<LayerDigest> for String {
    fn from(digest: LayerDigest) -> String {
        digest.to_string()
    }
}
