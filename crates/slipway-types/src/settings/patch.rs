//! The part of the settings that somebody has said something about: `slipway.toml` and `service set` have this shape.

use super::{
    ByteSize, DurationMs, HealthSettings, REPLICAS_MAX, ResourceLimits, RunPatch, ServiceKind, ServiceSettings,
};
use crate::name::{ProjectName, ServiceName};
use serde::{Deserialize, Serialize};

/// `slipway.toml`: where the source belongs, and how it is built and run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manifest {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    #[serde(flatten)]
    pub settings: SettingsPatch,
}

/// Settings of which each may be unsaid. Unknown keys are refused by [`SettingsPatch::unknown_keys`], because a
/// misspelt key that is silently ignored costs its owner an afternoon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingsPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ServiceKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_deploy_command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_deploy_timeout: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_grace: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildPatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthPatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<LimitsPatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunPatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<SitePatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sleep: Option<SleepPatch>,
}

/// `[build]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub install_command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prune: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
}

/// `[health]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_timeout: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stable_window: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watch_interval: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_window: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<LivenessPatch>,
}

/// `[health.liveness]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LivenessPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationMs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
}

/// `[resources]`: limits of each running replica.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<ByteSize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes_max: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<ByteSize>,
}

/// `[site]`: what is published when the service is files without a process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SitePatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
}

/// `[sleep]`: when a web service without requests is put to sleep.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SleepPatch {
    /// Zero: never, whatever was said before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<DurationMs>,
}

/// A setting that can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("`{key} = {value}` is out of range: {allowed}")]
    OutOfRange { key: &'static str, value: String, allowed: String },
    #[error("`{key} = \"{value}\"` is not usable: {allowed}")]
    NotUsable { key: &'static str, value: String, allowed: &'static str },
    #[error("there is no setting `{key}`{}", .nearest.as_ref().map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    Unknown { key: String, nearest: Option<String> },
}

const TOP_LEVEL_KEYS: [&str; 16] = [
    "project",
    "service",
    "kind",
    "root",
    "start_command",
    "pre_deploy_command",
    "pre_deploy_timeout",
    "port",
    "replicas",
    "stop_grace",
    "build",
    "health",
    "resources",
    "run",
    "site",
    "sleep",
];

/// Smallest memory with which Node.js starts at all.
const MEMORY_MIN: ByteSize = ByteSize::mebibytes(32);
/// The agent, a shell and one process.
const PROCESSES_MIN: u32 = 8;
const DISK_MIN: ByteSize = ByteSize::mebibytes(16);
/// A start takes about that long, so that less would be nothing but starts.
const SLEEP_AFTER_MIN: DurationMs = DurationMs::seconds(1);
/// A month. Who wants more wants no sleep.
const SLEEP_AFTER_MAX: DurationMs = DurationMs::seconds(31 * 24 * 3600);

