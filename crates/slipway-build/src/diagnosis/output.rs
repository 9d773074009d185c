//! The last lines of a program, readable: without colours, and without what says nothing.

/// Lines of output that a diagnosis quotes.
const QUOTED_LINES_MAX: usize = 8;
/// Longest quoted line, in characters.
const QUOTED_CHARACTERS_MAX: usize = 300;

/// Beginnings of lines that never say why something failed.
const NOISE: [&str; 17] = [
    "$ ",
    "npm error A complete log of this run",
    "npm ERR! A complete log of this run",
    "npm error For a full report see",
    "npm warn Unknown user config",
    "npm notice",
    "at node:internal",
    "at ignore-listed frames",
    "at <unknown>",
    "at Module.",
    "at Function.executeUserEntryPoint",
    "at async",
    "at process.processTicksAndRejections",
    "Node.js v",
    "throw err",
    "node:internal/",
    "> Build error occurred",
];

#[derive(Debug)]
pub(super) struct Output {
    lines: Vec<String>,
}

impl Output {
    pub(super) fn new(tail: &[String]) -> Self {
        Self { lines: tail.iter().map(|line| without_escapes(line)).collect() }
    }

    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// Trimmed lines with their successor.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.windows(2).map(|pair| (pair[0].trim(), pair[1].trim()))
    }

    pub(super) fn contains(&self, text: &str) -> bool {
        self.lines().any(|line| line.contains(text))
    }

    /// What follows `text` in the first line that has it.
    pub(super) fn after(&self, text: &str) -> Option<&str> {
        self.lines().find_map(|line| line.split_once(text)).map(|(_, rest)| rest.trim())
    }

    /// The last lines that say something, oldest first.
    pub(super) fn last_lines(&self) -> Vec<String> {
        let mut last: Vec<String> = self
            .lines()
            .rev()
            .filter(|line| says_something(line))
            .take(QUOTED_LINES_MAX)
            .map(|line| line.trim_end().chars().take(QUOTED_CHARACTERS_MAX).collect())
            .collect();
        last.reverse();
        last
    }

    /// The error that a JavaScript program died of: `TypeError: x is not a function`.
    pub(super) fn thrown(&self) -> Option<&str> {
        self.lines().map(str::trim).find(|line| {
            // `TypeError: x` or `Error [ERR_X]: y`, not a sentence that begins with `Error`.
            let name = line.split(':').next().unwrap_or_default().split(" [").next().unwrap_or_default();
            let is_error = name.ends_with("Error") || name.ends_with("Exception");
            is_error && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && line.len() > name.len()
        })
    }
}

/// The value in the first pair of quotes of `text`.
pub(super) fn first_quoted(text: &str) -> Option<&str> {
    let at = text.find(['\'', '"', '`'])?;
    let quote = text[at..].chars().next()?;
    text[at + 1..].split(quote).next().filter(|value| !value.is_empty())
}

/// `path` as its owner knows it: relative to the source.
pub(super) fn relative(path: &str) -> &str {
    path.trim_start_matches("/app/").trim_start_matches("./")
}

fn says_something(line: &str) -> bool {
    let line = line.trim();
    let is_bare = line.is_empty() || matches!(line, "npm error" | "npm ERR!" | "}" | "{" | "^" | "...");
    !is_bare && !NOISE.iter().any(|noise| line.starts_with(noise)) && line.chars().any(char::is_alphanumeric)
}

/// Without terminal escapes (CSI and OSC) and other control characters.
fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => match rest.next() {
                Some('[') => while rest.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
                Some(']') => while rest.next().is_some_and(|c| !matches!(c, '\u{7}' | '\u{1b}' | '\\')) {},
                _ => {}
            },
            '\t' => plain.push(' '),
            c if c.is_control() => {}
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_go_and_words_stay() {
        for (line, plain) in [
            ("\u{1b}[96mapp/page.tsx\u{1b}[0m:\u{1b}[93m1\u{1b}[0m", "app/page.tsx:1"),
            ("\u{1b}]8;;http://x\u{7}link\u{1b}]8;;\u{7}", "link"),
            ("a\tb\r", "a b"),
            ("\u{1b}[", ""),
        ] {
            assert_eq!(without_escapes(line), plain);
        }
    }

    #[test]
    fn the_last_lines_say_something() {
        let tail = ["one", "", "npm error", "    at node:internal/x:1", "TypeError: two", "Node.js v22.1.0"];
        let output = Output::new(&tail.map(str::to_owned));
        assert_eq!(output.last_lines(), ["one", "TypeError: two"]);
        assert_eq!(output.thrown(), Some("TypeError: two"));
        assert_eq!(first_quoted("module './x' and 'y'"), Some("./x"));
    }
}
