//! Plans of Node.js apps: everything with a `package.json`.

use super::config::Config;
use super::framework::{self, Framework};
use super::package_manager::{self, Choice};
use super::procfile::Procfile;
use super::{SOURCE_DIRECTORY, build, hugo, install, missing, node_version, script, start, workspace};
use crate::package_json::PackageJson;
use crate::tree::Tree;
use slipway_types::Diagnosis;
use slipway_types::plan::{Plan, Reason, Start};
use slipway_types::settings::{ServiceKind, ServiceSettings};
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
    pub(super) procfile: Procfile<'t>,
}

impl<'t> Project<'t> {
    /// The configuration `<stem>.ts`, `<stem>.mjs` and so on.
    pub(super) fn config(&self, stem: &str) -> Config<'t> {
        Config::of(&self.tree, stem)
    }

    pub(super) fn depends(&self, package: &str) -> bool {
        self.package.dependency(package).is_some()
    }

    /// The major version with which a package is asked for, as far as a range says it: 5 of `^5.1.0`.
    pub(super) fn major(&self, package: &str) -> Option<u32> {
        let range = self.package.dependency(package)?.trim_start_matches(['^', '~', '=', '>', '<', 'v', ' ']);
        range.split(['.', ' ', '-']).next()?.parse().ok()
    }

    /// The script that builds it, if there is one.
    pub(super) fn build_script(&self) -> Option<&'static str> {
        let names = self.framework.map_or(&["build"][..], |framework| framework.build_scripts);
        names.iter().find(|name| self.package.script(name).is_some()).copied()
    }

    /// The words of all that the build runs, as far as they are known.
    pub(super) fn build_text(&self) -> String {
        let script = || self.build_script().and_then(|name| self.package.script(name));
        let text = self.settings.build_command.as_deref().or_else(script).unwrap_or_default();
        script::with_called(&self.package, text)
    }

    /// Whether the build is the framework's usual one, and not something that the owner thought of.
    pub(super) fn is_built_as_known(&self) -> bool {
        let Some(command) = self.settings.build_command.as_deref().map(str::trim) else { return true };
        let own = self.framework.map(|framework| framework.build_command).unwrap_or_default();
        let is_script = script::called(&self.package, command) == self.build_script() && self.build_script().is_some();
        is_script || command == own || command == format!("npx {own}")
    }
}

/// The plan of a directory with a `package.json`.
///
/// # Errors
/// `invalid-package-json`, `invalid-node-version`, `no-start-command` or `no-site-directory`.
pub(super) fn plan(tree: Tree<'_>, settings: &ServiceSettings) -> Result<Plan, Diagnosis> {
    let package = PackageJson::read(&tree)?.ok_or_else(|| missing::package_json(&tree))?;
    let (toolchain, node_reason) = node_version::choose(&tree, &package, settings)?;
    let packages = package_manager::choose(&tree, &package, workspace::top(&tree)?);
    let detected = framework::detect(&tree, &package);
    let framework = detected.as_ref().map(|(framework, _)| *framework);
    let project = Project { tree, package, settings, framework, packages, procfile: Procfile::read(&tree) };
    let found = framework.map_or_else(framework::Found::unsaid, |framework| framework.found(&project));

    let mut reasons: Vec<Reason> =
        detected.map(|(framework, from)| Reason { decided: framework.name.to_owned(), from }).into_iter().collect();
    reasons.push(node_reason);
    let mut toolchains = vec![toolchain];
    if needs_hugo(&project) {
        let (toolchain, reason) = hugo::toolchain(&tree);
        toolchains.push(toolchain);
        reasons.push(reason);
    }
    reasons.extend(project.packages.reasons.clone());
    let install = install::plan(&project, &mut reasons);
    let build_command = build::command(&project, &mut reasons);
    let mut start_reasons = Vec::new();
    let start = start::decide(&project, &found, build_command.is_some(), &mut start_reasons)?;
    let build_command = build::finished(&project, build_command, &found, &start, &mut reasons);
    reasons.extend(start_reasons);
    let pre_deploy_command = release(&project, &start, &mut reasons);

    Ok(Plan {
        kind: if matches!(start, Start::Site(_)) { ServiceKind::Static } else { settings.kind },
        root: tree.directory().to_owned(),
        framework: framework.map(|framework| framework.name.to_owned()),
        package_manager: Some(project.packages.manager.clone()),
        install,
        build_command,
        pre_deploy_command,
        build_env: build_env(&project, &toolchains[0].version_range),
        run_env: if matches!(start, Start::Site(_)) { BTreeMap::new() } else { run_env(&project, found.run_env) },
        cache_dirs: cache_dirs(&project),
        public_prefixes: framework.map(|framework| texts(framework.public_prefixes)).unwrap_or_default(),
        rules: SiteRules::default(),
        start,
        toolchains,
        reasons,
    })
}