impl SettingsPatch {
    /// Refuses keys that mean nothing, with the nearest one that does.
    ///
    /// # Errors
    /// [`SettingsError::Unknown`] for the first such key.
    pub fn check_keys<'k>(keys: impl Iterator<Item = &'k str>) -> Result<(), SettingsError> {
        for key in keys {
            if !TOP_LEVEL_KEYS.contains(&key) {
                return Err(SettingsError::Unknown { key: key.to_owned(), nearest: nearest_key(key) });
            }
        }
        Ok(())
    }

    /// Puts what `self` says over `settings`.
    pub fn apply_to(&self, settings: &mut ServiceSettings) {
        set(&mut settings.kind, &self.kind);
        set(&mut settings.root, &self.root);
        set_some(&mut settings.start_command, &self.start_command);
        set_some(&mut settings.pre_deploy_command, &self.pre_deploy_command);
        set(&mut settings.pre_deploy_timeout, &self.pre_deploy_timeout);
        set(&mut settings.port, &self.port);
        set(&mut settings.replicas, &self.replicas);
        set(&mut settings.stop_grace, &self.stop_grace);
        if let Some(build) = &self.build {
            build.apply_to(settings);
        }
        if let Some(health) = &self.health {
            health.apply_to(&mut settings.health);
        }
        if let Some(resources) = &self.resources {
            resources.apply_to(&mut settings.run);
        }
        set(&mut settings.reload, &self.run.as_ref().and_then(|run| run.reload));
        if let Some(site) = &self.site {
            set_some(&mut settings.site_directory, &site.directory);
            set_some(&mut settings.site_fallback, &site.fallback);
        }
        if let Some(after) = self.sleep.as_ref().and_then(|sleep| sleep.after) {
            settings.sleep_after = Some(after).filter(|after| after.0 > 0);
        }
    }

    /// Puts what `newer` says over what `self` says.
    #[must_use]
    pub fn merged_with(&self, newer: &SettingsPatch) -> SettingsPatch {
        let mut merged = self.clone();
        merge(&mut merged.kind, &newer.kind);
        merge(&mut merged.root, &newer.root);
        merge(&mut merged.start_command, &newer.start_command);
        merge(&mut merged.pre_deploy_command, &newer.pre_deploy_command);
        merge(&mut merged.pre_deploy_timeout, &newer.pre_deploy_timeout);
        merge(&mut merged.port, &newer.port);
        merge(&mut merged.replicas, &newer.replicas);
        merge(&mut merged.stop_grace, &newer.stop_grace);
        if let Some(newer) = &newer.build {
            merged.build.get_or_insert_default().merge_from(newer);
        }
        if let Some(newer) = &newer.health {
            merged.health.get_or_insert_default().merge_from(newer);
        }
        if let Some(newer) = &newer.resources {
            let resources = merged.resources.get_or_insert_default();
            merge(&mut resources.memory, &newer.memory);
            merge(&mut resources.cpus, &newer.cpus);
            merge(&mut resources.processes_max, &newer.processes_max);
            merge(&mut resources.disk, &newer.disk);
        }
        if let Some(newer) = &newer.run {
            merge(&mut merged.run.get_or_insert_default().reload, &newer.reload);
        }
        if let Some(newer) = &newer.site {
            let site = merged.site.get_or_insert_default();
            merge(&mut site.directory, &newer.directory);
            merge(&mut site.fallback, &newer.fallback);
        }
        if let Some(newer) = &newer.sleep {
            merge(&mut merged.sleep.get_or_insert_default().after, &newer.after);
        }
        merged
    }
}

impl BuildPatch {
    fn apply_to(&self, settings: &mut ServiceSettings) {
        set_some(&mut settings.install_command, &self.install_command);
        set_some(&mut settings.build_command, &self.command);
        set_some(&mut settings.node_version, &self.node_version);
        set_some(&mut settings.python_version, &self.python_version);
        set_some(&mut settings.ignore_command, &self.ignore);
        set(&mut settings.prune, &self.prune);
        set(&mut settings.build_variables, &self.variables);
        set(&mut settings.build_timeout, &self.timeout);
        set(&mut settings.build.memory, &self.memory);
        set(&mut settings.build.cpus, &self.cpus);
        set(&mut settings.build.processes_max, &self.processes_max);
        set(&mut settings.build.disk, &self.disk);
    }

    fn merge_from(&mut self, newer: &BuildPatch) {
        merge(&mut self.install_command, &newer.install_command);
        merge(&mut self.command, &newer.command);
        merge(&mut self.node_version, &newer.node_version);
        merge(&mut self.python_version, &newer.python_version);
        merge(&mut self.ignore, &newer.ignore);
        merge(&mut self.prune, &newer.prune);
        merge(&mut self.variables, &newer.variables);
        merge(&mut self.timeout, &newer.timeout);
        merge(&mut self.memory, &newer.memory);
        merge(&mut self.cpus, &newer.cpus);
        merge(&mut self.processes_max, &newer.processes_max);
        merge(&mut self.disk, &newer.disk);
    }
}

