//! Plans of Python apps: FastAPI, Flask, Django and their likes, with uv, Poetry, pip or Pipenv.
//!
//! Everything is installed into a virtual environment `.venv` in the service's directory. `VIRTUAL_ENV` names it for
//! install, build, pre-deploy and start, which makes its programs come first.

mod app;
mod django;
mod frontend;
mod install;
mod manifest;
mod requirement;
mod start;
mod version;

use super::procfile::Procfile;
use super::{SOURCE_DIRECTORY, files, hugo};
use crate::package_json::{PACKAGE_JSON, PackageJson};
use crate::tree::Tree;
use app::App;
use django::Django;
use frontend::Frontend;
use manifest::Manifests;
use slipway_types::Diagnosis;
use slipway_types::plan::{Plan, Reason, Start, Toolchain, ToolchainName};
use slipway_types::settings::{ServiceKind, ServiceSettings};
use slipway_types::site::SiteRules;
use std::collections::BTreeMap;

/// The virtual environment, in the service's directory.
const VENV: &str = ".venv";

/// Files that make a directory a Python service.
const MANIFESTS: [&str; 7] =
    ["uv.lock", "poetry.lock", "requirements.txt", "Pipfile", "pyproject.toml", "setup.py", "manage.py"];

/// All that the decisions look at.
struct Project<'t> {
    tree: Tree<'t>,
    settings: &'t ServiceSettings,
    manifests: Manifests<'t>,
    django: Option<Django<'t>>,
    app: Option<App<'t>>,
    frontend: Option<Frontend>,
    procfile: Procfile<'t>,
}

/// Whether the directory is a Python service. Beside a `package.json` it is one when the app that answers is Python's: a
/// Django project or an app object, and no script `start` of Node.js. Beside pages of a site something must start.
pub(super) fn is_service(tree: &Tree<'_>, settings: &ServiceSettings) -> bool {
    let named = MANIFESTS.iter().any(|name| tree.has(name));
    let has_app = || django::find(tree).is_some() || app::find(tree).is_some();
    if tree.has(PACKAGE_JSON) {
        let starts = || PackageJson::read(tree).ok().flatten().is_some_and(|package| package.script("start").is_some());
        let named = named || tree.upwards().any(|above| above.has("uv.lock"));
        return named && (django::find(tree).is_some() || (!starts() && app::find(tree).is_some()));
    }
    if hugo::is_one(tree) || files::directory(tree).is_some() {
        let starts = Procfile::read(tree).command(settings.kind).is_some() || settings.start_command.is_some();
        return named && (starts || has_app());
    }
    named || start::script(tree).is_some()
}

/// The plan of a Python service.
///
/// # Errors
/// `invalid-pyproject`, `invalid-python-version`, `invalid-package-json`, `invalid-node-version` or `no-start-command`.
pub(super) fn plan(tree: Tree<'_>, settings: &ServiceSettings) -> Result<Plan, Diagnosis> {
    let manifests = Manifests::read(&tree)?;
    let (python, python_reason) = version::choose(&tree, &manifests, settings)?;
    let django = django::find(&tree);
    let app = if django.is_some() { None } else { app::find(&tree) };
    let frontend = frontend::find(&tree, settings)?;
    let procfile = Procfile::read(&tree);
    let project = Project { tree, settings, manifests, django, app, frontend, procfile };

    let mut reasons = Vec::new();
    let framework = framework(&project, &mut reasons);
    reasons.push(python_reason);
    let (package_manager, install) = install::plan(&project, &mut reasons);
    let build_command = build_command(&project, &mut reasons);
    let start = start::decide(&project, &mut reasons)?;
    if let Some(django) = &project.django {
        let migrates = settings.pre_deploy_command.is_some() || project.procfile.release().is_some();
        reasons.extend(django.warnings(&project.manifests, migrates));
    }
    let mut toolchains = vec![python];
    if let Some(frontend) = &project.frontend {
        toolchains.push(frontend.toolchain.clone());
        reasons.push(frontend.reason.clone());
    }
    Ok(Plan {
        kind: if matches!(start, Start::Site(_)) { ServiceKind::Static } else { settings.kind },
        root: tree.directory().to_owned(),
        framework,
        toolchains,
        package_manager: Some(package_manager),
        install,
        build_command,
        start,
        pre_deploy_command: None,
        build_env: build_env(&project),
        run_env: run_env(&project),
        cache_dirs: project.frontend.iter().map(|_| "node_modules/.cache".to_owned()).collect(),
        public_prefixes: Vec::new(),
        rules: SiteRules::default(),
        reasons,
    })
}

