//! Plans of Node.js apps: everything with a `package.json`.

use super::framework::{self, Framework};
use super::package_manager::{self, Choice};
use super::{SOURCE_DIRECTORY, install, missing, next, node_version, start, workspace};
use crate::package_json::PackageJson;
use crate::tree::Tree;
use slipway_types::Diagnosis;
use slipway_types::plan::{Plan, Reason, Start};
use slipway_types::settings::ServiceSettings;
use slipway_types::site::SiteRules;
use std::collections::BTreeMap;

/// Caches that any tool of Node.js may keep.
const COMMON_CACHE_DIRS: [&str; 1] = ["node_modules/.cache"];

/// All that the decisions look at.
pub(super) struct Project<'t> {
    pub(super) tree: Tree<'t>,
    pub(super) package: PackageJson,
    pub(super) settings: &'t ServiceSettings,
    pub(super) framework: Option<&'static Framework>,
    pub(super) packages: Choice<'t>,
}

/// The plan of a directory with a `package.json`.
///
/// # Errors
/// `invalid-package-json`, `invalid-node-version` or `no-start-command`.
pub(super) fn plan(tree: Tree<'_>, settings: &ServiceSettings) -> Result<Plan, Diagnosis> {
    let package = PackageJson::read(&tree)?.ok_or_else(|| missing::package_json(&tree))?;
    let (toolchain, node_reason) = node_version::choose(&tree, &package, settings)?;
    let packages = package_manager::choose(&tree, &package, workspace::top(&tree)?);
    let framework = framework::detect(&package);
    let project = Project { tree, package, settings, framework, packages };

    let mut reasons = Vec::new();
    if let Some(framework) = project.framework {
        let from = format!("the dependency `{}` in `{}`", framework.package, tree.path("package.json"));
        reasons.push(Reason { decided: framework.name.to_owned(), from });
    }
    reasons.push(node_reason);
    reasons.extend(project.packages.reasons.clone());
    let install = install::plan(&project, &mut reasons);
    let build_command = build_command(&project, &mut reasons);
    let start_command = start::command(&project, build_command.is_some(), &mut reasons)?;

    Ok(Plan {
        kind: settings.kind,
        root: tree.directory().to_owned(),
        framework: project.framework.map(|framework| framework.name.to_owned()),
        toolchains: vec![toolchain],
        package_manager: Some(project.packages.manager.clone()),
        install,
        build_command,
        start: Start::Command { command: start_command },
        pre_deploy_command: None,
        build_env: build_env(&project),
        run_env: run_env(&project),
        cache_dirs: cache_dirs(&project),
        public_prefixes: project
            .framework
            .map(|f| f.public_prefixes)
            .unwrap_or_default()
            .iter()
            .map(|p| (*p).to_owned())
            .collect(),
        rules: SiteRules::default(),
        reasons,
    })
}

/// The owner's, else the script `build`, else what the framework needs, else nothing.
fn build_command(project: &Project<'_>, reasons: &mut Vec<Reason>) -> Option<String> {
    if let Some(command) = &project.settings.build_command {
        let command = command.trim();
        let decided = if command.is_empty() { "no build".to_owned() } else { format!("build: `{command}`") };
        reasons.push(Reason { decided, from: "the setting `build.command`".to_owned() });
        return (!command.is_empty()).then(|| command.to_owned());
    }
    let (command, from) = if project.package.script("build").is_some() {
        let from = format!("the script `build` in `{}`", project.tree.path("package.json"));
        (run_script(project, "build"), from)
    } else {
        let framework = project.framework.filter(|framework| !framework.build_command.is_empty())?;
        (with_programs(project, framework.build_command), format!("no script `build`: what {} needs", framework.name))
    };
    reasons.push(Reason { decided: format!("build: `{command}`"), from });
    if !next::is_standalone(project) {
        return Some(command);
    }
    let decided = "build: static files are copied into `.next/standalone`".to_owned();
    reasons.push(Reason { decided, from: "the standalone server serves them only from there".to_owned() });
    Some(format!("{command} && {}", next::STANDALONE_COPY))
}

/// `npm run build` and its likes.
pub(super) fn run_script(project: &Project<'_>, script: &str) -> String {
    format!("{} run {script}", project.packages.manager.name.as_str())
}

/// A command that finds the programs of the dependencies, as a script of `package.json` would.
fn with_programs(project: &Project<'_>, command: &str) -> String {
    if project.packages.plug_and_play {
        return format!("yarn exec {command}");
    }
    format!("PATH=\"{}:$PATH\" {command}", program_directories(project))
}

/// Directories of the dependencies' programs: the service's own, then the one where install ran.
pub(super) fn program_directories(project: &Project<'_>) -> String {
    let own = "$PWD/node_modules/.bin";
    let installed = project.packages.directory;
    if installed.directory() == project.tree.directory() {
        return own.to_owned();
    }
    format!("{own}:{SOURCE_DIRECTORY}/{}", installed.path("node_modules/.bin"))
}

fn build_env(project: &Project<'_>) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = [
        ("CI", "1"),
        ("NODE_ENV", "production"),
        ("NPM_CONFIG_UPDATE_NOTIFIER", "false"),
        ("NPM_CONFIG_FUND", "false"),
        ("NPM_CONFIG_AUDIT", "false"),
        ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"),
    ]
    .into_iter()
    .map(owned)
    .collect();
    if project.packages.plug_and_play {
        // The packages are read from the cache at run time: it must lie in the tree, not in the builder's home.
        env.insert("YARN_ENABLE_GLOBAL_CACHE".to_owned(), "false".to_owned());
    }
    env.extend(project.framework.map(|f| f.build_env).unwrap_or_default().iter().copied().map(owned));
    env
}

fn run_env(project: &Project<'_>) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = [("NODE_ENV", "production")].into_iter().map(owned).collect();
    env.extend(project.framework.map(|f| f.run_env).unwrap_or_default().iter().copied().map(owned));
    // A script run by its package manager finds these; the start command runs without one.
    for (variable, field) in [("npm_package_name", "name"), ("npm_package_version", "version")] {
        if let Some(value) = project.package.text(&[field]) {
            env.insert(variable.to_owned(), value.to_owned());
        }
    }
    if next::is_standalone(project) {
        // The standalone server takes its address from here, and a shell may have set it to the machine's name.
        env.insert("HOSTNAME".to_owned(), "0.0.0.0".to_owned());
    }
    env
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn cache_dirs(project: &Project<'_>) -> Vec<String> {
    let of_framework = project.framework.map(|framework| framework.cache_dirs).unwrap_or_default();
    let turbo = project.packages.directory.has("turbo.json") || project.tree.has("turbo.json");
    let turbo: &[&str] = if turbo { &[".turbo"] } else { &[] };
    of_framework.iter().chain(turbo).chain(&COMMON_CACHE_DIRS).map(|directory| (*directory).to_owned()).collect()
}