/// Hugo comes with the service, unless a package brings it.
fn needs_hugo(project: &Project<'_>) -> bool {
    project.framework.is_some_and(|framework| framework.name == "Hugo")
        && !["hugo-bin", "hugo-extended"].iter().any(|package| project.depends(package))
}

/// `release` in the `Procfile`, with the dependencies' programs at hand.
fn release(project: &Project<'_>, start: &Start, reasons: &mut Vec<Reason>) -> Option<String> {
    if matches!(start, Start::Site(_)) {
        return None;
    }
    let (command, from) = project.procfile.release()?;
    let command = start::runnable(project, command);
    reasons.push(Reason { decided: format!("before a release goes live: `{command}`"), from });
    Some(command)
}

/// `npm run build` and its likes.
pub(super) fn run_script(project: &Project<'_>, script: &str) -> String {
    format!("{} run {script}", project.packages.manager.name.as_str())
}

/// A command that finds the programs of the dependencies, as a script of `package.json` would.
pub(super) fn with_programs(project: &Project<'_>, command: &str) -> String {
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

fn build_env(project: &Project<'_>, node_range: &str) -> BTreeMap<String, String> {
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
    if needs_old_openssl(project) && node_version::has_new_openssl(node_range) {
        env.insert("NODE_OPTIONS".to_owned(), "--openssl-legacy-provider".to_owned());
    }
    if has_turborepo(project) {
        env.insert("TURBO_TELEMETRY_DISABLED".to_owned(), "1".to_owned());
        // Its cache lies at the top of the tree, caches that are kept lie in the service's directory.
        let cache = format!("{SOURCE_DIRECTORY}/{}", project.tree.path(".turbo/cache"));
        env.insert("TURBO_CACHE_DIR".to_owned(), cache);
    }
    if project.packages.directory.has("nx.json") {
        env.insert("NX_DAEMON".to_owned(), "false".to_owned());
    }
    env.extend(project.framework.map(|f| f.build_env).unwrap_or_default().iter().copied().map(owned));
    env
}

/// Bundlers before webpack 5 hash with MD4, which OpenSSL 3 has only on request.
fn needs_old_openssl(project: &Project<'_>) -> bool {
    [("react-scripts", 5), ("@vue/cli-service", 5), ("webpack", 5), ("nuxt", 3), ("gatsby", 3)]
        .iter()
        .any(|(package, first_good)| project.major(package).is_some_and(|major| major < *first_good))
}

fn run_env(project: &Project<'_>, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut env: BTreeMap<String, String> = [("NODE_ENV", "production")].into_iter().map(owned).collect();
    let of_framework = project.framework.map(|framework| framework.run_env).unwrap_or_default();
    env.extend(of_framework.iter().chain(more).copied().map(owned));
    // A script run by its package manager finds these; the start command runs without one.
    for (variable, field) in [("npm_package_name", "name"), ("npm_package_version", "version")] {
        if let Some(value) = project.package.text(&[field]) {
            env.insert(variable.to_owned(), value.to_owned());
        }
    }
    env
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn has_turborepo(project: &Project<'_>) -> bool {
    project.packages.directory.has("turbo.json") || project.tree.has("turbo.json")
}

fn cache_dirs(project: &Project<'_>) -> Vec<String> {
    let of_framework = project.framework.map(|framework| framework.cache_dirs).unwrap_or_default();
    let turbo: &[&str] = if has_turborepo(project) { &[".turbo"] } else { &[] };
    of_framework.iter().chain(turbo).chain(&COMMON_CACHE_DIRS).map(|directory| (*directory).to_owned()).collect()
}
