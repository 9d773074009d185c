//! A program that ended although it should run: the app at its start, and the pre-deploy command.

use super::case::Case;
use super::entry::{APP_EXITED, APP_MODULE_NOT_FOUND, BUILD_OUTPUT_MISSING, PORT_IN_USE, PRE_DEPLOY_FAILED};
use super::output::{Output, first_quoted, relative};
use super::{Rule, explained, first};
use slipway_types::Diagnosis;

const RULES: [Rule; 3] = [module_not_found, port_in_use, build_output_missing];

/// The app ended before it was ready.
pub(super) fn exited(case: &Case<'_>) -> Diagnosis {
    first(&RULES, case).or_else(|| explained(case)).unwrap_or_else(|| {
        let exit = case.exit_words().unwrap_or_else(|| "ended".to_owned());
        let diagnosis = APP_EXITED
            .diagnosis(format!("the app {exit} at its start"))
            .at(case.place())
            .because(reason(case, &format!("the process {exit}")));
        if case.exit_code() == Some(0) {
            return diagnosis
                .hint("the start command must stay in the foreground: a program that goes to the background ends here")
                .hint("a task that ends by itself belongs into `pre_deploy_command`");
        }
        diagnosis
            .hint("`slipway logs` shows what it printed")
            .hint("variables that it needs are set with `slipway env set NAME=…`")
    })
}

/// The error that it died of, if it is one of JavaScript; in any case the last lines.
fn reason(case: &Case<'_>, sentence: &str) -> String {
    match case.output.thrown() {
        Some(thrown) => case.with_last_lines(&format!("{sentence} with `{thrown}`")),
        None => case.with_last_lines(sentence),
    }
}

/// The command before a release goes live. Always of one code, because what it means is always the same; why is in it.
pub(super) fn pre_deploy(case: &Case<'_>) -> Diagnosis {
    let known = first(&RULES, case).or_else(|| explained(case));
    let exit = case.exit_words().unwrap_or_else(|| "failed".to_owned());
    let diagnosis = PRE_DEPLOY_FAILED.diagnosis(format!("the pre-deploy command {exit}")).at(case.place());
    let diagnosis = match known {
        Some(known) => {
            known.hints.iter().fold(diagnosis.because(format!("{}: {}", known.what, known.why)), |diagnosis, hint| {
                diagnosis.hint(hint.clone())
            })
        }
        None => diagnosis.because(reason(case, &format!("it {exit}"))),
    };
    diagnosis.hint(
        "the release was not made live; what it had already changed, such as a part of a migration, stays changed",
    )
}

fn module_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let (place, module) = node_module(&case.output)?;
    let importer = if place.is_empty() { "the start command".to_owned() } else { format!("`{place}`") };
    let is_file = module.starts_with(['.', '/']) || place.is_empty();
    let hint = match is_file {
        true => {
            "check that the build makes the file and that the start command names the right path; case matters on Linux"
                .to_owned()
        }
        false => format!("add `{module}` to `dependencies` in `{}` and commit the lockfile", case.package_json()),
    };
    Some(
        APP_MODULE_NOT_FOUND
            .diagnosis(format!("the app misses the module `{module}`"))
            .at(if place.is_empty() { case.place() } else { place })
            .because(format!("{importer} needs `{module}`, which is not in the image"))
            .hint(hint),
    )
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
    Some((place.to_owned(), relative_module(module).to_owned()))
}

/// `./x` stays as it was written; `/app/x` is a file of the source.
fn relative_module(module: &str) -> &str {
    if module.starts_with("/app/") { relative(module) } else { module }
}

fn port_in_use(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.lines().find(|line| line.contains("EADDRINUSE"))?;
    let address = line.rsplit(' ').next().unwrap_or_default();
    Some(
        PORT_IN_USE
            .diagnosis(format!("the app listens twice on `{address}`"))
            .at(case.place())
            .because(line.trim().to_owned())
            .hint("nothing else runs in the sandbox: look for a second `listen`, or a second process in the start command"),
    )
}

/// Frameworks that say so themselves.
fn build_output_missing(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.lines().find(|line| line.contains("Could not find a production build"))?;
    let no_build = case.plan.is_some_and(|plan| plan.build_command.is_none());
    let diagnosis = BUILD_OUTPUT_MISSING
        .diagnosis("the app was started without its build output")
        .at(case.place())
        .because(line.trim().trim_start_matches("Error: ").to_owned());
    Some(if no_build {
        diagnosis.hint("there is no build command: add a script `build`, or set `build.command` in `slipway.toml`")
    } else {
        diagnosis.hint("check that the build command makes it, in the directory that the start command expects")
    })
}
