//! Install: the dependencies of a lockfile, once for all builds with the same key.

use super::command::{Looked, SandboxCommand};
use super::{PhaseContext, PhaseEnd, older, with_causes};
use crate::head::Head;
use crate::key::Dependencies;
use crate::tier::held_for_long;
use crate::tree::TreeError;
use crate::{blocking, environment, key, key_file, tree};
use slipway_layers::{LayerLock, image};
use slipway_types::host::{CommandSpec, Evidence, PhaseOutput};
use slipway_types::settings::DurationMs;
use slipway_types::{LayerRef, WrittenBy};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long one try for the lock of a layer lasts; between two, a cancel is noticed.
const LOCK_TRY: Duration = Duration::from_millis(200);

impl PhaseContext<'_> {
    pub(super) async fn install(&self, spec: &CommandSpec) -> Result<PhaseOutput, PhaseEnd> {
        let wanted = self.dependencies_key(spec).await?;
        let began = Instant::now();
        // What is there now stays; brought back before the lock, which whoever fetches it takes.
        let usable = self.usable(&wanted);
        self.hold(&usable).await;
        for layer in &usable {
            if self.bring_back(layer, "the layer is made again").await {
                break;
            }
        }
        let _lock = self.lock(&wanted.layer, spec.timeout.as_duration()).await?;
        if let Some(layer) = usable.into_iter().find(|layer| self.host.store.contains(layer)) {
            self.reuse(&layer, &wanted.family).await;
            return Ok(PhaseOutput::Install { layer, reused: true });
        }
        let (image, layer, generation) = match self.install_on_older(spec, &wanted).await? {
            Some((image, generation)) => {
                (image, wanted.of_line(&self.spec.service_id, &self.spec.lineage.branch), generation)
            }
            None => (self.install_from_nothing(spec, began).await?, wanted.layer.clone(), 0),
        };
        self.publish_written(image, &layer).await?;
        self.note_generation(&layer, generation).await;
        let (made_by, family) = (Some(self.spec.deployment.clone()), wanted.family);
        self.write_head(Head { layer: layer.clone(), family, made_by, generation, hung: false }).await;
        Ok(PhaseOutput::Install { layer, reused: false })
    }

    /// Layers that an install of this branch may use as they are, the best first: made from nothing; then made on an older tree
    /// by this branch, or by the default branch, which its branches trust. Never the other way round.
    fn usable(&self, wanted: &Dependencies) -> Vec<LayerRef> {
        let of_line = |branch| wanted.of_line(&self.spec.service_id, branch);
        std::iter::once(wanted.layer.clone()).chain(self.spec.lineage.candidates().map(of_line)).collect()
    }

    /// Nothing runs: the layer is there, and the next install of this branch begins from it.
    async fn reuse(&self, layer: &LayerRef, family: &str) {
        let (store, layer, family) = (self.host.store.clone(), layer.clone(), family.to_owned());
        let (heads, service, lineage) =
            (self.host.heads.clone(), self.spec.service_id.clone(), self.spec.lineage.clone());
        let (head, record, age) = blocking(move || {
            store.touch(&layer);
            let record = store.record(&layer);
            let mut known = lineage.candidates().filter_map(|branch| heads.read(&service, branch));
            let made_by = known.find(|head| head.layer == layer).and_then(|head| head.made_by);
            let age = age_of(&store.path(&layer));
            let head = Head { layer, family, made_by, generation: record.generation, hung: false };
            (head, record, age)
        })
        .await;
        let made_by = match (&head.made_by, record.made_for) {
            (Some(deployment), _) => format!(" by deployment {deployment}"),
            (None, Some(service)) if service == self.spec.service_id => " by this service".to_owned(),
            (None, Some(_)) => " by another service".to_owned(),
            (None, None) => String::new(),
        };
        let when = age.map_or_else(String::new, |age| format!(", made {}{made_by}", ago(age)));
        self.log.say(format!("dependencies are unchanged; nothing to install (layer `{}`{when})", head.layer)).await;
        self.write_head(head).await;
    }

    /// With the layer, for whoever begins from it: a head may be another's or older.
    async fn note_generation(&self, layer: &LayerRef, generation: u32) {
        let (store, layer) = (self.host.store.clone(), layer.clone());
        blocking(move || {
            if let Err(error) = store.update_record(&layer, |record| record.generation = generation) {
                tracing::warn!(%error, %layer, "it is not noted how many installs went on from one another");
            }
        })
        .await;
    }

    /// The next install of this branch whose key is another begins from this layer.
    async fn write_head(&self, head: Head) {
        if self.cancel.is_cancelled() {
            // Its service may be destroyed by now.
            return;
        }
        let (heads, service) = (self.host.heads.clone(), self.spec.service_id.clone());
        let branch = self.spec.lineage.branch.clone();
        blocking(move || heads.write(&service, &branch, &head)).await;
    }

    /// The install on the tree of an earlier one, in an image of its own. None: there is none of use, or the install failed on
    /// it; then what counts is an install from nothing, for which half of the time is left.
    async fn install_on_older(
        &self,
        spec: &CommandSpec,
        wanted: &Dependencies,
    ) -> Result<Option<(PathBuf, u32)>, PhaseEnd> {
        let image = self.empty_image("older.img").await;
        let Some(older) = self.older_tree(spec, wanted, &image).await else { return Ok(None) };
        let half = DurationMs(spec.timeout.0 / 2);
        let end = match self.run_install(spec, &older.command, &image, half, true).await {
            Ok(looked) => self.rewritten(spec, &image, &looked).await,
            Err(end) => Err(end),
        };
        let why = match end {
            Ok(None) => return Ok(Some((image, older.head.generation + 1))),
            Ok(Some(file)) => format!("it changed `{file}`"),
            Err(PhaseEnd::Failed(evidence)) if !self.cancel.is_cancelled() => {
                if evidence.timed_out_after.is_some() {
                    self.write_head(Head { hung: true, ..older.head }).await;
                }
                said(&evidence)
            }
            Err(end) => return Err(end),
        };
        self.log.say(format!("the install on earlier dependencies is not used ({why}); installing from nothing")).await;
        let _ = tokio::fs::remove_file(&image).await;
        Ok(None)
    }

    /// In what is left of the time since `began`.
    async fn install_from_nothing(&self, spec: &CommandSpec, began: Instant) -> Result<PathBuf, PhaseEnd> {
        let image = self.empty_image("install.img").await;
        let left = spec.timeout.as_duration().saturating_sub(began.elapsed());
        // An older tree had the first half, and copying it is not this install's fault.
        let left = DurationMs(u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(spec.timeout.0 / 2));
        match self.run_install(spec, &spec.command, &image, left, false).await {
            Ok(_) => Ok(image),
            Err(PhaseEnd::Failed(mut evidence)) => {
                evidence.timed_out_after = evidence.timed_out_after.map(|_| spec.timeout.0);
                Err(PhaseEnd::Failed(evidence))
            }
            Err(end) => Err(end),
        }
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
    async fn lock(&self, layer: &LayerRef, wait_max: Duration) -> Result<LayerLock, PhaseEnd> {
        let mut said = false;
        let began = Instant::now();
        loop {
            let (store, wanted) = (self.host.store.clone(), layer.clone());
            if let Some(lock) = blocking(move || store.lock_within(&wanted, LOCK_TRY)).await? {
                return Ok(lock);
            }
            if self.cancel.is_cancelled() {
                return Err(PhaseEnd::Canceled);
            }
            if began.elapsed() >= wait_max {
                return Err(PhaseEnd::host_error("layer-failed", held_for_long(layer, wait_max)));
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
    if let Some(after) = evidence.timed_out_after {
        return format!("it took longer than {} s, half of the time limit", after.div_ceil(1000));
    }
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
