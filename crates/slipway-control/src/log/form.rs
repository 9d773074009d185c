//! The ways in which programs write a value: as it is, escaped in JSON, a URL, HTML, a shell or a program's literal, in
//! Base64 and hexadecimal. A secret is one in each of them.

use base64::Engine;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{GeneralPurpose, general_purpose};
use std::collections::BTreeSet;
use std::fmt::Write;

/// A shorter value would blank ordinary words.
pub(crate) const VALUE_CHARS_MIN: usize = 4;
/// A shorter piece of Base64 or hexadecimal is in many a digest by chance; four bytes give six digits of Base64.
const ENCODED_CHARS_MIN: usize = 6;
/// Longer values are certificates and the like, which are printed line by line if at all.
const ENCODED_BYTES_MAX: usize = 4 * 1024;
/// A shorter password in a URL is a word that stands elsewhere too.
const PASSWORD_CHARS_MIN: usize = 6;
/// Columns at which `base64` and PEM begin a new line.
const BASE64_COLUMNS: [usize; 2] = [76, 64];

/// A value as it is, and line by line: logs are read so.
pub(crate) fn plain(value: &str) -> BTreeSet<String> {
    let texts = std::iter::once(value).chain(value.lines()).map(str::trim);
    texts.filter(|text| text.chars().count() >= VALUE_CHARS_MIN).map(str::to_owned).collect()
}

/// All other forms of a value.
pub(crate) fn derived(value: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    plain(value).iter().for_each(|text| add_escaped(text, &mut forms));
    if value.len() <= ENCODED_BYTES_MAX && value.trim().chars().count() >= VALUE_CHARS_MIN {
        add_encoded(value, &mut forms);
        add_encoded(value.trim(), &mut forms);
    }
    for password in value.lines().filter_map(password) {
        for text in [password, &percent_decoded(password)] {
            forms.insert(text.to_owned());
            add_escaped(text, &mut forms);
            add_encoded(text, &mut forms);
        }
    }
    forms.retain(|form| form.chars().count() >= VALUE_CHARS_MIN);
    forms
}

fn add_escaped(text: &str, forms: &mut BTreeSet<String>) {
    if text.len() > ENCODED_BYTES_MAX {
        return;
    }
    let json = json(text, false);
    forms.extend([self::json(&json, false), json, self::json(text, true)]);
    forms.extend([literal(text), text.replace('\'', r"'\''"), html(text, "&#39;"), html(text, "&#x27;")]);
    for kept in ["-_.~", "-_.~/", "-_.!~*'()", "-_.*", "-_.!~*'();,/?:@&=+$#"] {
        let upper = percent(text, kept);
        forms.extend([lower_percent(&upper), upper.replace("%20", "+"), upper]);
    }
}

fn add_encoded(value: &str, forms: &mut BTreeSet<String>) {
    let bytes = value.as_bytes();
    for alphabet in [&STANDARD, &URL_SAFE] {
        // What stands before the value (`user:`) shifts it by none, one or two bytes; what comes behind changes the last digit.
        let inner = (0..3).filter_map(|shift| fragment(bytes, shift, alphabet));
        forms.extend(inner.filter(|text| text.len() >= ENCODED_CHARS_MIN));
    }
    let whole = general_purpose::STANDARD.encode(bytes);
    for columns in BASE64_COLUMNS.into_iter().filter(|columns| whole.len() > *columns) {
        let lines = whole.as_bytes().chunks(columns).map(|line| String::from_utf8_lossy(line).into_owned());
        forms.extend(lines.filter(|line| line.len() >= ENCODED_CHARS_MIN));
    }
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let unpadded =
        [general_purpose::STANDARD_NO_PAD, general_purpose::URL_SAFE_NO_PAD].map(|engine| engine.encode(bytes));
    let whole = [hex.to_uppercase(), hex].into_iter().chain(unpadded);
    forms.extend(whole.filter(|text| text.len() >= ENCODED_CHARS_MIN));
}

/// The digits that the value alone decides, when `shift` bytes are before it.
fn fragment(bytes: &[u8], shift: usize, alphabet: &Alphabet) -> Option<String> {
    let engine = GeneralPurpose::new(alphabet, general_purpose::NO_PAD);
    let shifted = [&[0; 2][..shift], bytes].concat();
    let text = engine.encode(&shifted);
    // A digit is six bits.
    text.get((shift * 8).div_ceil(6)..shifted.len() * 8 / 6).map(str::to_owned)
}

