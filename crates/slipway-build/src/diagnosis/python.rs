//! What Python, pip, uv, Poetry, Django and the servers of ASGI and WSGI say.

use super::case::Case;
use super::entry::{APP_IMPORT_FAILED, DJANGO_SETTINGS, MODULE_NOT_FOUND};
use super::output::first_quoted;
use slipway_types::Diagnosis;
use slipway_types::plan::{PackageManagerName, ToolchainName};

/// Requirements of a conflict that a diagnosis names.
const REQUIREMENTS_NAMED_MAX: usize = 4;

/// Whether the service, or at least the command, is one of Python.
pub(super) fn is_of(case: &Case<'_>) -> bool {
    let first = case.plan.and_then(|plan| plan.toolchains.first()).map(|tool| tool.name);
    let manager = case.package_manager();
    first == Some(ToolchainName::Python)
        || matches!(manager, PackageManagerName::Pip | PackageManagerName::Uv | PackageManagerName::Poetry)
}

/// The manifest that names the dependencies.
pub(super) fn manifest(case: &Case<'_>) -> String {
    match case.package_manager() {
        PackageManagerName::Pip => "requirements.txt".to_owned(),
        _ => "pyproject.toml".to_owned(),
    }
}

/// `(from versions: none)` of pip, `was not found in the package registry` of uv.
pub(super) fn package_not_found(case: &Case<'_>) -> Option<String> {
    let pip = || {
        let rest = case.output.after("Could not find a version that satisfies the requirement ")?;
        let (wanted, versions) = rest.split_once(" (from versions: ")?;
        let refused = case.output.contains("Ignored the following versions that require a different python version");
        (versions.starts_with("none") && !refused).then(|| wanted.to_owned())
    };
    let uv = || case.output.before(" was not found in the package registry")?.rsplit(' ').next().map(str::to_owned);
    // Poetry says the same of a version; `*` is satisfied by any.
    let poetry = || {
        let before = case.output.before(" (*) which doesn't match any versions")?;
        before.rsplit(' ').next().map(str::to_owned)
    };
    pip().or_else(uv).or_else(poetry)
}

