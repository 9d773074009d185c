//! Programs that say that an environment variable is missing.

use super::case::Case;
use super::entry::MISSING_VARIABLE;
use slipway_types::Diagnosis;

/// Words that make a sentence about a variable one about its absence.
const ABSENT: [&str; 8] =
    ["missing", "not set", "not found", "not defined", "is required", "undefined", "must be set", "not provided"];

/// Shortest name that is taken for one of a variable; shorter ones are words in capitals.
const NAME_CHARACTERS_MIN: usize = 3;

/// Only a line that speaks of an environment variable, of its absence, and names it.
pub(super) fn missing(case: &Case<'_>) -> Option<Diagnosis> {
    let (line, name) = case.output.lines().rev().find_map(|line| Some((line, name_in(line)?)))?;
    let build_hint = if case.is_running() { "" } else { " --build" };
    Some(
        MISSING_VARIABLE
            .diagnosis(format!("the environment variable `{name}` is missing"))
            .at(case.place())
            .because(line.trim().to_owned())
            .hint(format!("set it: `slipway env set{build_hint} {name}=…`, as a secret if it is one"))
            .hint("variables of a file such as `.env` that git ignores are not sent"),
    )
}

fn name_in(line: &str) -> Option<&str> {
    let lower = line.to_lowercase();
    let about = lower.contains("environment variable") || lower.contains("env variable") || lower.contains("env var");
    // A line of source code that is quoted above a stack is no statement.
    let is_code = line.contains("process.env") || line.contains("throw new");
    if !about || is_code || !ABSENT.iter().any(|word| lower.contains(word)) {
        return None;
    }
    line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).find(|word| {
        word.len() >= NAME_CHARACTERS_MIN
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            && (word.contains('_') || word.len() > NAME_CHARACTERS_MIN)
    })
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
            ("loaded environment variable DATABASE_URL", None),
            ("Error: missing environment variable", None),
            ("if(!process.env.X_Y) throw new Error(\"missing environment variable X_Y\")", None),
            ("DATABASE_URL is missing", None),
        ] {
            assert_eq!(name_in(line), name, "{line}");
        }
    }
}
