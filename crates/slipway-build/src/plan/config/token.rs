//! The words of a JavaScript or TypeScript text, as far as literal values need them: comments are left out, strings,
//! templates and regular expressions are each one token, whatever stands in them.

/// One word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// Identifier, keyword or number.
    Word(&'t str),
    /// A string without escapes.
    Text(&'t str),
    /// A string with escapes, a template with holes, a regular expression.
    Computed,
    /// Punctuation.
    Mark(char),
}

/// Configuration files are a few kilobytes; what is behind this many words is not read.
const TOKENS_MAX: usize = 100_000;

/// Splits a text. Never fails: what is no valid program gives words that mean nothing.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if tokens.len() == TOKENS_MAX {
            break;
        }
        let length = match first {
            c if c.is_whitespace() => c.len_utf8(),
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' | '\'' => quoted(rest, first, &mut tokens),
            '`' => template(rest, &mut tokens),
            '/' if starts_expression(tokens.last()) => {
                tokens.push(Token::Computed);
                regular_expression(rest)
            }
            c if is_word(c) => {
                // A number keeps its point, a name does not: `a.b` is three words.
                let is_in = |next: char| is_word(next) || (next == '.' && c.is_ascii_digit());
                let end = rest.find(|next: char| !is_in(next)).unwrap_or(rest.len());
                tokens.push(Token::Word(&rest[..end]));
                end
            }
            c => {
                tokens.push(Token::Mark(c));
                c.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

/// A string up to its closing quote or the line's end. Returns its length.
fn quoted<'t>(text: &'t str, quote: char, tokens: &mut Vec<Token<'t>>) -> usize {
    let mut escaped = false;
    let mut has_escapes = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => (escaped, has_escapes) = (true, true),
            '\n' => {
                tokens.push(Token::Computed);
                return at;
            }
            c if c == quote => {
                tokens.push(if has_escapes { Token::Computed } else { Token::Text(&text[1..at]) });
                return at + 1;
            }
            _ => {}
        }
    }
    tokens.push(Token::Computed);
    text.len()
}

/// A template up to its closing backtick; holes may hold templates. Returns its length.
fn template<'t>(text: &'t str, tokens: &mut Vec<Token<'t>>) -> usize {
    // Whether each open level is the hole of a template (`true`) or a template's text (`false`).
    let mut levels = vec![false];
    let (mut escaped, mut plain) = (false, true);
    let mut before = ' ';
    for (at, c) in text.char_indices().skip(1) {
        match (c, levels.last()) {
            _ if escaped => escaped = false,
            ('\\', _) => (escaped, plain) = (true, false),
            ('{', Some(false)) if before == '$' => {
                plain = false;
                levels.push(true);
            }
            ('{', Some(true)) => levels.push(true),
            ('}', Some(true)) => {
                levels.pop();
            }
            ('`', Some(true)) => levels.push(false),
            ('`', _) => {
                levels.pop();
                if levels.is_empty() {
                    tokens.push(if plain { Token::Text(&text[1..at]) } else { Token::Computed });
                    return at + 1;
                }
            }
            _ => {}
        }
        before = c;
    }
    tokens.push(Token::Computed);
    text.len()
}

/// Whether a slash after this word begins a regular expression and is no division.
fn starts_expression(before: Option<&Token<'_>>) -> bool {
    match before {
        None => true,
        Some(Token::Mark(mark)) => !matches!(mark, ')' | ']' | '}'),
        Some(Token::Word(word)) => *word == "return",
        Some(Token::Text(_) | Token::Computed) => false,
    }
}

/// Length of a regular expression without its flags; of one character when the line has no end of it.
fn regular_expression(text: &str) -> usize {
    let (mut escaped, mut in_class) = (false, false);
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => break,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' => in_class = true,
            ']' => in_class = false,
            '/' if !in_class => return at + 1,
            _ => {}
        }
    }
    1
}
