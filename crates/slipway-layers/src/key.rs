//! Keys: what makes two layers the same layer.

use crate::error::LayerError;
use slipway_types::{LayerKind, LayerRef};

/// Longest key; file name = kind + key + suffix, below the 255 bytes of a file name.
pub(crate) const KEY_CHARS_MAX: usize = 128;
/// Hex characters of a computed key: 128 bits, no accidental collision.
const KEY_HEX_CHARS: usize = 32;

/// Hashes labelled parts. Labels and lengths are hashed too, so that no two lists of parts look alike.
#[derive(Debug, Clone)]
pub struct LayerKey(blake3::Hasher);

impl LayerKey {
    /// `format` names what the parts are and their version, such as `dependencies 1`.
    pub fn new(format: &str) -> Self {
        Self(blake3::Hasher::new()).part("format", format)
    }

    #[must_use]
    pub fn part(mut self, label: &str, value: impl AsRef<[u8]>) -> Self {
        for bytes in [label.as_bytes(), value.as_ref()] {
            self.0.update(&(bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        }
        self
    }

    /// The key: 32 lower-case hex characters.
    pub fn finish(&self) -> String {
        let mut hex = self.0.finalize().to_hex().to_string();
        hex.truncate(KEY_HEX_CHARS);
        hex
    }

    pub fn layer(&self, kind: LayerKind) -> LayerRef {
        LayerRef::new(kind, self.finish())
    }
}

/// Whether a key may be part of a file name.
pub fn is_valid_key(key: &str) -> bool {
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    !key.is_empty() && key.len() <= KEY_CHARS_MAX && !key.starts_with(['.', '-']) && key.chars().all(valid)
}

pub(crate) fn check_key(layer: &LayerRef) -> Result<(), LayerError> {
    match is_valid_key(&layer.key) {
        true => Ok(()),
        false => Err(LayerError::InvalidKey { key: layer.key.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_parts_make_equal_keys_and_others_do_not() {
        let key = |parts: &[(&str, &str)]| {
            parts.iter().fold(LayerKey::new("test 1"), |key, (label, value)| key.part(label, value)).finish()
        };
        let one = key(&[("lockfile", "abc"), ("node", "22")]);
        assert_eq!(one, key(&[("lockfile", "abc"), ("node", "22")]));
        assert_eq!(one.len(), 32);
        assert!(is_valid_key(&one));
        for other in [
            key(&[("lockfile", "abc"), ("node", "23")]),
            key(&[("lockfile", "abcnode"), ("", "22")]),
            key(&[("node", "22"), ("lockfile", "abc")]),
            key(&[("lockfile", "abc")]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn keys_that_are_no_file_names_are_refused() {
        for good in ["a", "node-22.1.0", "0123abc"] {
            assert!(is_valid_key(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "-flag", "../x", "a/b", "A", "a b", "a\0", "ä", &"x".repeat(129)] {
            assert!(!is_valid_key(bad), "{bad}");
        }
    }
}
