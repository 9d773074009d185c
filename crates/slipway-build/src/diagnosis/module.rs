//! Imports that lead nowhere, and those that would lead somewhere if upper and lower case did not count.

use super::case::Case;
use super::entry::{FILE_NAME_CASE, MODULE_NOT_FOUND};
use super::output::{Output, first_quoted, is_place, relative};
use slipway_types::Diagnosis;

/// Turbopack, webpack, esbuild, Rollup and Node.js; TypeScript's own message for it stays a TypeScript error.
pub(super) fn not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let (place, module) = imported(&case.output)?;
    if let Some(diagnosis) = case_only(case, &place, &module) {
        return Some(diagnosis);
    }
    let hint = match is_file(&module) {
        true => "check the path, and that git does not ignore the file: `git check-ignore -v PATH`".to_owned(),
        false => format!("add it: `npm install {}`, and commit `package.json` and the lockfile", package_of(&module)),
    };
    let why = match place.is_empty() {
        true => format!("`{module}` is imported, but there is no such package or file"),
        false => format!("`{place}` imports `{module}`, but there is no such package or file"),
    };
    let place = if place.is_empty() { case.place() } else { place };
    Some(MODULE_NOT_FOUND.diagnosis(format!("`{module}` can't be found")).at(place).because(why).hint(hint))
}

/// The file is there, written in another case.
pub(super) fn case_only(case: &Case<'_>, place: &str, module: &str) -> Option<Diagnosis> {
    if !is_file(module) && !module.contains('.') {
        return None;
    }
    let importer = place.split(':').next().unwrap_or_default();
    let found = case.other_case(importer, module)?;
    let who = if place.is_empty() { case.command_words() } else { format!("`{place}`") };
    Some(
        FILE_NAME_CASE
            .diagnosis(format!("`{module}` and `{found}` differ in upper and lower case"))
            .at(if place.is_empty() { module.to_owned() } else { place.to_owned() })
            .because(format!("{who} names `{module}`, the source has `{found}`; on Linux these are two files"))
            .hint(format!("write the name as the file is written: `{found}`"))
            .hint("or rename the file with `git mv`, in two steps where the disk does not see the difference"),
    )
}

/// Who imports what: the place may be unknown.
fn imported(output: &Output) -> Option<(String, String)> {
    bundler(output).or_else(|| esbuild(output)).or_else(|| vite(output)).or_else(|| node_module(output))
}

/// A path or an alias of one, not the name of a package.
fn is_file(module: &str) -> bool {
    module.starts_with(['.', '/', '@', '~', '#']) && !is_scoped(module)
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

/// The place stands in the line above: `./app/page.tsx:2:1`, `ERROR in ./src/main.js 1:0-27`.
fn bundler(output: &Output) -> Option<(String, String)> {
    let found = output.pairs().find(|(_, line)| line.contains("Module not found: ") && line.contains("Can't resolve"));
    let (place, line) = match found {
        Some(pair) => pair,
        None => ("", output.lines().find(|line| line.contains("Can't resolve '"))?),
    };
    let module = first_quoted(line.split_once("Can't resolve")?.1)?;
    let place = webpack_place(place).unwrap_or_else(|| place.to_owned());
    let place = if is_place(&place) { relative(&place).to_owned() } else { String::new() };
    Some((place, module.to_owned()))
}

/// `ERROR in ./src/main.js 1:0-27` as `./src/main.js:1:0`.
pub(super) fn webpack_place(line: &str) -> Option<String> {
    let place = line.trim().strip_prefix("ERROR in ")?;
    let (path, at) = place.split_once(' ').unwrap_or((place, ""));
    let at = at.split('-').next().unwrap_or_default();
    Some(if at.is_empty() { path.to_owned() } else { format!("{path}:{at}") })
}

/// `✘ [ERROR] Could not resolve "x"`, and below it the place.
fn esbuild(output: &Output) -> Option<(String, String)> {
    let (message, place) = esbuild_error(output, |message| message.starts_with("Could not resolve "))?;
    Some((place, first_quoted(&message)?.to_owned()))
}

/// The first error of esbuild that is wanted, with its place.
pub(super) fn esbuild_error(output: &Output, is_wanted: impl Fn(&str) -> bool) -> Option<(String, String)> {
    let lines: Vec<&str> = output.lines().collect();
    lines.iter().enumerate().find_map(|(at, line)| {
        let message = line.split_once("[ERROR] ")?.1;
        let place = lines[at + 1..].iter().map(|line| line.trim()).find(|line| !line.is_empty())?.trim_end_matches(':');
        let plain =
            message.strip_prefix("[plugin ").and_then(|rest| rest.split_once("] ")).map_or(message, |(_, text)| text);
        (is_wanted(plain) && is_place(place)).then(|| (plain.to_owned(), relative(place).to_owned()))
    })
}

/// `Rollup failed to resolve import "x" from "/app/src/main.ts"`, `Could not resolve "./x" from "src/main.ts"`.
fn vite(output: &Output) -> Option<(String, String)> {
    let said = ["failed to resolve import ", "Could not resolve "];
    let rest = said.iter().find_map(|text| output.after(text))?;
    let module = first_quoted(rest)?;
    let place = rest.split_once(" from ").and_then(|(_, from)| first_quoted(from)).unwrap_or_default();
    Some((relative(place).to_owned(), module.to_owned()))
}

/// What Node.js could not load, with the file that wanted it: `Cannot find module 'x'`, `Cannot find package 'x'
/// imported from /app/y.mjs`.
pub(super) fn node_module(output: &Output) -> Option<(String, String)> {
    let is_error = |line: &&str| {
        line.contains("Error") && (line.contains("Cannot find module '") || line.contains("Cannot find package '"))
    };
    let line = output.lines().find(is_error).filter(|line| !line.contains("error TS"))?;
    let rest = line.split_once("Cannot find ")?.1;
    let module = first_quoted(rest)?;
    let imported = rest.split_once(" imported from ").map(|(_, from)| from.trim());
    let required =
        || output.pairs().find(|(line, _)| *line == "Require stack:").map(|(_, file)| file.trim_start_matches("- "));
    let place = imported.or_else(required).map(relative).unwrap_or_default();
    Some((place.to_owned(), relative_module(module, place)))
}

/// `./x` stays as it was written; `/app/x` is a file of the source, written as its importer would.
fn relative_module(module: &str, importer: &str) -> String {
    match module.strip_prefix("/app/") {
        Some(rest) if importer.is_empty() => rest.to_owned(),
        Some(rest) => format!("/{rest}"),
        None => module.to_owned(),
    }
}
