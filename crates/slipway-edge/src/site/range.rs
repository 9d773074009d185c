//! Byte ranges (RFC 9110 §14) and entity tags in conditions (§13).

use http::HeaderValue;

/// What a `Range` field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// No range, one that is not understood, or several: all of the file is a right answer.
    Whole,
    /// First byte and number of bytes.
    Part {
        start: u64,
        length: u64,
    },
    Unsatisfiable,
}

/// Reads a `Range` field for a file of `bytes`.
pub(crate) fn asked(field: Option<&HeaderValue>, bytes: u64) -> Asked {
    let specification = field
        .and_then(|field| field.to_str().ok())
        .and_then(|text| text.split_once('='))
        .filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes"))
        .and_then(|(_, range)| range.trim().split_once('-'));
    let Some((first, last)) = specification else { return Asked::Whole };
    match (number(first), number(last)) {
        (Some(Some(start)), Some(end)) if end.is_none_or(|end| start <= end) => {
            let end = end.unwrap_or(u64::MAX).min(bytes.saturating_sub(1));
            if start >= bytes { Asked::Unsatisfiable } else { Asked::Part { start, length: end - start + 1 } }
        }
        (Some(None), Some(Some(length))) if length == 0 || bytes == 0 => Asked::Unsatisfiable,
        (Some(None), Some(Some(length))) => {
            let length = length.min(bytes);
            Asked::Part { start: bytes - length, length }
        }
        _ => Asked::Whole,
    }
}

/// Some(None) is an empty text, None one that is no number.
#[expect(clippy::option_option, reason = "an end that is left out is not one that is wrong")]
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Too large for the type is larger than any file.
    Some(Some(text.parse().unwrap_or(u64::MAX)))
}

/// Whether `If-None-Match` names the tag, or any. The comparison is the weak one, as the field wants.
pub(crate) fn names<'a>(mut fields: impl Iterator<Item = &'a HeaderValue>, tag: &HeaderValue) -> bool {
    fields.any(|field| {
        field
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .any(|part| part == b"*" || part.strip_prefix(b"W/").unwrap_or(part) == tag.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        let part = |start, length| Asked::Part { start, length };
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 4)),
            ("bytes=5-", part(5, 5)),
            ("bytes=5-99", part(5, 5)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-99", part(0, 10)),
            ("BYTES = 1-2", part(1, 2)),
            ("bytes=0-99999999999999999999999", part(0, 10)),
            ("bytes=10-", Asked::Unsatisfiable),
            ("bytes=99999999999999999999999-", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=5-2", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=+1-2", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("bytes", Asked::Whole),
        ] {
            assert_eq!(asked(Some(&HeaderValue::from_static(range)), 10), expected, "{range}");
        }
        assert_eq!(asked(None, 10), Asked::Whole);
        assert_eq!(asked(Some(&HeaderValue::from_static("bytes=0-")), 0), Asked::Unsatisfiable);
        assert_eq!(asked(Some(&HeaderValue::from_static("bytes=-1")), 0), Asked::Unsatisfiable);
    }

    #[test]
    fn tags_are_compared_weakly() {
        let tag = HeaderValue::from_static("\"ab-br\"");
        for (field, expected) in [
            ("\"ab-br\"", true),
            ("W/\"ab-br\"", true),
            ("\"x\", \"ab-br\"", true),
            ("*", true),
            ("\"ab\"", false),
            ("ab-br", false),
        ] {
            assert_eq!(names([&HeaderValue::from_static(field)].into_iter(), &tag), expected, "{field}");
        }
    }
}