pub(super) fn version_not_found(case: &Case<'_>) -> Option<String> {
    let pip = || {
        let rest = case.output.after("Could not find a version that satisfies the requirement ")?;
        rest.split(" (from versions: ").next().map(str::to_owned)
    };
    let uv = || {
        let rest = case.output.after("Because there is no version of ")?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    // Poetry: `Because x depends on flask (99.0) which doesn't match any versions, version solving failed.`
    let poetry = || {
        let before = case.output.before(" which doesn't match any versions")?;
        before
            .rsplit_once("depends on ")
            .map(|(_, wanted)| wanted.replace([' ', '(', ')'], " ").trim().replace("  ", " "))
    };
    pip().or_else(uv).or_else(poetry)
}

/// Requirements that exclude each other.
pub(super) fn conflict(case: &Case<'_>) -> Option<String> {
    let said = ["ResolutionImpossible", "No solution found when resolving dependencies", "version solving failed"];
    case.output.find(&said)?;
    let at = case.output.lines().position(|line| line.contains("The conflict is caused by:"));
    if let Some(at) = at {
        let pip = case.output.lines().skip(at + 1).take_while(|line| line.starts_with(' '));
        return Some(pip.take(REQUIREMENTS_NAMED_MAX).map(str::trim).collect::<Vec<_>>().join("; "));
    }
    Some(case.with_last_lines("the requirements exclude each other"))
}

/// A package, or the project, wants another Python.
pub(super) fn version_refused(case: &Case<'_>) -> Option<String> {
    let said = [
        "requires a different Python: ",
        "Ignored the following versions that require a different python version",
        "is incompatible with the project's Python requirement",
        "does not satisfy Python",
        "No interpreter found for Python",
        "is not allowed by the project (",
        "is not compatible with the current Python",
    ];
    case.output.find(&said).map(|line| super::shell::plain(line).to_owned())
}

/// A source distribution that could not be compiled.
pub(super) fn wheel_failed(case: &Case<'_>) -> Option<String> {
    let said = [
        "Failed building wheel for ",
        "Failed to build installable wheels",
        "Failed to build `",
        "subprocess-exited-with-error",
        "Unable to build package",
        "metadata-generation-failed",
    ];
    case.output.find(&said)?;
    let reason = case.output.lines().find(|line| {
        line.contains(": fatal error: ")
            || is_missing_library(line)
            || line.contains("pg_config executable not found")
            || line.contains("mysql_config not found")
            || line.contains("can't find Rust compiler")
            || line.contains("Please install CMake")
    });
    let command = || case.output.lines().find(|line| line.contains("error: command '"));
    let native = reason.or_else(command)?;
    Some(native.trim().to_owned())
}

/// What Meson and pkg-config say of a library of the system that is not there.
pub(super) fn is_missing_library(line: &str) -> bool {
    let meson = line.contains("ERROR: Dependency \"") && line.contains("\" not found");
    meson || line.contains("was not found in the pkg-config search path") || line.contains("No package '")
}

/// `ModuleNotFoundError: No module named 'x'`: the module and the place that imports it.
pub(super) fn missing_module(case: &Case<'_>) -> Option<(String, String)> {
    let line = case.output.last_word_of("ModuleNotFoundError: No module named ")?;
    let module = first_quoted(line)?;
    Some((case.output.crash_place().unwrap_or_default(), module.to_owned()))
}

/// In a build: `collectstatic`, a script.
pub(super) fn module_not_found(case: &Case<'_>) -> Option<Diagnosis> {
    let (place, module) = missing_module(case)?;
    let top = module.split('.').next().unwrap_or_default().to_owned();
    Some(
        MODULE_NOT_FOUND
            .diagnosis(format!("the module `{module}` can't be found"))
            .at(if place.is_empty() { case.place() } else { place })
            .because(format!("there is no package `{top}` among those installed, and no such file in the source"))
            .hint(add(case, &top)),
    )
}

/// The command that adds a dependency.
pub(super) fn add(case: &Case<'_>, module: &str) -> String {
    let how = match case.package_manager() {
        PackageManagerName::Uv => format!("`uv add {module}`, and commit `pyproject.toml` and `uv.lock`"),
        PackageManagerName::Poetry => format!("`poetry add {module}`, and commit `pyproject.toml` and `poetry.lock`"),
        _ => format!("add a line `{module}` to `requirements.txt`"),
    };
    format!("if it is a package: {how}; its name may differ from the module's")
}

/// uvicorn, gunicorn and hypercorn: there is no such module or no such name in it.
pub(super) fn app_import_failed(case: &Case<'_>) -> Option<Diagnosis> {
    let said = [
        "Error loading ASGI app. ",
        "Failed to find attribute ",
        "Failed to parse ",
        "Failed to find application object ",
    ];
    let line = case.output.find(&said).map(str::to_owned).or_else(|| named_by_command(case))?;
    Some(
        APP_IMPORT_FAILED
            .diagnosis("the server does not find the app that the start command names")
            .at(case.place())
            .because(super::shell::plain(&line).to_owned())
            .hint("`app.main:api` means the object `api` in `app/main.py`, seen from the service's directory; set `start_command` in `slipway.toml`")
            .hint("a function that makes the app needs its option: `uvicorn --factory app:create_app`, `gunicorn 'app:create_app()'`"),
    )
}

/// gunicorn lets Python's own error through: the module is the one of the command.
fn named_by_command(case: &Case<'_>) -> Option<String> {
    let line = case.output.last_word_of("ModuleNotFoundError: No module named ")?;
    let module = first_quoted(line)?;
    let named = case.command()?.split_whitespace().find_map(|word| word.trim_matches(['\'', '"']).split_once(':'))?.0;
    let is_server = ["gunicorn", "uvicorn", "hypercorn", "granian"]
        .iter()
        .any(|name| case.command().is_some_and(|command| command.contains(name)));
    (is_server && (named == module || named.starts_with(&format!("{module}.")))).then(|| line.trim().to_owned())
}

pub(super) fn settings(case: &Case<'_>) -> Option<Diagnosis> {
    let line = case.output.find(&["ImproperlyConfigured: "])?;
    let message = line.split_once("ImproperlyConfigured: ")?.1;
    let secret = message.contains("SECRET_KEY");
    let build = case.build_flag();
    let diagnosis = DJANGO_SETTINGS
        .diagnosis("Django's settings are incomplete")
        .at(case.place())
        .because(message.trim().to_owned());
    Some(if secret {
        diagnosis
            .hint(format!("set it: `slipway env set{build} --secret SECRET_KEY=…`"))
            .hint("the settings must read it: `SECRET_KEY = os.environ[\"SECRET_KEY\"]`")
    } else if message.contains("STATIC_ROOT") {
        diagnosis.hint("set `STATIC_ROOT = BASE_DIR / \"staticfiles\"` in the settings")
    } else {
        diagnosis.hint("correct the setting that is named; `python manage.py check --deploy` tells more")
    })
}
