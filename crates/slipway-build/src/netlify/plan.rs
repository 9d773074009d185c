//! What `netlify.toml` means for a service: settings below the owner's, then additions to the plan.
//!
//! The file says which directory is published. On Netlify that is all there is, functions aside; here an app with a
//! server of its own keeps it. So the directory makes a site of everything but the frameworks whose server Netlify
//! would have turned into functions.

use super::{DeployContext, Netlify, rule};
use crate::plan::plan;
use crate::tree::{self, Tree};
use slipway_types::plan::{PackageManagerName, Plan, Reason, Start, Toolchain, ToolchainName};
use slipway_types::settings::{BuildPatch, ServiceKind, ServiceSettings, SettingsPatch};
use slipway_types::site::SiteFacts;
use slipway_types::{Diagnosis, TreeListing};

/// Frameworks that have a server unless they are told otherwise: what they publish is only a part of the app.
const SERVERS: [&str; 10] = [
    "Next.js",
    "TanStack Start",
    "SolidStart",
    "Nuxt",
    "React Router",
    "Remix",
    "SvelteKit",
    "Astro",
    "Angular",
    "NestJS",
];
/// Where such frameworks keep what they copy into the published directory.
const ASSETS: [&str; 2] = ["public", "static"];
/// Where builds of such frameworks keep their server. Nobody means to publish one of these as files.
const SERVER_DIRECTORIES: [&str; 5] = [".next", ".nuxt", ".output", ".svelte-kit", ".netlify"];
/// What `next build` exports is a site, whatever else the app could be.
const NEXT_EXPORT: &str = "out";
/// Settings that the file may have given, as reasons name them, and its own word for each.
const NAMES: [(&str, &str); 5] = [
    ("the setting `build.command`", "`build.command`"),
    ("the setting `build.node_version`", "`NODE_VERSION` in `build.environment`"),
    ("the setting `build.python_version`", "`PYTHON_VERSION` in `build.environment`"),
    ("the setting `site.directory`", "`build.publish`"),
    ("the setting `site.fallback`", "`spa_fallback`"),
];
/// What `spa_fallback` answers with.
const FALLBACK: &str = "index.html";

