//! Install: the dependencies of a lockfile, once for all builds with the same key.

use super::command::{Looked, SandboxCommand};
use super::{PhaseContext, PhaseEnd, older, with_causes};
use crate::head::Head;
use crate::key::Dependencies;
use crate::tree::TreeError;
use crate::{blocking, environment, key, key_file, tree};
use slipway_layers::{LayerLock, image};
use slipway_types::host::{CommandSpec, Evidence, PhaseOutput};
use slipway_types::settings::DurationMs;
use slipway_types::{DeploymentId, LayerRef, WrittenBy};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one try for the lock of a layer lasts; between two, a cancel is noticed.
const LOCK_TRY: Duration = Duration::from_millis(200);

impl PhaseContext<'_> {
    pub(super) async fn install(&self, spec: &CommandSpec) -> Result<PhaseOutput, PhaseEnd> {
        let wanted = self.dependencies_key(spec).await?;
        let layer = wanted.layer.clone();
        // Before the lock, which whoever fetches it takes.
        self.bring_back(&layer).await;
        let _lock = self.lock(&layer).await?;
        if self.host.store.contains(&layer) {
            self.reuse(&wanted).await;
            return Ok(PhaseOutput::Install { layer, reused: true });
        }
        let image = self.empty_image("install.img").await;
        let began = Instant::now();
        let generation = match self.install_on_older(spec, &wanted, &image).await? {
            Some(generation) => generation,
            None => {
                let left = spec.timeout.as_duration().saturating_sub(began.elapsed());
                let left = DurationMs(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
                self.run_install(spec, &spec.command, &image, left, false).await?;
                0
            }
        };
        self.publish_written(image, &layer).await?;
        self.note(&wanted, Some(self.spec.deployment.clone()), generation).await;
        Ok(PhaseOutput::Install { layer, reused: false })
    }

    /// Nothing runs: the layer is there.
    async fn reuse(&self, wanted: &Dependencies) {
        let (store, layer) = (self.host.store.clone(), wanted.layer.clone());
        let (age, record) = blocking(move || {
            store.touch(&layer);
            (age_of(&store.path(&layer)), store.record(&layer))
        })
        .await;
        let head = self.head_of(&wanted.layer);
        let by = head.as_ref().and_then(|head| head.made_by.as_ref());
        let made_by = match (by, record.made_for) {
            (Some(deployment), _) => format!(" by deployment {deployment}"),
            (None, Some(service)) if service == self.spec.service_id => " by this service".to_owned(),
            (None, Some(_)) => " by another service".to_owned(),
            (None, None) => String::new(),
        };
        let when = age.map_or_else(String::new, |age| format!(", made {}{made_by}", ago(age)));
        self.log.say(format!("dependencies are unchanged; nothing to install (layer `{}`{when})", wanted.layer)).await;
        let (made_by, generation) = head.map(|head| (head.made_by, head.generation)).unwrap_or_default();
        self.note(wanted, made_by, generation).await;
    }

    fn head_of(&self, layer: &LayerRef) -> Option<Head> {
        let heads =
            self.spec.lineage.candidates().filter_map(|branch| self.host.heads.read(&self.spec.service_id, branch));
        heads.into_iter().find(|head| head.layer == *layer)
    }

    /// The next install of this branch whose key is another begins from this layer.
    async fn note(&self, wanted: &Dependencies, made_by: Option<DeploymentId>, generation: u32) {
        let head = Head { layer: wanted.layer.clone(), family: wanted.family.clone(), made_by, generation };
        let (heads, service) = (self.host.heads.clone(), self.spec.service_id.clone());
        let branch = self.spec.lineage.branch.clone();
        blocking(move || heads.write(&service, &branch, &head)).await;
    }

    /// The install on the tree of an earlier one. None: there is none of use, or the install failed on it; then nothing of it is
    /// left, and what counts is an install from nothing.
    async fn install_on_older(
        &self,
        spec: &CommandSpec,
        wanted: &Dependencies,
        image: &Path,
    ) -> Result<Option<u32>, PhaseEnd> {
        let Some(older) = self.older_tree(spec, wanted, image).await else { return Ok(None) };
        let why = match self.run_install(spec, &older.command, image, spec.timeout, true).await {
            Ok(looked) => match self.rewritten(spec, image, &looked).await? {
                None => return Ok(Some(older.generation)),
                Some(file) => format!("it changed `{file}`"),
            },
            Err(PhaseEnd::Failed(evidence)) if !self.cancel.is_cancelled() && evidence.timed_out_after.is_none() => {
                said(&evidence)
            }
            Err(end) => return Err(end),
        };
        self.log.say(format!("the install on earlier dependencies is not used ({why}); installing from nothing")).await;
        tokio::fs::remove_file(image).await.map_err(|error| self.disk_error("remove", image, &error))?;
        Ok(None)
    }

    async fn run_install(
        &self,
        spec: &CommandSpec,
        command: &str,
        image: &Path,
        timeout: DurationMs,
        on_older: bool,
    ) -> Result<Looked, PhaseEnd> {
        let in_machine = on_older && self.host.written_by() == WrittenBy::Guest;
        let mut layers = spec.layers.clone();
        layers.push(key::source(&self.spec.deployment));
        self.log.say(format!("$ {command}")).await;
        self.run_in_sandbox(SandboxCommand {
            layers: &layers,
            image: image.to_owned(),
            cache: None,
            command,
            cwd: directory_in_app(&spec.cwd),
            env: environment::of_build(&spec.path, self.host.config.sandbox.ca_env(), &spec.env),
            limits: spec.limits,
            timeout,
            becomes_layer: true,
            older_tree: in_machine,
            look_at: if in_machine { older::lockfiles(&spec.key_files) } else { Vec::new() },
        })
        .await
    }

    /// A lockfile that the install has changed, instead of doing what it says.
    async fn rewritten(&self, spec: &CommandSpec, image: &Path, looked: &Looked) -> Result<Option<String>, PhaseEnd> {
        let files = older::lockfiles(&spec.key_files);
        if self.host.written_by() == WrittenBy::Guest {
            let asked = files.clone();
            let source = self.in_source(move |app| tree::digests(app, &asked)).await?;
            return Ok(files.into_iter().find(|file| source.get(file).copied().flatten() != looked.get(file).copied()));
        }
        let (image, at) = (image.to_owned(), self.scratch.join("written"));
        blocking(move || {
            let mounted = image::mount(&image, &at, image::ReadOnly)?;
            let file = older::written(&mounted.upper().join("app"), &files).cloned();
            mounted.unmount()?;
            Ok(file)
        })
        .await
    }

    /// Reads the source, which is the host's own work on every driver.
    async fn in_source<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Path) -> Result<T, TreeError> + Send + 'static,
    ) -> Result<T, PhaseEnd> {
        let source = self.host.store.path(&key::source(&self.spec.deployment));
        let at = self.scratch.join("read");
        blocking(move || {
            let mounted = image::mount(&source, &at, image::ReadOnly)?;
            let read = read(&mounted.upper().join("app"));
            mounted.unmount()?;
            read.map_err(|error| PhaseEnd::host_error("layer-failed", with_causes(&error)))
        })
        .await
    }

    async fn dependencies_key(&self, spec: &CommandSpec) -> Result<Dependencies, PhaseEnd> {
        let files = spec.key_files.clone();
        let files = self.in_source(move |app| key_file::read(app, &files)).await?;
        Ok(key::dependencies(spec, &files, self.host.written_by()))
    }

    /// Two builds with the same key install once.
    async fn lock(&self, layer: &LayerRef) -> Result<LayerLock, PhaseEnd> {
        let mut said = false;
        loop {
            let (store, wanted) = (self.host.store.clone(), layer.clone());
            if let Some(lock) = blocking(move || store.lock_within(&wanted, LOCK_TRY)).await? {
                return Ok(lock);
            }
            if self.cancel.is_cancelled() {
                return Err(PhaseEnd::Canceled);
            }
            if !std::mem::replace(&mut said, true) {
                self.log.say("another deployment installs the same dependencies; waiting for it").await;
            }
        }
    }

    /// Makes a layer of what a command wrote. Its sandbox tidied it; here it is a rename.
    pub(super) async fn publish_written(&self, image: std::path::PathBuf, layer: &LayerRef) -> Result<(), PhaseEnd> {
        let (store, layer) = (self.host.store.clone(), layer.clone());
        let service = self.spec.service_id.clone();
        blocking(move || {
            store.publish(&image, &layer)?;
            if let Err(error) = store.update_record(&layer, |record| record.made_for = Some(service)) {
                tracing::warn!(%error, %layer, "whose layer it is stays unknown");
            }
            Ok(())
        })
        .await
    }
}

