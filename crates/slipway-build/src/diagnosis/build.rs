//! What compilers and bundlers say when a build fails.

use super::Rule;
use super::case::Case;
use super::entry::{MODULE_NOT_FOUND, PRERENDER_FAILED, SYNTAX_ERROR, TYPESCRIPT_ERROR};
use super::output::{first_quoted, relative};
use slipway_types::Diagnosis;

pub(super) const RULES: &[Rule] = &[module_not_found, syntax_error, typescript_error, prerender_failed];

/// `tsc` plain and pretty, and `next build` old and new.
fn typescript_error(case: &Case<'_>) -> Option<Diagnosis> {
    let mut errors = case.output.lines().filter_map(tsc_error);
    let (place, message) = match errors.next() {
        Some(error) => error,
        None => next_type_error(case)?,
    };
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

/// `app/page.tsx(1,7): error TS2322: …` and `app/page.tsx:1:7 - error TS2322: …`.
fn tsc_error(line: &str) -> Option<(String, String)> {
    let (place, code_and_message) = line.split_once(": error TS").or_else(|| line.split_once(" - error TS"))?;
    let place = place.trim().replace(['(', ','], ":").replace(')', "");
    Some((relative(&place).to_owned(), format!("TS{}", code_and_message.trim())))
}

/// `./app/page.tsx:5:9`, then `Type error: …`.
fn next_type_error(case: &Case<'_>) -> Option<(String, String)> {
    let (place, message) =
        case.output.pairs().find(|(place, line)| line.starts_with("Type error:") && is_place(place))?;
    Some((relative(place).to_owned(), message.trim_start_matches("Type error:").trim().to_owned()))
}

/// A file, or a file with line and column.
fn is_place(text: &str) -> bool {
    let path = text.split(':').next().unwrap_or_default();
    !text.contains(' ') && path.rsplit('/').next().is_some_and(|name| name.contains('.')) && path.len() > 2
}

/// Turbopack, webpack, esbuild and Rollup; TypeScript's own message for it stays a TypeScript error.
fn module_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let (place, module) = bundler(case).or_else(|| vite(case)).or_else(|| super::run::node_module(&case.output))?;
    let is_file = module.starts_with(['.', '/', '@', '~', '#']) && !is_scoped(&module) || module.starts_with("./");
    let hint = match is_file {
        true => "check the path: case matters on Linux, and files that git ignores are not sent".to_owned(),
        false => format!("add it: `npm install {}`, and commit `package.json` and the lockfile", package_of(&module)),
    };
    Some(
        MODULE_NOT_FOUND
            .diagnosis(format!("`{module}` can't be found"))
            .at(if place.is_empty() { case.place() } else { place.clone() })
            .because(if place.is_empty() {
                format!("`{module}` is imported, but there is no such package or file")
            } else {
                format!("`{place}` imports `{module}`, but there is no such package or file")
            })
            .hint(hint),
    )
}

/// `@scope/name` is a package, `@/lib` an alias of a path.
fn is_scoped(module: &str) -> bool {
    module.starts_with('@') && !module.starts_with("@/")
}

/// `@scope/name/file` is a file of `@scope/name`.
fn package_of(module: &str) -> String {
    let parts = if is_scoped(module) { 2 } else { 1 };
    module.split('/').take(parts).collect::<Vec<_>>().join("/")
}

fn bundler(case: &Case<'_>) -> Option<(String, String)> {
    let found =
        case.output.pairs().find(|(_, line)| line.contains("Module not found: ") && line.contains("Can't resolve"));
    let (place, line) = match found {
        Some(pair) => pair,
        None => ("", case.output.lines().find(|line| line.contains("Can't resolve '"))?),
    };
    let module = first_quoted(line.split_once("Can't resolve")?.1)?;
    let place = if is_place(place) { relative(place).to_owned() } else { String::new() };
    Some((place, module.to_owned()))
}

/// `Rollup failed to resolve import "x" from "/app/src/main.ts"`, `Could not resolve "./x" from "src/main.ts"`.
fn vite(case: &Case<'_>) -> Option<(String, String)> {
    let said = ["failed to resolve import ", "Could not resolve "];
    let rest = said.iter().find_map(|text| case.output.after(text))?;
    let module = first_quoted(rest)?;
    let place = rest.split_once(" from ").and_then(|(_, from)| first_quoted(from)).unwrap_or_default();
    Some((relative(place).to_owned(), module.to_owned()))
}

fn syntax_error(case: &Case<'_>) -> Option<Diagnosis> {
    let (place, message) = turbopack_syntax(case).or_else(|| node_syntax(case))?;
    Some(
        SYNTAX_ERROR
            .diagnosis(format!("`{place}` can't be parsed"))
            .at(place)
            .because(message)
            .hint("correct the file at that place; the log of the phase shows the lines around it"),
    )
}

fn turbopack_syntax(case: &Case<'_>) -> Option<(String, String)> {
    if !case.output.contains("Parsing ") || !case.output.contains("source code failed") {
        return None;
    }
    let (place, message) = case.output.pairs().find(|(place, line)| line.starts_with("Error: ") && is_place(place))?;
    Some((relative(place).to_owned(), message.trim_start_matches("Error: ").to_owned()))
}

/// `/app/x.js:1`, the line, a caret, then `SyntaxError: …`.
fn node_syntax(case: &Case<'_>) -> Option<(String, String)> {
    let message = case.output.lines().map(str::trim).find(|line| line.starts_with("SyntaxError: "))?;
    let place = case.output.lines().map(str::trim).find(|line| line.starts_with('/') && is_place(line))?;
    Some((relative(place).to_owned(), message.to_owned()))
}

fn prerender_failed(case: &Case<'_>) -> Option<Diagnosis> {
    let page = case.output.after("Error occurred prerendering page ").and_then(first_quoted)?;
    let error = case.output.thrown().unwrap_or("the page's code failed");
    let page = page.to_owned();
    Some(
        PRERENDER_FAILED
            .diagnosis(format!("the page `{page}` failed while it was prerendered"))
            .at(stack_place(case).unwrap_or_else(|| format!("the page `{page}`")))
            .because(error.to_owned())
            .hint("if it needs a database or another service, render it on request: `export const dynamic = \"force-dynamic\"`")
            .hint("variables that the build needs must be set for builds: `slipway env set --build NAME=…`"),
    )
}

/// `at <unknown> (app/page.tsx:2:47)`: the first line of a stack that lies in the source.
fn stack_place(case: &Case<'_>) -> Option<String> {
    let inside = case.output.lines().map(str::trim).filter(|line| line.starts_with("at ")).find_map(|line| {
        let place = line
            .rsplit_once('(')
            .map_or_else(|| line.trim_start_matches("at "), |(_, place)| place.trim_end_matches(')'));
        (is_place(place) && !place.contains("node_modules") && !place.contains("node:") && !place.contains("://"))
            .then_some(place)
    })?;
    Some(relative(inside).to_owned())
}
