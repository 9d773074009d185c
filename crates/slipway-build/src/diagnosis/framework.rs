//! What frameworks and linters say when they refuse an app.

use super::case::Case;
use super::entry::{ADAPTER_MISSING, BUDGET_EXCEEDED, DYNAMIC_ROUTE_EXPORT, LINT_ERROR, PRERENDER_FAILED};
use super::network;
use super::output::{first_quoted, is_place, relative};
use slipway_types::Diagnosis;

pub(super) fn prerender_failed(case: &Case<'_>) -> Option<Diagnosis> {
    let page = case.output.after("Error occurred prerendering page ").and_then(first_quoted)?;
    // The page is where it happened; that something is missing or unreachable is why.
    if let Some(known) = super::variable::missing(case).or_else(|| network::unreachable(case)) {
        return Some(known);
    }
    let error = case.output.thrown().unwrap_or("the page's code failed");
    let page = page.to_owned();
    Some(
        PRERENDER_FAILED
            .diagnosis(format!("the page `{page}` failed while it was prerendered"))
            .at(case.output.crash_place().unwrap_or_else(|| format!("the page `{page}`")))
            .because(error.to_owned())
            .hint("if it needs a database or another service, render it on request: `export const dynamic = \"force-dynamic\"`")
            .hint("variables that the build needs must be set for builds: `slipway env set --build NAME=…`"),
    )
}

/// Next.js with `output: "export"` and a route that needs a server.
pub(super) fn dynamic_route_export(case: &Case<'_>) -> Option<Diagnosis> {
    let about = |line: &&str| line.contains("\"output: export\"") || line.contains("\"output: 'export'\"");
    let says = [
        "is missing \"generateStaticParams()\"",
        "not configured on route",
        "couldn't be rendered",
        "cannot be used with",
        "missing param",
    ];
    let line = case.output.lines().filter(about).find(|line| says.iter().any(|text| line.contains(text)))?;
    let route = first_quoted(line).filter(|route| route.starts_with('/'));
    let after = |word: &str| line.split_once(word).and_then(|(_, rest)| first_quoted(rest));
    let route = route.or_else(|| after("on route ")).or_else(|| after("Page "));
    Some(
        DYNAMIC_ROUTE_EXPORT
            .diagnosis(match route {
                Some(route) => format!("the route `{route}` can't be exported as files"),
                None => "a route can't be exported as files".to_owned(),
            })
            .at(route.map_or_else(|| case.place(), |route| format!("the route `{route}`")))
            .because(line.trim().trim_start_matches("Error: ").trim_start_matches("[Error: ").to_owned())
            .hint("list the pages of a dynamic route: `export function generateStaticParams() { return [{ id: \"1\" }]; }`")
            .hint("or run a server: remove `output: \"export\"` from the configuration of Next.js"),
    )
}

/// Astro says so; SvelteKit only warns in the build and is missed at the start.
pub(super) fn adapter_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.find(&["[NoAdapterInstalled]"])?;
    let configuration = ["mjs", "ts", "js", "mts"]
        .iter()
        .map(|ending| format!("astro.config.{ending}"))
        .find(|name| case.has_path(name));
    Some(
        ADAPTER_MISSING
            .diagnosis("Astro needs an adapter for pages that are rendered on request")
            .at(configuration.unwrap_or_else(|| "astro.config.mjs".to_owned()))
            .because(line.trim().trim_start_matches("[NoAdapterInstalled] ").to_owned())
            .hint("add one: `npx astro add node`, which installs `@astrojs/node`, and commit what it changes")
            .hint("or make every page static: remove `output: \"server\"` and `prerender = false`"),
    )
}

/// Angular's, as an error; below it, it only warns.
pub(super) fn budget_exceeded(case: &Case<'_>) -> Option<Diagnosis> {
    let is_it = |line: &&str| {
        line.contains("exceeded maximum budget") && (line.contains("[ERROR]") || line.contains("Error: "))
    };
    let line = case.output.lines().find(is_it)?;
    let message = line.split_once("[ERROR] ").or_else(|| line.split_once("Error: ")).map_or(line, |(_, text)| text);
    Some(
        BUDGET_EXCEEDED
            .diagnosis("a bundle is larger than its budget")
            .at("angular.json")
            .because(message.trim().to_owned())
            .hint("make it smaller: `npx ng build --stats-json` shows what is in it")
            .hint("or raise `maximumError` in `angular.json` under `configurations.production.budgets`"),
    )
}

/// ESLint's usual format, and that of `next build`: the file, then `1:7  error  message  rule`.
pub(super) fn lint_error(case: &Case<'_>) -> Option<Diagnosis> {
    let mut file = "";
    let mut errors = Vec::new();
    for line in case.output.lines().map(str::trim) {
        if is_place(line) && !line.contains(':') {
            file = line;
        }
        errors.extend(eslint_error(line).map(|(at, message)| (format!("{}:{at}", relative(file)), message)));
    }
    case.output.find(&[" problems (", " problem (", "Failed to compile"])?;
    let (place, message) = errors.first().filter(|(place, _)| !place.starts_with(':'))?;
    let more = if errors.len() > 1 { format!(" (and {} more)", errors.len() - 1) } else { String::new() };
    Some(
        LINT_ERROR
            .diagnosis(format!("ESLint found an error in `{place}`"))
            .at(place.clone())
            .because(format!("{message}{more}"))
            .hint("`npx eslint .` shows the same where you develop; `npx eslint --fix .` mends what it can")
            .hint("to lint elsewhere than in the build, take it out of the script `build`"),
    )
}

/// Place in the file, and what is wrong with the rule's name.
fn eslint_error(line: &str) -> Option<(&str, String)> {
    let (at, rest) = line.split_once(char::is_whitespace)?;
    let is_position = at.split_once(':').is_some_and(|(row, column)| {
        [row, column].iter().all(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
    });
    let message = rest.trim_start();
    let message = message.strip_prefix("error ").or_else(|| message.strip_prefix("Error: "))?;
    is_position.then(|| (at, message.split_whitespace().collect::<Vec<_>>().join(" ")))
}