fn framework(project: &Project<'_>, reasons: &mut Vec<Reason>) -> Option<String> {
    let (name, from) = match (&project.django, &project.app) {
        (Some(django), _) => ("Django", format!("`{}`", project.tree.path(&django.manage))),
        (None, Some(app)) => {
            (app.framework.title(), format!("`{} = {}(` in `{}`", app.object, app.framework.class(), app.path))
        }
        (None, None) => return None,
    };
    reasons.push(Reason { decided: name.to_owned(), from });
    Some(name.to_owned())
}

/// The owner's, else that of the frontend beside the app and the collection of Django's static files.
fn build_command(project: &Project<'_>, reasons: &mut Vec<Reason>) -> Option<String> {
    if let Some(command) = &project.settings.build_command {
        let command = command.trim();
        let decided = if command.is_empty() { "no build".to_owned() } else { format!("build: `{command}`") };
        reasons.push(Reason { decided, from: "the setting `build.command`".to_owned() });
        return (!command.is_empty()).then(|| command.to_owned());
    }
    let frontend = project.frontend.as_ref().map(|frontend| (frontend.build.clone(), frontend.build_from.clone()));
    let collect = project.django.as_ref().and_then(Django::collectstatic);
    let steps: Vec<(String, String)> = frontend.into_iter().chain(collect).collect();
    for (command, from) in &steps {
        reasons.push(Reason { decided: format!("build: `{command}`"), from: from.clone() });
    }
    let command = steps.into_iter().map(|(command, _)| command).collect::<Vec<_>>().join(" && ");
    (!command.is_empty()).then_some(command)
}

/// Absolute path of the virtual environment in a sandbox.
fn venv(tree: &Tree<'_>) -> String {
    format!("{SOURCE_DIRECTORY}/{}", tree.path(VENV))
}

fn build_env(project: &Project<'_>) -> BTreeMap<String, String> {
    let venv = venv(&project.tree);
    let mut env: BTreeMap<String, String> =
        [("VIRTUAL_ENV", venv.as_str()), ("UV_PROJECT_ENVIRONMENT", venv.as_str())].into_iter().map(owned).collect();
    if project.frontend.is_some() {
        env.extend([("NODE_ENV", "production")].into_iter().map(owned));
    }
    env.extend(import_path(project));
    env
}

fn run_env(project: &Project<'_>) -> BTreeMap<String, String> {
    let venv = venv(&project.tree);
    // The edge is the only one that reaches the app: what it says about the client and the protocol holds.
    let mut env: BTreeMap<String, String> =
        [("VIRTUAL_ENV", venv.as_str()), ("FORWARDED_ALLOW_IPS", "*")].into_iter().map(owned).collect();
    if let Some(settings) = project.django.as_ref().and_then(|django| django.settings_module.as_deref()) {
        env.insert("DJANGO_SETTINGS_MODULE".to_owned(), settings.to_owned());
    }
    env.extend(import_path(project));
    env
}

/// Where modules are found that are not in the service's directory itself.
fn import_path(project: &Project<'_>) -> Option<(String, String)> {
    let directory = match (&project.django, &project.app) {
        (Some(django), _) => django.directory,
        (None, Some(app)) => app.import_directory,
        (None, None) => "",
    };
    let path = format!("{SOURCE_DIRECTORY}/{}", project.tree.path(directory));
    (!directory.is_empty()).then(|| ("PYTHONPATH".to_owned(), path.trim_end_matches('/').to_owned()))
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn toolchain(name: ToolchainName, range: &str) -> Toolchain {
    Toolchain { name, version_range: range.to_owned() }
}

#[cfg(test)]
mod tests;
