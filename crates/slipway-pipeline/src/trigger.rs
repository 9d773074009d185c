//! What a change leads to: of each setting, and of variables. The table in the documentation is held against this one.

use std::fmt;

/// What has to happen before a change counts for what is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: it says where the source belongs, or whether it is deployed.
    Nothing,
    /// It counts for whatever is built next, and does not force a build.
    NextBuild,
    /// A redeploy takes the image that is there: new replicas, the route switched once they are ready.
    Redeploy,
    /// A redeploy builds.
    Build,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effect::Nothing => "nothing that runs is changed by it",
            Effect::NextBuild => "it counts for the next build",
            Effect::Redeploy => "`slipway redeploy` applies it without a build",
            Effect::Build => "`slipway redeploy` applies it and builds again",
        })
    }
}

/// Of each key of `slipway.toml`, in the order of the documentation. `replicas` alone counts at once, by `slipway scale`.
pub const SETTING_EFFECTS: &[(&str, Effect)] = &[
    ("project", Effect::Nothing),
    ("service", Effect::Nothing),
    ("build.ignore", Effect::Nothing),
    ("build.variables", Effect::NextBuild),
    ("build.timeout", Effect::NextBuild),
    ("build.memory", Effect::NextBuild),
    ("build.cpus", Effect::NextBuild),
    ("build.processes_max", Effect::NextBuild),
    ("build.disk", Effect::NextBuild),
    ("pre_deploy_command", Effect::Redeploy),
    ("pre_deploy_timeout", Effect::Redeploy),
    ("port", Effect::Redeploy),
    ("replicas", Effect::Redeploy),
    ("stop_grace", Effect::Redeploy),
    ("run.reload", Effect::Redeploy),
    ("sleep.after", Effect::Redeploy),
    ("health.path", Effect::Redeploy),
    ("health.interval", Effect::Redeploy),
    ("health.timeout", Effect::Redeploy),
    ("health.start_timeout", Effect::Redeploy),
    ("health.stable_window", Effect::Redeploy),
    ("health.watch_interval", Effect::Redeploy),
    ("health.rollback_window", Effect::Redeploy),
    ("health.liveness.path", Effect::Redeploy),
    ("health.liveness.interval", Effect::Redeploy),
    ("health.liveness.timeout", Effect::Redeploy),
    ("health.liveness.failures", Effect::Redeploy),
    ("resources.memory", Effect::Redeploy),
    ("resources.cpus", Effect::Redeploy),
    ("resources.processes_max", Effect::Redeploy),
    ("resources.disk", Effect::Redeploy),
    ("kind", Effect::Build),
    ("root", Effect::Build),
    ("start_command", Effect::Build),
    ("build.install_command", Effect::Build),
    ("build.command", Effect::Build),
    ("build.node_version", Effect::Build),
    ("build.python_version", Effect::Build),
    ("build.prune", Effect::Build),
    ("site.directory", Effect::Build),
    ("site.fallback", Effect::Build),
];

