//! The two streams: data on standard output, everything else on standard error. Colour only on a terminal, and
//! never where `NO_COLOR` is set or `TERM` is `dumb`.

use crate::failure::{Exit, Failure};
use std::io::{self, IsTerminal, Write};

/// Writes a line of data to standard output.
///
/// # Errors
/// When nobody reads it any more, silently, as the convention of pipes is; else with the reason.
pub(crate) fn data(line: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::silent(Exit::OutputClosed)),
        Err(error) => Err(Failure::server("cannot write to standard output").caused_by(&error)),
    }
}

/// Writes a value as one JSON document.
///
/// # Errors
/// As [`data`].
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::server("cannot show the answer as JSON").caused_by(&error))?;
    data(&text)
}

/// Writes a line for people to standard error. There is nobody left to tell when that fails.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether standard error is a terminal on which a line may be drawn over.
pub(crate) fn is_live() -> bool {
    io::stderr().is_terminal() && !terminal_is_dumb()
}

fn terminal_is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Palette {
    enabled: bool,
}

impl Palette {
    pub(crate) fn of_stderr() -> Self {
        Self::when(io::stderr().is_terminal())
    }

    pub(crate) fn of_stdout() -> Self {
        Self::when(io::stdout().is_terminal())
    }

    /// No colours.
    #[cfg(test)]
    pub(crate) fn of_nothing() -> Self {
        Self { enabled: false }
    }

    fn when(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { enabled: terminal && !refused && !terminal_is_dumb() }
    }

    pub(crate) fn is_enabled(self) -> bool {
        self.enabled
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// One of a few colours that are easily told apart.
    pub(crate) fn of_kind(self, kind: usize, text: &str) -> String {
        const CODES: [&str; 5] = ["36", "33", "35", "34", "32"];
        self.paint(CODES[kind % CODES.len()], text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.enabled && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Text from elsewhere, made safe for a terminal: escape sequences and other control characters removed, tabs kept.
/// What an app logs is untrusted; it must not move the cursor or rename the window.
pub(crate) fn printable(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => skip_escape(&mut characters),
            '\t' => plain.push('\t'),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

/// Skips what follows an escape character: `[` up to its final letter, `]` up to BEL or ESC, or one character.
fn skip_escape(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match characters.next() {
        Some('[') => while characters.next().is_some_and(|c| !('\x40'..='\x7e').contains(&c)) {},
        Some(']') => while characters.next_if(|c| *c != '\x07' && *c != '\x1b').is_some() {},
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        for (text, plain) in [
            ("\x1b[32m✓\x1b[0m done", "✓ done"),
            ("a\tb\r", "a\tb"),
            ("\x1b]0;title\x07x", "x"),
            ("\x1b]0;title\x1b\\x", "x"),
            ("\x1b[", ""),
            ("plain ü", "plain ü"),
        ] {
            assert_eq!(printable(text), plain, "{text:?}");
        }
    }

    #[test]
    fn no_colour_without_a_terminal() {
        assert_eq!(Palette::when(false).red("x"), "x");
    }
}