impl HealthPatch {
    fn apply_to(&self, health: &mut HealthSettings) {
        set_some(&mut health.path, &self.path);
        set(&mut health.interval, &self.interval);
        set(&mut health.timeout, &self.timeout);
        set(&mut health.start_timeout, &self.start_timeout);
        set(&mut health.stable_window, &self.stable_window);
        set(&mut health.watch_interval, &self.watch_interval);
        set(&mut health.rollback_window, &self.rollback_window);
        if let Some(liveness) = &self.liveness {
            set_some(&mut health.liveness.path, &liveness.path);
            set(&mut health.liveness.interval, &liveness.interval);
            set(&mut health.liveness.timeout, &liveness.timeout);
            set(&mut health.liveness.failures, &liveness.failures);
        }
    }

    fn merge_from(&mut self, newer: &HealthPatch) {
        merge(&mut self.path, &newer.path);
        merge(&mut self.interval, &newer.interval);
        merge(&mut self.timeout, &newer.timeout);
        merge(&mut self.start_timeout, &newer.start_timeout);
        merge(&mut self.stable_window, &newer.stable_window);
        merge(&mut self.watch_interval, &newer.watch_interval);
        merge(&mut self.rollback_window, &newer.rollback_window);
        if let Some(newer) = &newer.liveness {
            let liveness = self.liveness.get_or_insert_default();
            merge(&mut liveness.path, &newer.path);
            merge(&mut liveness.interval, &newer.interval);
            merge(&mut liveness.timeout, &newer.timeout);
            merge(&mut liveness.failures, &newer.failures);
        }
    }
}

impl LimitsPatch {
    fn apply_to(&self, limits: &mut ResourceLimits) {
        set(&mut limits.memory, &self.memory);
        set(&mut limits.cpus, &self.cpus);
        set(&mut limits.processes_max, &self.processes_max);
        set(&mut limits.disk, &self.disk);
    }
}

impl ServiceSettings {
    /// The defaults, then `patches` in order, checked.
    ///
    /// # Errors
    /// When a value is out of its range; the message names the key and the range.
    pub fn resolve<'p>(patches: impl IntoIterator<Item = &'p SettingsPatch>) -> Result<Self, SettingsError> {
        let mut settings = Self::default();
        for patch in patches {
            patch.apply_to(&mut settings);
        }
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), SettingsError> {
        in_range("replicas", self.replicas, 1, REPLICAS_MAX)?;
        in_range("port", self.port, 1, u16::MAX)?;
        check_limits(&self.run, ["resources.memory", "resources.cpus", "resources.processes_max", "resources.disk"])?;
        check_limits(&self.build, ["build.memory", "build.cpus", "build.processes_max", "build.disk"])?;
        self.check_sleep()?;
        let probed = [("health.path", &self.health.path), ("health.liveness.path", &self.health.liveness.path)];
        for (key, path) in probed {
            let Some(path) = path.as_ref().filter(|path| !path.starts_with('/')) else { continue };
            return Err(SettingsError::NotUsable { key, value: path.clone(), allowed: "a path starts with `/`" });
        }
        let paths = [("root", Some(&self.root)), ("site.directory", self.site_directory.as_ref())];
        for (key, path) in paths {
            let Some(path) = path.filter(|path| leads_out(path)) else { continue };
            let allowed = "a relative path inside the source, without `..`";
            return Err(SettingsError::NotUsable { key, value: path.clone(), allowed });
        }
        Ok(())
    }
}

impl ServiceSettings {
    fn check_sleep(&self) -> Result<(), SettingsError> {
        let Some(after) = self.sleep_after else { return Ok(()) };
        in_range("sleep.after", after, SLEEP_AFTER_MIN, SLEEP_AFTER_MAX)?;
        if self.kind == ServiceKind::Web {
            return Ok(());
        }
        let allowed = "only a web service sleeps, because only a request can wake it";
        Err(SettingsError::NotUsable { key: "sleep.after", value: after.to_string(), allowed })
    }
}