impl Netlify {
    /// What the file sets where the owner says nothing.
    pub(crate) fn settings(&self) -> SettingsPatch {
        let version = |name: &str| {
            let text = self.environment.get(name)?.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        SettingsPatch {
            root: self.base.clone(),
            build: Some(BuildPatch {
                command: self.command.clone(),
                ignore: self.ignore.clone(),
                node_version: version("NODE_VERSION"),
                python_version: version("PYTHON_VERSION"),
                ..BuildPatch::default()
            }),
            ..SettingsPatch::default()
        }
    }

    /// The plan of a service with these settings, which the file is part of already. `said` is what its owner said.
    ///
    /// # Errors
    /// The diagnosis of whatever keeps the tree from having a plan.
    pub(crate) fn plan(
        &self,
        tree: &TreeListing,
        said: &ServiceSettings,
        settings: &ServiceSettings,
        context: &DeployContext,
    ) -> Result<Plan, Diagnosis> {
        let mut plan = self.site_or_process(tree, said, settings)?;
        for reason in &mut plan.reasons {
            self.name_place(said, reason);
        }
        plan.reasons.insert(0, self.found(context));
        self.add_environment(&mut plan, context);
        self.add_versions(&mut plan);
        self.add_flags(&mut plan, said);
        self.add_rules(&mut plan);
        plan.reasons.extend(self.not_run());
        Ok(plan)
    }

    fn site_or_process(
        &self,
        tree: &TreeListing,
        said: &ServiceSettings,
        settings: &ServiceSettings,
    ) -> Result<Plan, Diagnosis> {
        let detected = plan(tree, settings);
        let process = said.start_command.as_deref().is_some_and(|command| !command.trim().is_empty());
        if !self.publish_is_set || process || said.kind == ServiceKind::Worker || said.site_directory.is_some() {
            return detected;
        }
        let directory = self.publish_in(&settings.root);
        let own = match detected {
            Ok(mut own) if self.keeps_its_own(&own, &directory) => {
                if let Start::Command { .. } = own.start {
                    let name = own.framework.as_deref().unwrap_or("the app");
                    let decided = format!("`{directory}` is not published by itself: {name} has a server here");
                    own.reasons.push(self.reason(decided, "build.publish"));
                }
                return Ok(own);
            }
            own => own,
        };
        let site = plan(tree, &self.as_site(settings, &directory))?;
        match own {
            // What the framework makes can't be started here; the files that it makes besides are only a part of it.
            Err(diagnosis) if site.framework.as_deref().is_some_and(|name| SERVERS.contains(&name)) => Err(diagnosis),
            _ => Ok(with_directory(site, directory)),
        }
    }

    /// Without a word about it nothing answers for paths that are no file, whatever the framework is.
    fn as_site(&self, settings: &ServiceSettings, directory: &str) -> ServiceSettings {
        let fallback = if self.spa_fallback == Some(true) { FALLBACK } else { "" };
        ServiceSettings {
            kind: ServiceKind::Static,
            site_directory: Some(directory.to_owned()),
            site_fallback: settings.site_fallback.clone().or_else(|| Some(fallback.to_owned())),
            ..settings.clone()
        }
    }

    /// Whether what the framework makes answers, and not the directory.
    fn keeps_its_own(&self, plan: &Plan, directory: &str) -> bool {
        let first = directory.split('/').next().unwrap_or_default();
        if SERVER_DIRECTORIES.contains(&first) {
            return true;
        }
        let server = plan.framework.as_deref().filter(|name| SERVERS.contains(name));
        let exported = server == Some("Next.js") && directory == NEXT_EXPORT;
        plan.site().is_none() && server.is_some() && !exported
    }

    /// The published directory as seen from the service's root.
    fn publish_in(&self, root: &str) -> String {
        let root = tree::resolve("", root).unwrap_or_default();
        let (from, to) = (parts(&root), parts(&self.publish));
        let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
        let up = from[shared..].iter().map(|_| "..");
        up.chain(to[shared..].iter().copied()).collect::<Vec<_>>().join("/")
    }

    fn found(&self, context: &DeployContext) -> Reason {
        let branch = context.branch.as_ref().map(|branch| format!(", branch `{branch}`")).unwrap_or_default();
        let decided = format!("what is set for Netlify holds, in the context `{}`{branch}", context.name);
        Reason { decided, from: format!("`{}`", self.file) }
    }

    fn reason(&self, decided: impl Into<String>, key: &str) -> Reason {
        Reason { decided: decided.into(), from: format!("`{key}` in `{}`", self.file) }
    }

    /// A setting that came from here is not the owner's.
    fn name_place(&self, said: &ServiceSettings, reason: &mut Reason) {
        let owners = [
            said.build_command.is_some(),
            said.node_version.is_some(),
            said.python_version.is_some(),
            said.site_directory.is_some(),
            said.site_fallback.is_some(),
        ];
        for ((setting, name), of_owner) in NAMES.iter().zip(owners) {
            if reason.from == *setting && !of_owner {
                reason.from = format!("{name} in `{}`", self.file);
            }
        }
    }

    /// Over the plan's own; `NETLIFY` itself is left unset, or frameworks would build for its servers.
    fn add_environment(&self, plan: &mut Plan, context: &DeployContext) {
        plan.build_env.insert("CONTEXT".to_owned(), context.name.clone());
        if let Some(branch) = &context.branch {
            plan.build_env.insert("BRANCH".to_owned(), branch.clone());
            plan.build_env.insert("HEAD".to_owned(), branch.clone());
        }
        plan.build_env.extend(self.environment.clone());
        if !self.environment.is_empty() {
            let names: Vec<&str> = self.environment.keys().map(String::as_str).collect();
            plan.reasons
                .push(self.reason(format!("variables of the build: {}", names.join(", ")), "build.environment"));
        }
    }

    fn add_versions(&self, plan: &mut Plan) {
        let calls_hugo = plan.build_command.as_deref().is_some_and(|command| command.contains("hugo"));
        if let Some(version) = self.version("HUGO_VERSION") {
            let version = version.trim_start_matches("extended_").trim_start_matches('v').to_owned();
            match plan.toolchains.iter_mut().find(|tool| tool.name == ToolchainName::Hugo) {
                Some(hugo) => hugo.version_range.clone_from(&version),
                None if calls_hugo => {
                    plan.toolchains.push(Toolchain { name: ToolchainName::Hugo, version_range: version.clone() });
                }
                None => return,
            }
            plan.reasons.push(self.reason(format!("Hugo {version}"), "build.environment"));
        }
        let Some(manager) = &mut plan.package_manager else { return };
        let Some((name, _)) = variables(manager.name) else { return };
        let exact = manager.version.as_deref().is_some_and(is_exact);
        if let Some(version) = self.version(name).filter(|_| !exact) {
            let decided = format!("{} {version}", manager.name.as_str());
            manager.version = Some(version.to_owned());
            plan.reasons.push(self.reason(decided, "build.environment"));
        }
    }

    fn version(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// `NPM_FLAGS` and its likes, to the end of an install command that is not the owner's own.
    fn add_flags(&self, plan: &mut Plan, said: &ServiceSettings) {
        let Some((_, name)) = plan.package_manager.as_ref().and_then(|manager| variables(manager.name)) else { return };
        let Some(flags) = self.version(name).filter(|_| said.install_command.is_none()) else { return };
        let Some(install) = &mut plan.install else { return };
        install.command = format!("{} {flags}", install.command);
        let decided = format!("install: `{}`", install.command);
        plan.reasons.push(self.reason(decided, "build.environment"));
    }

    fn add_rules(&self, plan: &mut Plan) {
        let mut warnings = rule::lines(self.warnings.iter().cloned());
        plan.rules = rule::bounded(self.rules.clone(), &mut warnings);
        for (count, what) in [(plan.rules.redirects.len(), "redirects"), (plan.rules.headers.len(), "headers")] {
            if count > 0 {
                plan.reasons.push(self.reason(format!("{count} of `{what}`"), what));
            }
        }
        let from = || format!("`{}`", self.file);
        plan.reasons.extend(warnings.into_iter().map(|decided| Reason { decided, from: from() }));
    }

    /// What is known and not done.
    fn not_run(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let directories =
            [(&self.functions_directory, "functions"), (&self.edge_functions_directory, "edge functions")];
        for (directory, what) in directories {
            if let Some(directory) = directory {
                let from = format!("the directory `{directory}`");
                reasons.push(Reason { decided: format!("{what} are not run"), from });
            }
        }
        let functions = self.edge_functions.iter().map(|name| (name, "edge_functions"));
        for (name, key) in functions.chain(self.plugins.iter().map(|plugin| (&plugin.package, "plugins"))) {
            reasons.push(self.reason(format!("`{name}` is not run"), key));
        }
        reasons
    }
}

/// A framework with a server publishes its assets as they are: `_redirects` and `_headers` among them hold.
pub(crate) fn add_rules_of_assets(listing: &TreeListing, plan: &mut Plan) {
    if plan.site().is_some() || plan.framework.as_deref().is_none_or(|name| !SERVERS.contains(&name)) {
        return;
    }
    let root = Tree::new(listing, &plan.root);
    let text = |name: &str| {
        let mut places = ASSETS.iter().map(|directory| format!("{directory}/{name}"));
        places.find_map(|path| Some((root.path(&path), root.text(&path)?.to_owned())))
    };
    let (redirects, headers) = (text("_redirects"), text("_headers"));
    let paths: Vec<String> = [&redirects, &headers].into_iter().flatten().map(|(path, _)| path.clone()).collect();
    let (redirects_text, headers_text) = (redirects.map(|(_, text)| text), headers.map(|(_, text)| text));
    let facts = SiteFacts { redirects_text, headers_text, ..SiteFacts::default() };
    let (rules, warnings) = rule::published_rules(&facts, &plan.rules);
    plan.rules = rules;
    let from = || format!("`{}`", paths.join("` and `"));
    let found = (!paths.is_empty()).then(|| "redirects and headers".to_owned());
    plan.reasons.extend(found.into_iter().chain(warnings).map(|decided| Reason { decided, from: from() }));
}

/// A path of the settings never leads out of the root; this one may, as long as it stays in the tree.
fn with_directory(mut plan: Plan, directory: String) -> Plan {
    if let Start::Site(site) = &mut plan.start {
        site.directory = directory;
    }
    plan
}

/// Variables with the version and the flags of a package manager.
fn variables(manager: PackageManagerName) -> Option<(&'static str, &'static str)> {
    match manager {
        PackageManagerName::Npm => Some(("NPM_VERSION", "NPM_FLAGS")),
        PackageManagerName::Pnpm => Some(("PNPM_VERSION", "PNPM_FLAGS")),
        PackageManagerName::Yarn => Some(("YARN_VERSION", "YARN_FLAGS")),
        PackageManagerName::Bun => Some(("BUN_VERSION", "BUN_FLAGS")),
        PackageManagerName::Pip | PackageManagerName::Uv | PackageManagerName::Poetry => None,
    }
}

/// `10.1.0`: as `packageManager` has it, which Netlify follows too.
fn is_exact(version: &str) -> bool {
    version.split('.').count() >= 3 && version.starts_with(|c: char| c.is_ascii_digit())
}

fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}
