//! Texts as JavaScript reads them: Netlify's parsers are written in it, and a file that works there must read the same
//! here, with a byte order mark at its start or a no-break space between two words.

/// `\s` of a regular expression, and what `trim` removes.
pub(super) fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Whether there is something in it.
pub(super) fn is_blank(text: &str) -> bool {
    trim(text).is_empty()
}

/// The parts between runs of white space.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// The parts between commas, without the white space around the commas. An empty text is one empty part.
pub(super) fn comma_list(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split(',').collect();
    let last = parts.len() - 1;
    for (index, part) in parts.iter_mut().enumerate() {
        if index > 0 {
            *part = part.trim_start_matches(is_space);
        }
        if index < last {
            *part = part.trim_end_matches(is_space);
        }
    }
    parts
}

/// `Number.parseInt`: a sign, `0x` or digits at the start; what follows is of no interest. None is `NaN`.
pub(super) fn parse_int(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(is_space);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(rest) => (16, rest),
        None => (10, digits),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    // Too many digits are no status: the largest number stands for them.
    let number = i64::from_str_radix(&digits[..end], radix).unwrap_or(i64::MAX);
    Some(if negative { -number } else { number })
}

/// Longest part of a line that a warning quotes, in characters.
const QUOTE_CHARACTERS_MAX: usize = 120;

/// What of a text stands in a warning.
pub(super) fn quoted(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(QUOTE_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_far_as_they_go() {
        for (text, number) in [
            ("200!", Some(200)),
            (" 301x", Some(301)),
            ("0x1F", Some(31)),
            ("-5", Some(-5)),
            ("+7", Some(7)),
            ("x", None),
            ("", None),
            ("0x", None),
            ("99999999999999999999", Some(i64::MAX)),
        ] {
            assert_eq!(parse_int(text), number, "{text:?}");
        }
    }

    #[test]
    fn lists_lose_the_space_around_commas() {
        assert_eq!(comma_list(" a , b,c "), [" a", "b", "c "]);
        assert_eq!(comma_list(""), [""]);
        assert_eq!(trim("\u{feff}\u{a0}a\u{85}"), "a\u{85}");
        assert_eq!(words("a\u{a0} b").collect::<Vec<_>>(), ["a", "b"]);
    }
}
