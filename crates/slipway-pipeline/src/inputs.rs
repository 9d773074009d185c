//! What a build reads, in a form that is stored: whether a deployment of the same source can take an image that is there.
//!
//! A value that the owner gave to the build is here only as a digest, made by the caller with a key of its own, so that
//! no value can be guessed from what is stored.

use serde::{Deserialize, Serialize};
use slipway_types::{ServiceKind, ServiceSettings};
use std::collections::BTreeMap;

/// Rises when the same inputs no longer mean the same image, or another input counts.
const FORMAT: u32 = 2;
/// Names that a sentence lists; the rest is counted.
const NAMED_MAX: usize = 3;

/// Everything that decides what a build makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildInputs {
    format: u32,
    /// The upload, or the commit with its repository.
    source: String,
    /// What the source's own configuration is resolved for, such as a branch. Images of format 1 do not say.
    #[serde(default)]
    context: String,
    settings: BuildSettings,
    /// Keyed digests of the variables that install and build commands get, by name.
    variables: BTreeMap<String, String>,
}

/// The settings that detection and the build read. All others are of the running app, or only limit the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct BuildSettings {
    kind: ServiceKind,
    root: String,
    install_command: Option<String>,
    build_command: Option<String>,
    /// Part of the image.
    start_command: Option<String>,
    node_version: Option<String>,
    python_version: Option<String>,
    prune: bool,
    site_directory: Option<String>,
    site_fallback: Option<String>,
}

impl Default for BuildSettings {
    fn default() -> Self {
        Self::of(&ServiceSettings::default())
    }
}

impl BuildSettings {
    /// Named one by one, so that a new setting does not compile until it is decided which side it is on.
    fn of(settings: &ServiceSettings) -> Self {
        let ServiceSettings {
            kind,
            root,
            install_command,
            build_command,
            start_command,
            node_version,
            python_version,
            prune,
            site_directory,
            site_fallback,
            build_variables: _,
            // Whether it is built, not what.
            ignore_command: _,
            pre_deploy_command: _,
            port: _,
            replicas: _,
            stop_grace: _,
            reload: _,
            sleep_after: _,
            build_timeout: _,
            pre_deploy_timeout: _,
            health: _,
            run: _,
            build: _,
        } = settings.clone();
        Self {
            kind,
            root,
            install_command,
            build_command,
            start_command,
            node_version,
            python_version,
            prune,
            site_directory,
            site_fallback,
        }
    }

    /// As their owner writes it.
    fn changed(&self, now: &Self) -> Vec<String> {
        let pairs = [
            ("kind", self.kind != now.kind),
            ("root", self.root != now.root),
            ("build.install_command", self.install_command != now.install_command),
            ("build.command", self.build_command != now.build_command),
            ("start_command", self.start_command != now.start_command),
            ("build.node_version", self.node_version != now.node_version),
            ("build.python_version", self.python_version != now.python_version),
            ("build.prune", self.prune != now.prune),
            ("site.directory", self.site_directory != now.site_directory),
            ("site.fallback", self.site_fallback != now.site_fallback),
        ];
        pairs.into_iter().filter(|(_, changed)| *changed).map(|(name, _)| name.to_owned()).collect()
    }
}

impl BuildInputs {
    pub fn new(
        source: String,
        context: String,
        settings: &ServiceSettings,
        variables: BTreeMap<String, String>,
    ) -> Self {
        Self { format: FORMAT, source, context, settings: BuildSettings::of(settings), variables }
    }

    /// Why an image made of these can't stand for what `now` would make. None: it can.
    pub fn changed(&self, now: &BuildInputs) -> Option<String> {
        if self.format != now.format {
            return Some("the image is of an older version of Slipway".to_owned());
        }
        if self.source != now.source {
            return Some("the source is another one".to_owned());
        }
        if self.context != now.context {
            return Some(format!("the deploy context is `{}`, it was `{}`", now.context, self.context));
        }
        let settings = self.settings.changed(&now.settings);
        if !settings.is_empty() {
            return Some(sentence("setting", &settings));
        }
        let names = self.variables.keys().chain(now.variables.keys());
        let mut changed: Vec<_> = names.filter(|name| self.variables.get(*name) != now.variables.get(*name)).collect();
        changed.sort();
        changed.dedup();
        let changed: Vec<String> = changed.into_iter().cloned().collect();
        (!changed.is_empty()).then(|| sentence("variable", &changed))
    }
}

