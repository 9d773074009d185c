//! The part of a plan that is a site: which directory is published, and what answers for paths that are no file.

use crate::tree::{self, Tree};
use slipway_types::plan::{Plan, Reason, Start};
use slipway_types::settings::{ServiceKind, ServiceSettings};
use slipway_types::site::{SitePlan, SiteRules};
use std::collections::BTreeMap;

/// The directory that the owner wants published; None when that is not said, or a process is wanted instead.
pub(super) fn directory_set(settings: &ServiceSettings) -> Option<&str> {
    let process = settings.start_command.as_deref().is_some_and(|command| !command.trim().is_empty());
    let wanted = match settings.kind {
        ServiceKind::Static => true,
        ServiceKind::Web => !process,
        ServiceKind::Worker => false,
    };
    settings.site_directory.as_deref().filter(|_| wanted)
}

/// Where the source's own decision and the owner's meet: each part that the owner set wins.
pub(super) fn decide(
    settings: &ServiceSettings,
    directory: &str,
    fallback: Option<&str>,
    from: &str,
    reasons: &mut Vec<Reason>,
) -> SitePlan {
    let set = directory_set(settings);
    let directory = tree::resolve("", set.unwrap_or(directory)).unwrap_or_default();
    let said = if directory.is_empty() { "this directory".to_owned() } else { format!("`{directory}`") };
    let from = if set.is_some() { "the setting `site.directory`" } else { from };
    reasons.push(Reason { decided: format!("site: {said}, served without a process"), from: from.to_owned() });
    let (fallback, from) = match settings.site_fallback.as_deref().map(str::trim) {
        Some("") => (None, "the setting `site.fallback`"),
        Some(file) => (Some(file.trim_start_matches('/')), "the setting `site.fallback`"),
        None => (fallback, "an app of one page finds its way in the browser"),
    };
    if let Some(file) = fallback {
        let decided = format!("`{file}` answers for paths that are no file");
        reasons.push(Reason { decided, from: from.to_owned() });
    }
    SitePlan { directory, fallback: fallback.map(str::to_owned) }
}

/// The owner's build command, else what is needed.
pub(super) fn build_command(
    settings: &ServiceSettings,
    needed: Option<(&str, &str)>,
    reasons: &mut Vec<Reason>,
) -> Option<String> {
    let (command, from) = match &settings.build_command {
        Some(command) => (command.trim(), "the setting `build.command`"),
        None => needed?,
    };
    let decided = if command.is_empty() { "no build".to_owned() } else { format!("build: `{command}`") };
    reasons.push(Reason { decided, from: from.to_owned() });
    (!command.is_empty()).then(|| command.to_owned())
}

/// A plan without a runtime.
pub(super) fn plan(tree: &Tree<'_>, site: SitePlan, build_command: Option<String>, reasons: Vec<Reason>) -> Plan {
    Plan {
        kind: ServiceKind::Static,
        root: tree.directory().to_owned(),
        framework: None,
        toolchains: Vec::new(),
        package_manager: None,
        install: None,
        build_command,
        start: Start::Site(site),
        pre_deploy_command: None,
        build_env: BTreeMap::new(),
        run_env: BTreeMap::new(),
        cache_dirs: Vec::new(),
        public_prefixes: Vec::new(),
        rules: SiteRules::default(),
        reasons,
    }
}