fn leads_out(path: &str) -> bool {
    path.starts_with('/') || path.split('/').any(|part| part == "..")
}

fn check_limits(limits: &ResourceLimits, keys: [&'static str; 4]) -> Result<(), SettingsError> {
    in_range(keys[0], limits.memory, MEMORY_MIN, ByteSize::mebibytes(1 << 20))?;
    in_range(keys[1], limits.cpus, 0.05, 256.0)?;
    in_range(keys[2], limits.processes_max, PROCESSES_MIN, 1 << 20)?;
    in_range(keys[3], limits.disk, DISK_MIN, ByteSize::mebibytes(16 << 20))
}

fn in_range<T: PartialOrd + std::fmt::Display>(
    key: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), SettingsError> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(SettingsError::OutOfRange { key, value: value.to_string(), allowed: format!("{least} to {most}") })
}

fn set<T: Clone>(target: &mut T, said: &Option<T>) {
    if let Some(value) = said {
        *target = value.clone();
    }
}

fn set_some<T: Clone>(target: &mut Option<T>, said: &Option<T>) {
    merge(target, said);
}

fn merge<T: Clone>(target: &mut Option<T>, newer: &Option<T>) {
    if newer.is_some() {
        target.clone_from(newer);
    }
}

/// The known key with the longest shared beginning; none when not even half of it is shared.
fn nearest_key(key: &str) -> Option<String> {
    let shared = |known: &str| known.bytes().zip(key.bytes()).take_while(|(a, b)| a == b).count();
    TOP_LEVEL_KEYS
        .into_iter()
        .max_by_key(|known| shared(known))
        .filter(|known| shared(known) * 2 >= known.len())
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_patch_wins_and_silence_keeps() {
        let stored = SettingsPatch { replicas: Some(2), port: Some(8080), ..Default::default() };
        let file = SettingsPatch { replicas: Some(3), ..Default::default() };
        let settings = ServiceSettings::resolve([&stored, &file]).unwrap();
        assert_eq!((settings.replicas, settings.port), (3, 8080));
        assert_eq!(ServiceSettings::resolve([&stored.merged_with(&file)]).unwrap(), settings);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let patch = SettingsPatch { replicas: Some(0), ..Default::default() };
        assert_eq!(
            ServiceSettings::resolve([&patch]).unwrap_err().to_string(),
            "`replicas = 0` is out of range: 1 to 32"
        );
        let escape = SettingsPatch { root: Some("../x".into()), ..Default::default() };
        assert!(ServiceSettings::resolve([&escape]).is_err());
    }

    #[test]
    fn sleep_is_for_web_services_and_zero_takes_it_back() {
        let after =
            |ms| SettingsPatch { sleep: Some(SleepPatch { after: Some(DurationMs(ms)) }), ..Default::default() };
        let resolved = |patches: &[SettingsPatch]| ServiceSettings::resolve(patches).map(|all| all.sleep_after);
        assert_eq!(resolved(&[]), Ok(None));
        assert_eq!(resolved(&[after(600_000)]), Ok(Some(DurationMs(600_000))));
        assert_eq!(resolved(&[after(600_000), after(0)]), Ok(None));
        assert_eq!(resolved(&[after(600_000).merged_with(&after(0))]), Ok(None));
        assert_eq!(
            resolved(&[after(999)]).unwrap_err().to_string(),
            "`sleep.after = 999 ms` is out of range: 1 s to 44640 m"
        );
        let worker = SettingsPatch { kind: Some(ServiceKind::Worker), ..after(600_000) };
        assert!(resolved(&[worker]).unwrap_err().to_string().contains("only a web service sleeps"));
    }

    #[test]
    fn a_misspelt_key_is_refused_with_the_nearest() {
        let refusal = SettingsPatch::check_keys(["port", "replica"].into_iter()).unwrap_err();
        assert_eq!(refusal.to_string(), "there is no setting `replica`; did you mean `replicas`?");
    }
}