/// None: there is no such setting.
pub fn setting_effect(key: &str) -> Option<Effect> {
    SETTING_EFFECTS.iter().find(|(known, _)| *known == key).map(|(_, effect)| *effect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BuildInputs;
    use serde_json::{Map, Value, json};
    use slipway_types::settings::{
        BuildPatch, ByteSize, DurationMs, HealthPatch, LimitsPatch, LivenessPatch, Manifest, ReloadMode, RunPatch,
        SitePatch, SleepPatch,
    };
    use slipway_types::{ProjectName, ServiceKind, ServiceName, ServiceSettings, SettingsPatch};
    use std::collections::{BTreeMap, BTreeSet};

    const DOCUMENTATION: &str = include_str!("../../../docs/configuration.md");

    /// Every setting, with another value than its default. Nothing is left out by `..`: a new one does not compile until it
    /// stands here, and then has no row.
    fn everything() -> Manifest {
        let (text, size, time) = (|| Some("x".to_owned()), Some(ByteSize::mebibytes(64)), Some(DurationMs(1234)));
        let path = || Some("/x".to_owned());
        let settings = SettingsPatch {
            kind: Some(ServiceKind::Worker),
            root: text(),
            start_command: text(),
            pre_deploy_command: text(),
            pre_deploy_timeout: time,
            port: Some(4000),
            replicas: Some(3),
            stop_grace: time,
            build: Some(BuildPatch {
                install_command: text(),
                command: text(),
                node_version: text(),
                python_version: text(),
                ignore: text(),
                prune: Some(true),
                variables: Some(vec!["A".to_owned()]),
                timeout: time,
                memory: size,
                cpus: Some(0.5),
                processes_max: Some(64),
                disk: size,
            }),
            health: Some(HealthPatch {
                path: path(),
                interval: time,
                timeout: time,
                start_timeout: time,
                stable_window: time,
                watch_interval: time,
                rollback_window: time,
                liveness: Some(LivenessPatch { path: path(), interval: time, timeout: time, failures: Some(9) }),
            }),
            resources: Some(LimitsPatch { memory: size, cpus: Some(0.5), processes_max: Some(64), disk: size }),
            run: Some(RunPatch { reload: Some(ReloadMode::Signal) }),
            site: Some(SitePatch { directory: text(), fallback: text() }),
            sleep: Some(SleepPatch { after: time }),
        };
        let (project, service) = (ProjectName::parse("p").ok(), ServiceName::parse("s").ok());
        Manifest { project, service, settings }
    }

    /// Keys with dots, each with the smallest document that says it alone.
    fn each(prefix: &str, value: &Value) -> Vec<(String, Value)> {
        let Value::Object(members) = value else { return vec![(prefix.to_owned(), value.clone())] };
        let of_member = |(name, value): (&String, &Value)| {
            let below = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            each(&below, value)
        };
        members.iter().flat_map(of_member).collect()
    }

    fn alone(key: &str, value: Value) -> SettingsPatch {
        let document = key.rsplit('.').fold(value, |value, name| Value::Object(Map::from_iter([(name.into(), value)])));
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn every_setting_has_a_row_that_says_what_it_does() {
        let all = each("", &json!(everything()));
        let (keys, rows): (BTreeSet<_>, BTreeSet<_>) =
            (all.iter().map(|(key, _)| key.as_str()).collect(), SETTING_EFFECTS.iter().map(|(key, _)| *key).collect());
        assert_eq!(keys, rows);
        assert_eq!(rows.len(), SETTING_EFFECTS.len(), "a row stands twice");
        let inputs = |settings: &ServiceSettings| {
            BuildInputs::new("up-1".into(), "production".into(), settings, BTreeMap::new())
        };
        let defaults = ServiceSettings::default();
        for (key, value) in all {
            let effect = setting_effect(&key).unwrap();
            if ["project", "service"].contains(&key.as_str()) {
                continue;
            }
            let settings = ServiceSettings::resolve([&alone(&key, value)]).unwrap();
            assert_ne!(settings, defaults, "`{key}` changes nothing");
            let why = inputs(&defaults).changed(&inputs(&settings));
            assert_eq!(why.is_some(), effect == Effect::Build, "`{key}`: {why:?}");
        }
    }

    #[test]
    fn the_documentation_says_the_same() {
        let begin = DOCUMENTATION.find("## What a change leads to").expect("the chapter");
        let chapter = &DOCUMENTATION[begin..];
        let chapter = &chapter[..chapter[3..].find("\n## ").map_or(chapter.len(), |end| end + 3)];
        let line = |effect: Effect| {
            let name = match effect {
                Effect::Nothing => "| nothing |",
                Effect::NextBuild => "| the next build |",
                Effect::Redeploy => "| new replicas |",
                Effect::Build => "| a new build |",
            };
            chapter.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no row `{name}`"))
        };
        for (key, effect) in SETTING_EFFECTS {
            let row = line(*effect);
            assert!(row.contains(&format!("`{key}`")), "`{key}` is not in the row {row}");
        }
    }
}