fn sentence(what: &str, names: &[String]) -> String {
    let named = names.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let plural = if names.len() == 1 { "" } else { "s" };
    match names.len().saturating_sub(NAMED_MAX) {
        0 => format!("the build reads the {what}{plural} {named}, which changed"),
        more => format!("the build reads the {what}{plural} {named} and {more} more, which changed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_types::settings::{ByteSize, DurationMs};

    fn inputs(settings: &ServiceSettings, variables: &[(&str, &str)]) -> BuildInputs {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        BuildInputs::new("up-1".into(), "production".into(), settings, variables)
    }

    type Change = fn(&mut ServiceSettings);

    #[test]
    fn what_the_build_reads_forces_one() {
        let before = ServiceSettings::default();
        let changes: [(&str, Change); 10] = [
            ("kind", |s| s.kind = ServiceKind::Worker),
            ("root", |s| s.root = "web".into()),
            ("build.install_command", |s| s.install_command = Some("x".into())),
            ("build.command", |s| s.build_command = Some("x".into())),
            ("start_command", |s| s.start_command = Some("x".into())),
            ("build.node_version", |s| s.node_version = Some("24".into())),
            ("build.python_version", |s| s.python_version = Some("3".into())),
            ("build.prune", |s| s.prune = true),
            ("site.directory", |s| s.site_directory = Some("dist".into())),
            ("site.fallback", |s| s.site_fallback = Some("index.html".into())),
        ];
        for (name, change) in changes {
            let mut after = before.clone();
            change(&mut after);
            let why = inputs(&before, &[]).changed(&inputs(&after, &[]));
            assert_eq!(why, Some(format!("the build reads the setting `{name}`, which changed")));
        }
    }

    #[test]
    fn what_only_the_running_app_reads_forces_none() {
        let before = ServiceSettings::default();
        let changes: [Change; 8] = [
            |s| s.pre_deploy_command = Some("x".into()),
            |s| s.port = 4000,
            |s| s.replicas = 3,
            |s| s.health.path = Some("/".into()),
            |s| s.run.memory = ByteSize::mebibytes(64),
            |s| s.build.memory = ByteSize::mebibytes(64),
            |s| s.build_timeout = DurationMs(1),
            |s| s.sleep_after = Some(DurationMs(1)),
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut after = before.clone();
            change(&mut after);
            assert_eq!(inputs(&before, &[]).changed(&inputs(&after, &[])), None, "change {index}");
        }
    }

    #[test]
    fn variables_that_are_new_other_or_gone_are_named() {
        let settings = ServiceSettings::default();
        let before = inputs(&settings, &[("A", "1"), ("B", "1"), ("D", "1")]);
        let why = |now: &[(&str, &str)]| before.changed(&inputs(&settings, now));
        assert_eq!(why(&[("A", "1"), ("B", "1"), ("D", "1")]), None);
        assert_eq!(
            why(&[("A", "1"), ("B", "2"), ("C", "1")]).as_deref(),
            Some("the build reads the variables `B`, `C`, `D`, which changed")
        );
        assert!(why(&[("E", "1")]).unwrap().contains("`A`, `B`, `D` and 1 more"));
    }

    #[test]
    fn another_source_context_or_format_is_another_image() {
        let settings = ServiceSettings::default();
        let before = inputs(&settings, &[]);
        assert!(before.changed(&BuildInputs { source: "up-2".into(), ..before.clone() }).is_some());
        let why = before.changed(&BuildInputs { context: "branch-deploy beta".into(), ..before.clone() });
        assert_eq!(why.as_deref(), Some("the deploy context is `branch-deploy beta`, it was `production`"));
        assert!(before.changed(&BuildInputs { format: FORMAT + 1, ..before.clone() }).is_some());
    }
}
