//! What the TypeScript compiler says.

use super::case::Case;
use super::entry::{TSCONFIG_MISSING, TYPESCRIPT_ERROR};
use super::module;
use super::output::{first_quoted, is_place, relative};
use slipway_types::Diagnosis;

/// `tsc` plain and pretty, and `next build` old and new.
pub(super) fn typescript_error(case: &Case<'_>) -> Option<Diagnosis> {
    let mut errors = case.output.lines().filter_map(tsc_error);
    let (place, message) = match errors.next() {
        Some(error) => error,
        None => next_type_error(case)?,
    };
    if let Some(diagnosis) = case_only(case, &place, &message) {
        return Some(diagnosis);
    }
    let more = errors.count();
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    Some(
        TYPESCRIPT_ERROR
            .diagnosis(format!("TypeScript found an error in `{place}`"))
            .at(place)
            .because(format!("{message}{more}"))
            .hint("`npx tsc --noEmit` shows the same where you develop"),
    )
}

/// `TS2307: Cannot find module './Header' or its corresponding type declarations.`
fn case_only(case: &Case<'_>, place: &str, message: &str) -> Option<Diagnosis> {
    let rest = message.split_once("Cannot find module ")?.1;
    module::case_only(case, place, first_quoted(rest)?)
}

/// `app/page.tsx(1,7): error TS2322: …`, `app/page.tsx:1:7 - error TS2322: …`, and of Angular `X [ERROR] TS2322: …`.
fn tsc_error(line: &str) -> Option<(String, String)> {
    let (place, code_and_message) = line.split_once(": error TS").or_else(|| line.split_once(" - error TS"))?;
    let place = place.trim().replace(['(', ','], ":").replace(')', "");
    is_place(&place).then(|| (relative(&place).to_owned(), format!("TS{}", code_and_message.trim())))
}

/// `./app/page.tsx:5:9`, then `Type error: …`.
fn next_type_error(case: &Case<'_>) -> Option<(String, String)> {
    let (place, message) =
        case.output.pairs().find(|(place, line)| line.starts_with("Type error:") && is_place(place))?;
    Some((relative(place).to_owned(), message.trim_start_matches("Type error:").trim().to_owned()))
}

/// A configuration that is named or extended and is not there.
pub(super) fn tsconfig_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "error TS5083: Cannot read file ",
        "error TS5058: The specified path does not exist",
        "error TS5057: Cannot find a tsconfig.json file",
        "failed to resolve \"extends\":",
    ];
    let of_package = |line: &&str| line.contains("error TS6053: File '") && line.contains("tsconfig");
    let line = case.output.find(&said).or_else(|| case.output.lines().find(of_package))?;
    let place = line.split_once(": error TS").map(|(place, _)| place.trim().replace(['(', ','], ":").replace(')', ""));
    let message = line.split_once("error TS").map_or(line, |(_, message)| message);
    let wanted = first_quoted(message.split_once(": ").map_or(message, |(_, text)| text)).unwrap_or("tsconfig.json");
    let wanted = relative(wanted).to_owned();
    // `../x` of a source that lies in `/app`.
    let outside = wanted.starts_with('/');
    let name = wanted.trim_start_matches('/');
    let diagnosis = TSCONFIG_MISSING
        .diagnosis(format!("the TypeScript configuration `{name}` is not there"))
        .at(place.unwrap_or_else(|| "tsconfig.json".to_owned()))
        .because(line.trim().to_owned());
    Some(if outside {
        diagnosis.hint(
            "it lies above what was deployed: deploy the whole repository and set `root` to the directory of the app",
        )
    } else {
        diagnosis
            .hint("commit the file; `git check-ignore -v PATH` says whether git leaves it out")
            .hint("if it comes from a package, add that to `devDependencies` and commit the lockfile")
    })
}
