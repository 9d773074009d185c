//! Source files that no tool can parse.

use super::case::Case;
use super::entry::SYNTAX_ERROR;
use super::module::{esbuild_error, webpack_place};
use super::output::{is_place, relative};
use slipway_types::Diagnosis;

pub(super) fn syntax_error(case: &Case<'_>) -> Option<Diagnosis> {
    let found = turbopack(case).or_else(|| esbuild(case)).or_else(|| rollup(case)).or_else(|| webpack(case));
    let (place, message) = found.or_else(|| python(case)).or_else(|| node(case))?;
    Some(
        SYNTAX_ERROR
            .diagnosis(format!("`{place}` can't be parsed"))
            .at(place)
            .because(message)
            .hint("correct the file at that place; the log of the phase shows the lines around it"),
    )
}

fn turbopack(case: &Case<'_>) -> Option<(String, String)> {
    if !case.output.contains("Parsing ") || !case.output.contains("source code failed") {
        return None;
    }
    let (place, message) = case.output.pairs().find(|(place, line)| line.starts_with("Error: ") && is_place(place))?;
    Some((relative(place).to_owned(), message.trim_start_matches("Error: ").to_owned()))
}

fn esbuild(case: &Case<'_>) -> Option<(String, String)> {
    let starts = ["Expected ", "Unexpected ", "Unterminated ", "Syntax error"];
    let (message, place) =
        esbuild_error(&case.output, |message| starts.iter().any(|start| message.starts_with(start)))?;
    Some((place, message))
}

/// `[vite:build-html] main.js (1:6): Unexpected token`, `src/a.js (1:6): Expected ';'` and, of Rolldown, `[PARSE_ERROR]`.
fn rollup(case: &Case<'_>) -> Option<(String, String)> {
    case.output.find(&["error during build", "[PARSE_ERROR]", "RollupError", "Parse failure"])?;
    case.output.lines().find_map(|line| {
        let (before, message) = line.split_once("): ")?;
        let (path, at) = before.rsplit_once(" (")?;
        let path = path.rsplit(' ').next()?;
        let starts = ["Expected", "Unexpected", "Unterminated", "Parse failure", "Invalid"];
        let is_syntax = starts.iter().any(|start| message.starts_with(start));
        (is_syntax && is_place(path)).then(|| (format!("{}:{at}", relative(path)), message.to_owned()))
    })
}

/// `ERROR in ./main.js 1:6`, and below it `Module parse failed: Unexpected token (1:6)`.
fn webpack(case: &Case<'_>) -> Option<(String, String)> {
    let (place, message) = case.output.pairs().find(|(_, line)| line.starts_with("Module parse failed: "))?;
    let place = webpack_place(place).unwrap_or_else(|| place.to_owned());
    is_place(&place)
        .then(|| (relative(&place).to_owned(), message.trim_start_matches("Module parse failed: ").to_owned()))
}

/// `/app/x.js:1`, the line, a caret, then `SyntaxError: …`; not the text of an answer that is no JSON.
fn node(case: &Case<'_>) -> Option<(String, String)> {
    if case.output.contains("at JSON.parse") {
        return None;
    }
    let message = case.output.lines().map(str::trim).find(|line| line.starts_with("SyntaxError: "))?;
    let place = case.output.crash_place()?;
    (!message.contains("JSON")).then(|| (place, message.to_owned()))
}

/// `File "/app/main.py", line 3`, the line, a caret, then `SyntaxError: invalid syntax`.
fn python(case: &Case<'_>) -> Option<(String, String)> {
    let starts = ["SyntaxError: ", "IndentationError: ", "TabError: "];
    let message = case.output.lines().map(str::trim).find(|line| starts.iter().any(|start| line.starts_with(start)))?;
    case.output.find(&["  File \""])?;
    Some((case.output.crash_place()?, message.to_owned()))
}
