//! Programs that say that an environment variable is missing.

use super::case::Case;
use super::entry::{MISSING_DATABASE_URL, MISSING_VARIABLE};
use super::output::first_quoted;
use slipway_types::Diagnosis;

/// Words that make a sentence about a variable one about its absence.
const ABSENT: [&str; 9] = [
    "missing",
    "not set",
    "not found",
    "not defined",
    "is required",
    "undefined",
    "must be set",
    "not provided",
    "must be provided",
];

/// Shortest name that is taken for one of a variable; shorter ones are words in capitals.
const NAME_CHARACTERS_MIN: usize = 3;

/// Lines below a headline such as `Missing environment variables:` that may name one.
const LISTED_LINES_MAX: usize = 12;

/// Only a line that speaks of an environment variable, of its absence, and names it; or a list below such a line.
pub(super) fn missing(case: &Case<'_>) -> Option<Diagnosis> {
    let (line, name) = said(case).or_else(|| schema(case)).or_else(|| listed(case)).or_else(|| python(case))?;
    let build = case.build_flag();
    let entry = if name == "DATABASE_URL" { MISSING_DATABASE_URL } else { MISSING_VARIABLE };
    let what = match name.as_str() {
        "DATABASE_URL" => "the address of the database is missing: `DATABASE_URL` is not set".to_owned(),
        name => format!("the environment variable `{name}` is missing"),
    };
    let diagnosis = entry.diagnosis(what).at(case.place()).because(line);
    Some(
        match name.as_str() {
            "DATABASE_URL" => diagnosis.hint(format!(
                "set it: `slipway env set{build} --secret DATABASE_URL=postgres://USER:PASSWORD@HOST:5432/NAME`"
            )),
            name => diagnosis.hint(format!("set it: `slipway env set{build} {name}=…`, as a secret if it is one")),
        }
        .hint("variables of a file such as `.env` that git ignores are not sent"),
    )
}

fn said(case: &Case<'_>) -> Option<(String, String)> {
    let line = case.output.last_word(|line| name_in(line).is_some())?;
    Some((line.trim().to_owned(), name_in(line)?.to_owned()))
}

fn name_in(line: &str) -> Option<&str> {
    let lower = line.to_lowercase();
    let about = ["environment variable", "env variable", "env var"].iter().any(|words| lower.contains(words));
    // A line of source code that is quoted above a stack is no statement.
    let is_code = line.contains("process.env") || line.contains("throw new") || line.contains("os.environ");
    if is_code || !ABSENT.iter().any(|word| lower.contains(word)) {
        return None;
    }
    if about {
        return line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).find(|word| is_name(word));
    }
    thrown_name(line)
}

/// `Error: DATABASE_URL is not set`, `Error: Missing STRIPE_KEY`: the error is about a name with an underscore.
fn thrown_name(line: &str) -> Option<&str> {
    let (error, message) = line.trim().split_once(": ")?;
    if !error.ends_with("Error") || !error.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let absent = [
        "is not set",
        "is missing",
        "is required",
        "is not defined",
        "must be set",
        "is undefined",
        "must be provided",
    ];
    let mut words =
        message.split_whitespace().map(|word| word.trim_matches(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
    let first = words.next()?;
    let name = if matches!(first.to_lowercase().as_str(), "missing" | "required") { words.next()? } else { first };
    let states = first != name || absent.iter().any(|text| message.contains(text));
    (states && name.contains('_') && is_name(name)).then_some(name)
}

/// In capitals, as variables are written.
fn is_name(word: &str) -> bool {
    word.len() >= NAME_CHARACTERS_MIN
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && (word.contains('_') || word.len() > NAME_CHARACTERS_MIN)
}

/// Zod's own error about `process.env`: `"path": [`, `"STRIPE_KEY"`, or in one line `path: [ 'STRIPE_KEY' ]`.
fn schema(case: &Case<'_>) -> Option<(String, String)> {
    case.output.find(&["ZodError", "nvalid environment variables"])?;
    let in_one = || case.output.lines().find_map(|line| first_quoted(line.split_once("path: [")?.1));
    let below =
        || case.output.pairs().find(|(line, _)| *line == "\"path\": [").and_then(|(_, name)| first_quoted(name));
    let name = in_one().or_else(below).filter(|name| is_name(name) && name.contains('_'))?;
    let message =
        case.output.after("\"message\": ").or_else(|| case.output.after("message: ")).unwrap_or("it is invalid");
    let absent = message.contains("undefined") || message.contains("Required") || message.contains("required");
    absent.then(|| (format!("{name}: {}", message.trim_matches(['"', '\'', ','])), name.to_owned()))
}

/// `Missing environment variables:`, and below it `STRIPE_KEY: undefined`.
fn listed(case: &Case<'_>) -> Option<(String, String)> {
    let lines: Vec<&str> = case.output.lines().collect();
    let head = lines.iter().rposition(|line| {
        let lower = line.to_lowercase();
        let about = lower.contains("environment variables") || lower.contains("env vars");
        about && (lower.contains("missing") || lower.contains("invalid")) && lower.trim_end().ends_with([':', '{', '['])
    })?;
    let (name, line) = lines[head + 1..].iter().take(LISTED_LINES_MAX).find_map(|line| {
        let name = line.trim().split([':', ' ', ',']).next()?.trim_matches(['"', '\'', '-', '*']);
        let absent = ["undefined", "equired", "missing"].iter().any(|word| line.contains(word)) || line.trim() == name;
        (is_name(name) && absent).then_some((name, line))
    })?;
    Some((format!("{} {}", lines[head].trim(), line.trim()), name.to_owned()))
}

/// `KeyError: 'SECRET'` below a line that reads `os.environ`.
fn python(case: &Case<'_>) -> Option<(String, String)> {
    let line = case.output.last_word_of("KeyError: ")?;
    let name = first_quoted(line).filter(|name| is_name(name))?;
    case.output.find(&["os.environ", "environ["])?;
    Some((line.trim().to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::name_in;

    #[test]
    fn only_a_statement_about_a_missing_variable_counts() {
        for (line, name) in [
            ("Error: Missing environment variable: DATABASE_URL", Some("DATABASE_URL")),
            ("error: Environment variable not found: DATABASE_URL.", Some("DATABASE_URL")),
            ("Error: STRIPE_KEY environment variable is not set", Some("STRIPE_KEY")),
            ("Error: env var SECRET is required", Some("SECRET")),
            ("Error: DATABASE_URL is not set", Some("DATABASE_URL")),
            ("Error: Missing STRIPE_KEY", Some("STRIPE_KEY")),
            ("Error: `API_URL` must be provided", Some("API_URL")),
            ("loaded environment variable DATABASE_URL", None),
            ("Error: missing environment variable", None),
            ("if(!process.env.X_Y) throw new Error(\"missing environment variable X_Y\")", None),
            ("DATABASE_URL is missing", None),
            ("ReferenceError: GLOBAL is not defined", None),
            ("Error: PLEASE try again, the file is missing", None),
            ("Error: the file MIT_LICENSE is missing", None),
            ("Error: ENOENT: no such file, the path is missing", None),
        ] {
            assert_eq!(name_in(line), name, "{line}");
        }
    }
}