fn said(evidence: &Evidence) -> String {
    match (&evidence.host_error, evidence.exit.and_then(|exit| exit.code)) {
        (Some(error), _) => error.message.clone(),
        (None, Some(code)) => format!("the command exited with status {code}"),
        (None, None) => "the command was killed".to_owned(),
    }
}

fn age_of(image: &Path) -> Option<Duration> {
    fs::metadata(image).and_then(|found| found.modified()).ok()?.elapsed().ok()
}

/// For people: the largest unit alone.
fn ago(age: Duration) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (count, unit) = units
        .into_iter()
        .find_map(|(seconds, unit)| Some((age.as_secs() / seconds, unit)).filter(|(count, _)| *count > 0))
        .unwrap_or((1, "second"));
    format!("{count} {unit}{} ago", if count == 1 { "" } else { "s" })
}

/// `/app`, or a directory below it.
pub(super) fn directory_in_app(cwd: &str) -> String {
    let cwd = cwd.trim_matches('/');
    if cwd.is_empty() || cwd == "." { "/app".to_owned() } else { format!("/app/{cwd}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_said_in_its_largest_unit() {
        for (seconds, expected) in
            [(0, "1 second ago"), (59, "59 seconds ago"), (3600, "1 hour ago"), (200_000, "2 days ago")]
        {
            assert_eq!(ago(Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn directories_are_below_app() {
        for (cwd, expected) in [("", "/app"), (".", "/app"), ("web", "/app/web"), ("a/b/", "/app/a/b")] {
            assert_eq!(directory_in_app(cwd), expected);
        }
    }
}
