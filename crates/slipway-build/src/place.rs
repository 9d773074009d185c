//! Line and column of a place in a text, as editors count them.

/// 1-based line and column (in characters) of the byte at `offset`.
pub(crate) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// Longest part of a line that a diagnosis quotes, in characters.
const QUOTE_CHARACTERS_MAX: usize = 120;

/// The 1-based `line` of `text`, trimmed and cut to what fits in a sentence.
pub(crate) fn quoted_line(text: &str, line: usize) -> String {
    text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim().chars().take(QUOTE_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_one_based() {
        let text = "a = 1\nü = x\n";
        for (offset, place) in [(0, (1, 1)), (5, (1, 6)), (6, (2, 1)), (8, (2, 2)), (7, (2, 1)), (999, (3, 1))] {
            assert_eq!(line_and_column(text, offset), place, "{offset}");
        }
        assert_eq!(quoted_line(text, 2), "ü = x");
    }
}