/// Without the quotes around. `ascii`: everything else as `\uXXXX`, as Python writes it.
fn json(text: &str, ascii: bool) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    let inner = &quoted[1..quoted.len() - 1];
    if !ascii {
        return inner.to_owned();
    }
    let mut escaped = String::new();
    for character in inner.chars() {
        if character.is_ascii() {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// As in a single-quoted string of JavaScript or Python.
fn literal(text: &str) -> String {
    text.replace('\\', r"\\").replace('\'', r"\'").replace('\n', r"\n").replace('\r', r"\r")
}

fn html(text: &str, apostrophe: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', apostrophe)
}

/// All but letters, digits and `kept`.
fn percent(text: &str, kept: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || kept.contains(character) {
            escaped.push(character);
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// `%2F` as `%2f`; letters that are no digits of an escape stay.
fn lower_percent(text: &str) -> String {
    let mut digits = 0;
    text.chars()
        .map(|character| {
            let escape = digits > 0;
            digits = if character == '%' { 2 } else { usize::saturating_sub(digits, 1) };
            if escape { character.to_ascii_lowercase() } else { character }
        })
        .collect()
}

/// The password of a URL, unless its text stands in the rest of the URL too: it would blank the name of a host or user.
fn password(value: &str) -> Option<&str> {
    let (_, rest) = value.trim().split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let (user, password) = authority.rsplit_once('@')?.0.split_once(':')?;
    let behind = rest.get(user.len() + 1 + password.len()..)?;
    let usual = password.chars().count() < PASSWORD_CHARS_MIN || user.contains(password) || behind.contains(password);
    (!usual).then_some(password)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escape = behind.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `text` holds a form of the value.
    fn found(value: &str, text: &str) -> bool {
        plain(value).union(&derived(value)).any(|form| text.contains(form.as_str()))
    }

    #[test]
    fn a_value_is_found_however_it_is_written() {
        let value = "s3cr&t \"qu'ote\"/ü\\end";
        for text in [
            value.to_owned(),
            serde_json::json!({ "a": value }).to_string(),
            serde_json::json!(serde_json::json!({ "a": value }).to_string()).to_string(),
            r#""s3cr&t \"qu'ote\"/\u00fc\\end""#.to_owned(),
            r#"'s3cr&t "qu\'ote"/ü\\end'"#.to_owned(),
            r#"'s3cr&t "qu'\''ote"/ü\end'"#.to_owned(),
            "s3cr&amp;t &quot;qu&#39;ote&quot;/ü\\end".to_owned(),
            "s3cr%26t%20%22qu%27ote%22%2F%C3%BC%5Cend".to_owned(),
            "s3cr%26t%20%22qu'ote%22%2F%C3%BC%5Cend".to_owned(),
            "s3cr%26t+%22qu%27ote%22%2F%C3%BC%5Cend".to_owned(),
            "s3cr%26t%20%22qu%27ote%22%2f%c3%bc%5cend".to_owned(),
            "733363722674202271".to_owned() + "75276f7465222fc3bc5c656e64",
        ] {
            assert!(found(value, &text), "{text}");
        }
    }

    #[test]
    fn base64_is_found_at_every_offset_and_line_length() {
        let value = "swordfish?>?>swordfish";
        for before in ["", "u", "us", "user:", "user:x"] {
            for behind in ["", "\n", "@host"] {
                let text = format!("{before}{value}{behind}");
                assert!(found(value, &general_purpose::STANDARD.encode(&text)), "{text}");
                assert!(found(value, &general_purpose::URL_SAFE_NO_PAD.encode(&text)), "{text}");
            }
        }
        let long = "0123456789abcdef".repeat(8);
        let text = general_purpose::STANDARD.encode(&long);
        for columns in BASE64_COLUMNS {
            for line in text.as_bytes().chunks(columns) {
                assert!(found(&long, std::str::from_utf8(line).unwrap()));
            }
        }
    }

    #[test]
    fn lines_and_passwords_count_and_words_do_not() {
        let key = "-----BEGIN-----\nMIIabc\r\n}\n-----END-----\n";
        assert!(found(key, "MIIabc") && found(key, r"-----BEGIN-----\nMIIabc\r\n}\n-----END-----"));
        assert!(!plain(key).contains("}") && !derived(key).contains("}"));
        let url = "postgres://app:h%40nter2x@db/app";
        assert!(found(url, "password is h@nter2x") && found(url, "h%40nter2x"));
        assert!(!found("postgres://postgres:postgres@db/postgres", "postgres"));
        assert!(plain("abc").is_empty() && derived("abc").is_empty());
        let large = "x".repeat(ENCODED_BYTES_MAX + 1);
        assert_eq!((plain(&large).len(), derived(&large).len()), (1, 0), "a large value is looked for as it is");
    }
}
