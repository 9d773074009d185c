//! Install: the dependencies of a lockfile, once for all builds with the same key.

use super::command::SandboxCommand;
use super::{PhaseContext, PhaseEnd, with_causes};
use crate::{blocking, environment, key, tree};
use slipway_layers::{LayerLock, image};
use slipway_types::LayerRef;
use slipway_types::host::{CommandSpec, PhaseOutput};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// How long one try for the lock of a layer lasts; between two, a cancel is noticed.
const LOCK_TRY: Duration = Duration::from_millis(200);

/// Caches of package managers below the home directory: large, and never read again.
const CACHES: [&str; 8] = [
    "home/app/.npm",
    "home/app/.cache/yarn",
    "home/app/.local/share/pnpm/store",
    "home/app/.cache/pnpm",
    "home/app/.bun/install/cache",
    "home/app/.cache/pip",
    "home/app/.cache/uv",
    "home/app/.cache/pypoetry",
];

impl PhaseContext<'_> {
    pub(super) async fn install(&self, spec: &CommandSpec) -> Result<PhaseOutput, PhaseEnd> {
        let layer = self.dependencies_key(spec).await?;
        // Before the lock, which whoever fetches it takes.
        self.bring_back(&layer).await;
        let _lock = self.lock(&layer).await?;
        if self.host.store.contains(&layer) {
            self.log.say("dependencies are unchanged; nothing to install").await;
            return Ok(PhaseOutput::Install { layer, reused: true });
        }
        let image = self.scratch.join("install.img");
        let mut layers = spec.layers.clone();
        layers.push(key::source(&self.spec.deployment));
        self.log.say(format!("$ {}", spec.command)).await;
        self.run_in_sandbox(SandboxCommand {
            layers: &layers,
            image: image.clone(),
            cache: None,
            command: &spec.command,
            cwd: directory_in_app(&spec.cwd),
            env: environment::of_build(&spec.path, self.host.config.sandbox.ca_env(), &spec.env),
            limits: spec.limits,
            timeout: spec.timeout,
        })
        .await?;
        self.publish_written(image, &layer).await?;
        Ok(PhaseOutput::Install { layer, reused: false })
    }

    async fn dependencies_key(&self, spec: &CommandSpec) -> Result<LayerRef, PhaseEnd> {
        let source = self.host.store.path(&key::source(&self.spec.deployment));
        let (at, files) = (self.scratch.join("read"), spec.key_files.clone());
        let digests = blocking(move || {
            let mounted = image::mount(&source, &at, image::ReadOnly)?;
            let digests = tree::digests(&mounted.upper().join("app"), &files);
            mounted.unmount()?;
            digests.map_err(|error| PhaseEnd::host_error("layer-failed", with_causes(&error)))
        })
        .await?;
        Ok(key::dependencies(spec, &digests))
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

    /// Makes a layer of what a command wrote: `/app` and the home directory, without caches.
    pub(super) async fn publish_written(&self, image: std::path::PathBuf, layer: &LayerRef) -> Result<(), PhaseEnd> {
        let (store, layer, at) = (self.host.store.clone(), layer.clone(), self.scratch.join("written"));
        blocking(move || {
            let mounted = image::mount(&image, &at, image::ReadWrite)?;
            let pruned = prune(&mounted.upper());
            mounted.unmount()?;
            pruned.map_err(|error| PhaseEnd::host_error("layer-failed", format!("cannot tidy a layer: {error}")))?;
            store.publish(&image, &layer)?;
            Ok(())
        })
        .await
    }
}

/// `/app`, or a directory below it.
pub(super) fn directory_in_app(cwd: &str) -> String {
    let cwd = cwd.trim_matches('/');
    if cwd.is_empty() || cwd == "." { "/app".to_owned() } else { format!("/app/{cwd}") }
}

fn prune(upper: &Path) -> io::Result<()> {
    for entry in fs::read_dir(upper)? {
        let entry = entry?;
        if entry.file_name() != "app" && entry.file_name() != "home" {
            remove(&entry.path())?;
        }
    }
    // Whoever wrote the tree chose what stands at these names: a link on the way must lead nowhere.
    for cache in CACHES {
        if tree::is_real_directory(upper, Path::new(cache)) {
            remove(&upper.join(cache))?;
        }
    }
    Ok(())
}

/// Removes a file or a tree without following links.
fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_the_tree_and_the_home_directory_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::create_dir_all(outside.path().join("yarn")).unwrap();
        let upper = dir.path();
        for path in ["app/node_modules/a", "tmp/npm/x", "home/app/.npm/_cacache", "home/app/keep", "etc"] {
            fs::create_dir_all(upper.join(path)).unwrap();
        }
        fs::write(upper.join("file"), "").unwrap();
        symlink(outside.path(), upper.join("home/app/.cache")).unwrap();
        prune(upper).unwrap();
        let kept = |path: &str| upper.join(path).exists();
        assert!(kept("app/node_modules/a") && kept("home/app/keep"));
        assert!(!kept("tmp") && !kept("etc") && !kept("file") && !kept("home/app/.npm"));
        assert!(outside.path().join("yarn").exists(), "a link was followed");
    }

    #[test]
    fn directories_are_below_app() {
        for (cwd, expected) in [("", "/app"), (".", "/app"), ("web", "/app/web"), ("a/b/", "/app/a/b")] {
            assert_eq!(directory_in_app(cwd), expected);
        }
    }
}
