//! Evidence to [`Diagnosis`]: why a phase failed, as far as the facts say.
//!
//! Facts that the host measured (memory, disk, time, sockets) come before what programs print; what is printed is
//! matched against known texts, most telling first. What matches nothing stays what it is: a command that failed,
//! with its last lines. Output is untrusted text: it is quoted, never interpreted further than a rule's pattern.

mod build;
mod case;
mod database;
pub(crate) mod entry;
mod framework;
mod health;
mod install;
mod module;
mod native;
mod network;
mod output;
mod page;
mod platform;
mod program;
mod python;
mod resource;
mod run;
mod shell;
mod syntax;
mod typescript;
mod variable;

pub use case::exit_words;
pub use entry::{CATALOGUE, Entry};
pub use page::render_catalogue;
pub use resource::build_memory_over_budget;

use case::Case;
use slipway_types::host::Evidence;
use slipway_types::{Diagnosis, Phase, Plan};

/// A pattern that either explains the failure or does not apply.
type Rule = fn(&Case<'_>) -> Option<Diagnosis>;

/// Measured by the host: true whatever a program prints.
const MEASURED: [Rule; 4] = [platform::host_error, resource::out_of_memory, resource::disk_full, resource::timed_out];

/// Words that programs print in whichever phase. What names its cause stands before what names a symptom.
const ANYWHERE: &[Rule] = &[
    resource::heap_out_of_memory,
    native::optional_package_missing,
    native::wrong_architecture,
    native::glibc_too_old,
    native::shared_library_missing,
    native::module_version,
    program::openssl_unsupported,
    program::browser_missing,
    program::client_not_generated,
    program::not_a_git_repository,
    database::migration_locked,
    database::migration_failed,
    database::refused,
    variable::missing,
    network::font_unreachable,
    network::unreachable,
    network::host_name_unknown,
    resource::watch_limit,
    resource::too_many_open_files,
    resource::too_many_processes,
    program::export_missing,
    program::module_format,
    program::typescript_not_compiled,
    python::settings,
    syntax::syntax_error,
    program::path_not_writable,
    shell::missing_script,
    shell::command_not_found,
    shell::permission_denied,
    native::crashed,
];

/// Why it failed. `plan` adds what was decided, when there is a plan already; `paths` are the files of the source,
/// as in [`slipway_types::TreeListing::paths`], or empty where they are not known.
pub fn diagnose(evidence: &Evidence, plan: Option<&Plan>, paths: &[String]) -> Diagnosis {
    let case = Case::new(evidence, plan, paths);
    if let Some(diagnosis) = first(&MEASURED, &case) {
        return diagnosis;
    }
    match evidence.phase {
        Some(Phase::PreDeploy) => run::pre_deploy(&case),
        Some(Phase::Install) => first(install::RULES, &case)
            .or_else(|| explained(&case))
            .or_else(|| install::script_failed(&case))
            .or_else(|| shell::failed(&case))
            .unwrap_or_else(|| platform::unknown(&case)),
        Some(phase) if phase.on_worker() => command(&case).unwrap_or_else(|| platform::unknown(&case)),
        _ if evidence.exit.is_some() => run::exited(&case),
        _ => first(&[health::of], &case).or_else(|| command(&case)).unwrap_or_else(|| platform::unknown(&case)),
    }
}

/// A build command that failed.
fn command(case: &Case<'_>) -> Option<Diagnosis> {
    first(build::RULES, case).or_else(|| explained(case)).or_else(|| shell::failed(case))
}

/// What the words that programs print anywhere say.
fn explained(case: &Case<'_>) -> Option<Diagnosis> {
    first(ANYWHERE, case)
}

fn first(rules: &[Rule], case: &Case<'_>) -> Option<Diagnosis> {
    rules.iter().find_map(|rule| rule(case))
}
