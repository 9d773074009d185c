//! Sizes and durations as people write them: `512MB`, `30s`; a bare number is bytes or milliseconds.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a text is not a size or a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: write it like {example}")]
pub struct QuantityError {
    text: String,
    kind: &'static str,
    example: &'static str,
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "u64")]
pub struct ByteSize(pub u64);

/// A duration in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "u64")]
pub struct DurationMs(pub u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

/// Units are binary: a container's `MB` has always meant 2^20 bytes.
const SIZE_UNITS: [(&str, u64); 11] = [
    ("KIB", 1 << 10),
    ("MIB", 1 << 20),
    ("GIB", 1 << 30),
    ("TIB", 1 << 40),
    ("KB", 1 << 10),
    ("MB", 1 << 20),
    ("GB", 1 << 30),
    ("TB", 1 << 40),
    ("K", 1 << 10),
    ("M", 1 << 20),
    ("G", 1 << 30),
];

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

impl ByteSize {
    pub const fn mebibytes(count: u64) -> Self {
        Self(count << 20)
    }

    /// Reads `512MB`, `2GiB`, `1048576`.
    ///
    /// # Errors
    /// When the text is not a number with one of the known units, or does not fit 64 bits.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let upper = text.trim().to_ascii_uppercase();
        let (number, factor) = split_unit(&upper, &SIZE_UNITS).unwrap_or((upper.trim_end_matches('B'), 1));
        scaled(number, factor).map(Self).ok_or_else(|| QuantityError {
            text: text.to_owned(),
            kind: "size",
            example: "`512MB` or `2GB`",
        })
    }
}

impl DurationMs {
    pub const fn seconds(count: u64) -> Self {
        Self(count * 1000)
    }

    pub const fn as_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }

    /// Reads `250ms`, `30s`, `5m`, `1h`, `1500`.
    ///
    /// # Errors
    /// When the text is not a number with one of the known units, or does not fit 64 bits.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let lower = text.trim().to_ascii_lowercase();
        let (number, factor) = split_unit(&lower, &DURATION_UNITS).unwrap_or((&lower, 1));
        scaled(number, factor).map(Self).ok_or_else(|| QuantityError {
            text: text.to_owned(),
            kind: "duration",
            example: "`250ms`, `30s` or `5m`",
        })
    }
}

fn split_unit<'t>(text: &'t str, units: &[(&str, u64)]) -> Option<(&'t str, u64)> {
    units.iter().find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number.trim_end(), *factor)))
}

fn scaled(number: &str, factor: u64) -> Option<u64> {
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let fraction = number.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0)?;
    let product = fraction * factor as f64;
    (product < 2f64.powi(53)).then_some(product as u64)
}

macro_rules! conversions {
    ($name:ident) => {
        impl TryFrom<NumberOrText> for $name {
            type Error = QuantityError;
            fn try_from(value: NumberOrText) -> Result<Self, QuantityError> {
                match value {
                    NumberOrText::Number(number) => Ok(Self(number)),
                    NumberOrText::Text(text) => Self::parse(&text),
                }
            }
        }
        impl From<$name> for u64 {
            fn from(value: $name) -> u64 {
                value.0
            }
        }
        impl std::str::FromStr for $name {
            type Err = QuantityError;
            fn from_str(text: &str) -> Result<Self, QuantityError> {
                Self::parse(text)
            }
        }
    };
}

conversions!(ByteSize);
conversions!(DurationMs);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1 << 30 && n % (1 << 30) == 0 => write!(f, "{} GB", n >> 30),
            n if n >= 1 << 20 => write!(f, "{} MB", n >> 20),
            n if n >= 1 << 10 => write!(f, "{} KB", n >> 10),
            n => write!(f, "{n} bytes"),
        }
    }
}

impl fmt::Display for DurationMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 60_000 && n % 60_000 == 0 => write!(f, "{} m", n / 60_000),
            n if n >= 1000 && n % 1000 == 0 => write!(f, "{} s", n / 1000),
            n => write!(f, "{n} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("512MB", 512 << 20), ("1GiB", 1 << 30), ("1.5g", 3 << 29), ("10", 10), ("10 kb", 10 << 10), ("7B", 7)]
        {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MB", "-1MB", "1PB", "NaN", "99999999999999999999", "99999999TB"] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations() {
        for (text, ms) in
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000), ("0.5s", 500), ("42", 42)]
        {
            assert_eq!(DurationMs::parse(text), Ok(DurationMs(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "1 day", "inf"] {
            assert!(DurationMs::parse(text).is_err(), "{text}");
        }
    }
}
