//! Percent-encoding (RFC 3986 §2.1), in both directions.

use std::borrow::Cow;
use std::fmt::Write;

/// None: an escape is cut short or is not hexadecimal, or what it says is not UTF-8.
pub(crate) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (hex(bytes.next()?)?, hex(bytes.next()?)?);
            out.push(high << 4 | low);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// For matching: what is no valid encoding stands for itself.
pub(crate) fn decode_or_keep(text: &str) -> Cow<'_, str> {
    decode(text).unwrap_or(Cow::Borrowed(text))
}

/// Appends `text`, with the bytes that are not `kept` as escapes.
pub(crate) fn encode_into(out: &mut String, text: &str, kept: fn(u8) -> bool) {
    for byte in text.bytes() {
        if byte.is_ascii() && kept(byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// What may stand in a URL as it is, escapes and delimiters included.
pub(crate) fn in_url(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte)
}

/// What may stand in a name or value without a meaning of its own.
pub(crate) fn unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_once() {
        for (encoded, expected) in [
            ("a", Some("a")),
            ("a%20b", Some("a b")),
            ("%C3%A9%2f", Some("é/")),
            ("%2520", Some("%20")),
            ("%", None),
            ("%2", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decode(encoded).as_deref(), expected, "{encoded}");
        }
    }

    #[test]
    fn what_is_not_kept_is_escaped() {
        let mut out = String::new();
        encode_into(&mut out, "a b/é\r\n", in_url);
        encode_into(&mut out, "&=/", unreserved);
        assert_eq!(out, "a%20b/%C3%A9%0D%0A%26%3D%2F");
    }
}
