//! The last lines of a program, readable: without colours, and without what says nothing.

/// Lines of output that a diagnosis quotes.
const QUOTED_LINES_MAX: usize = 8;
/// Longest quoted line, in characters.
const QUOTED_CHARACTERS_MAX: usize = 300;

/// A rule looks at this much of a line: longer ones are minified code or data. In characters.
const LINE_CHARACTERS_MAX: usize = 4096;

/// Beginnings of lines that never say why something failed.
const NOISE: [&str; 30] = [
    "$ ",
    "npm error A complete log of this run",
    "npm ERR! A complete log of this run",
    "npm error For a full report see",
    "npm error   ",
    "npm error code ",
    "npm error errno ",
    "npm error path ",
    "npm error command failed",
    "npm error command sh -c ",
    "npm warn ",
    "npm notice",
    "gyp info ",
    "gyp ERR! node",
    "gyp ERR! $npm",
    "gyp ERR! cwd",
    "gyp ERR! System",
    "gyp ERR! not ok",
    "gyp ERR! stack at",
    "(Use `node --trace",
    "Progress: resolved",
    "at ignore-listed frames",
    "at <unknown>",
    "at async Promise.all",
    "Node.js v",
    "throw err",
    "node:internal/",
    "> Build error occurred",
    "requireStack: [",
    "info Visit https",
];

/// Parts of a stack's line that is not of the source.
const FOREIGN_FRAMES: [&str; 7] =
    ["node:", "/node_modules/", ".pnp.cjs", "<anonymous>", "/opt/slipway/", "process.processTicks", "/site-packages/"];

/// Directories of build output whose places mean nothing to who wrote the source.
const OUTPUT_DIRECTORIES: [&str; 4] = [".next/", ".nuxt/", ".output/", ".svelte-kit/"];

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

    /// The first line that has one of the texts.
    pub(super) fn find(&self, texts: &[&str]) -> Option<&str> {
        self.lines().find(|line| texts.iter().any(|text| line.contains(text)))
    }

    /// The last line that has one of the texts, when no other error of a program was printed after it.
    pub(super) fn last_word(&self, is_it: impl Fn(&str) -> bool) -> Option<&str> {
        let at = self.lines.iter().rposition(|line| is_it(line))?;
        let later = self.lines[at + 1..].iter().any(|line| is_thrown(line.trim()));
        (!later).then(|| self.lines[at].as_str())
    }

    /// The last line that begins with `text`.
    pub(super) fn last_word_of(&self, text: &str) -> Option<&str> {
        self.lines().rev().map(str::trim).find(|line| line.starts_with(text))
    }

    /// What stands before `text` in the first line that has it.
    pub(super) fn before(&self, text: &str) -> Option<&str> {
        self.lines().find_map(|line| line.split_once(text)).map(|(before, _)| before.trim())
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

    /// The error that a program died of: `TypeError: x is not a function`.
    pub(super) fn thrown(&self) -> Option<&str> {
        self.lines().map(str::trim).find(|line| is_thrown(line))
    }

    /// The place in the source that a program died at: the one that Node.js prints first, else the first line of a
    /// stack that lies in the source, else the last one of Python's.
    pub(super) fn crash_place(&self) -> Option<String> {
        let own = |place: &str| {
            let place = relative(place);
            let foreign = FOREIGN_FRAMES.iter().any(|part| place.contains(part)) || place.starts_with("node_modules/");
            let is_output = OUTPUT_DIRECTORIES.iter().any(|directory| place.contains(directory));
            (is_place(place) && place.contains(':') && !place.starts_with('/') && !foreign && !is_output)
                .then(|| place.to_owned())
        };
        let printed =
            || self.lines().filter(|line| !line.starts_with(' ')).find_map(|line| printed_place(line).and_then(own));
        let frame = || self.lines().find_map(|line| frame_place(line).and_then(own));
        let python = || self.lines().rev().find_map(|line| own(&python_place(line)?));
        printed().or_else(frame).or_else(python)
    }
}

/// `TypeError: x`, `Error [ERR_X]: y` or `django.db.utils.OperationalError: z`, not a sentence that begins with `Error`.
fn is_thrown(line: &str) -> bool {
    let line = line.trim_start_matches("[cause]: ").trim_start_matches("Uncaught ");
    let name = line.split(':').next().unwrap_or_default().split(" [").next().unwrap_or_default();
    let is_error = name.ends_with("Error") || name.ends_with("Exception") || name.ends_with("ImproperlyConfigured");
    is_error
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && line.len() > name.len()
}

/// `/app/start.js:2`, which Node.js prints above the line of source.
fn printed_place(line: &str) -> Option<&str> {
    let line = line.trim_start_matches("file://");
    line.starts_with("/app/").then_some(line)
}

/// `at f (/app/x.js:2:3)`, `at file:///app/x.js:2:38`, `at <unknown> (app/page.tsx:2:47)`.
fn frame_place(line: &str) -> Option<&str> {
    let line = line.trim().strip_prefix("at ")?.trim_end_matches(['{', ' ']);
    let place = line.rsplit_once('(').map_or(line, |(_, place)| place.trim_end_matches(')'));
    Some(place.trim_start_matches("async ").trim_start_matches("file://")).filter(|place| !place.contains("://"))
}

/// `File "/app/main.py", line 3, in <module>` as `/app/main.py:3`.
fn python_place(line: &str) -> Option<String> {
    let rest = line.trim().strip_prefix("File \"")?;
    let (path, rest) = rest.split_once("\", line ")?;
    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("{path}:{number}"))
}

/// A file, or a file with line and column.
pub(super) fn is_place(text: &str) -> bool {
    let path = text.split(':').next().unwrap_or_default();
    !text.contains(' ') && path.rsplit('/').next().is_some_and(|name| name.contains('.')) && path.len() > 2
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
    let is_foreign_frame = line.starts_with("at ") && FOREIGN_FRAMES.iter().any(|part| line.contains(part));
    let is_warning = line.contains("DeprecationWarning: ");
    let is_bare = is_foreign_frame
        || is_warning
        || line.is_empty()
        || matches!(line, "npm error" | "npm ERR!" | "}" | "{" | "^" | "...");
    !is_bare && !NOISE.iter().any(|noise| line.starts_with(noise)) && line.chars().any(char::is_alphanumeric)
}

/// Without terminal escapes (CSI and OSC) and other control characters.
fn without_escapes(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line.chars().take(LINE_CHARACTERS_MAX);
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
