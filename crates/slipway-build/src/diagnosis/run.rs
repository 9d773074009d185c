//! A program that ended although it should run: the app at its start, and the pre-deploy command.

use super::case::Case;
use super::entry::{APP_EXITED, APP_MODULE_NOT_FOUND, BUILD_OUTPUT_MISSING, PORT_IN_USE, PRE_DEPLOY_FAILED};
use super::module::{self, node_module};
use super::{Rule, explained, first, install, native, program, python};
use slipway_types::Diagnosis;

const RULES: &[Rule] = &[
    ended_by_reload,
    native::optional_package_missing,
    program::client_not_generated,
    install::undeclared_dependency,
    python::app_import_failed,
    module_not_found,
    python_module_not_found,
    port_in_use,
    build_output_missing,
];

/// The app ended: at its start, or after it had been ready.
pub(super) fn exited(case: &Case<'_>) -> Diagnosis {
    first(RULES, case).or_else(|| explained(case)).unwrap_or_else(|| {
        let exit = case.exit_words().unwrap_or_else(|| "ended".to_owned());
        let when = if case.evidence.restart.is_some() { "" } else { " at its start" };
        let diagnosis = APP_EXITED
            .diagnosis(format!("the app {exit}{when}"))
            .at(crash_place(case))
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

/// It was told of new variables, and nobody had told it what that signal means.
fn ended_by_reload(case: &Case<'_>) -> Option<Diagnosis> {
    const SIGUSR1: i32 = 10;
    let exit = case.evidence.exit.filter(|_| case.evidence.was_signaled)?;
    let is_it = exit.signal == Some(SIGUSR1) || exit.code == Some(128 + SIGUSR1);
    is_it.then(|| {
        APP_EXITED
            .diagnosis("the app was ended by SIGUSR1, which it was sent because its variables had changed")
            .at(case.place())
            .because(
                "`run.reload = \"signal\"` is set, and the process of the start command does not handle the signal",
            )
            .hint("let the app handle SIGUSR1: read the file that `SLIPWAY_ENV_FILE` names, and go on")
            .hint("a shell that starts the app is ended by the signal itself: begin the start command with `exec`")
            .hint("without `run.reload` replicas are replaced one by one when a variable changes")
    })
}

/// The line of source that it died at, else the command.
fn crash_place(case: &Case<'_>) -> String {
    let place = case.output.thrown().and_then(|_| case.output.crash_place());
    place.map_or_else(|| case.place(), |place| format!("`{place}`, by {}", case.place()))
}

/// The error that it died of, if it is one of JavaScript; in any case the last lines.
fn reason(case: &Case<'_>, sentence: &str) -> String {
    match case.output.thrown() {
        Some(thrown) => case.with_last_lines(&format!("{sentence} with `{thrown}`")),
        None => case.with_last_lines(sentence),
    }
}

/// The command before a release goes live. What went wrong counts, not where; in any case nothing went live.
pub(super) fn pre_deploy(case: &Case<'_>) -> Diagnosis {
    let known = first(RULES, case).or_else(|| explained(case));
    let exit = case.exit_words().unwrap_or_else(|| "failed".to_owned());
    let diagnosis = known.unwrap_or_else(|| {
        PRE_DEPLOY_FAILED
            .diagnosis(format!("the pre-deploy command {exit}"))
            .at(case.place())
            .because(reason(case, &format!("it {exit}")))
    });
    diagnosis.hint(
        "the release was not made live; what the command had already changed, such as a part of a migration, stays changed",
    )
}

fn module_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let (place, module) = node_module(&case.output)?;
    if let Some(diagnosis) = module::case_only(case, &place, &module) {
        return Some(diagnosis);
    }
    let module = module.trim_start_matches('/').to_owned();
    let importer = if place.is_empty() { "the start command".to_owned() } else { format!("`{place}`") };
    let is_file = module.starts_with('.') || module.contains('.') || place.is_empty();
    let hint = match is_file {
        true => "check that the build makes the file and that its path is right, also in the start command".to_owned(),
        false => format!("add `{module}` to `dependencies` in `{}` and commit the lockfile", case.package_json()),
    };
    Some(app_misses(case, place, &module, &importer).hint(hint))
}

fn app_misses(case: &Case<'_>, place: String, module: &str, importer: &str) -> Diagnosis {
    APP_MODULE_NOT_FOUND
        .diagnosis(format!("the app misses the module `{module}`"))
        .at(if place.is_empty() { case.place() } else { place })
        .because(format!("{importer} needs `{module}`, which is not in the image"))
}

/// Python's; where the start command names the module itself, the server's rule came before.
fn python_module_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let (place, module) = python::missing_module(case)?;
    let importer = if place.is_empty() { "the app".to_owned() } else { format!("`{place}`") };
    let top = module.split('.').next().unwrap_or_default();
    Some(app_misses(case, place, &module, &importer).hint(python::add(case, top)))
}

fn port_in_use(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.find(&["EADDRINUSE", "[Errno 98]"])?;
    let address = line.split_whitespace().rev().find_map(|word| {
        let word = word.trim_matches(['\'', '(', ')', ',']);
        let port = word.rsplit(':').next()?;
        port.parse::<u16>().ok()
    });
    Some(
        PORT_IN_USE
            .diagnosis(match address {
                Some(port) => format!("the app listens twice on port {port}"),
                None => "the app listens twice on one port".to_owned(),
            })
            .at(case.place())
            .because(line.trim().trim_start_matches("Error: ").to_owned())
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
        .because(line.trim().trim_start_matches('[').trim_end_matches(']').trim_start_matches("Error: ").to_owned());
    Some(if no_build {
        diagnosis.hint("there is no build command: add a script `build`, or set `build.command` in `slipway.toml`")
    } else {
        diagnosis.hint("check that the build command makes it, in the directory that the start command expects")
    })
}
