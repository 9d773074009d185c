//! A replica without a process: its site's layer, mounted where the edge reads it.
//!
//! The mount lasts as long as the replica does. It does not outlive the host's process on purpose: whoever reads from it ends
//! with that process, and the next one mounts afresh.

use super::Replica;
use crate::blocking;
use crate::phase::with_causes;
use rustix::mount::{UnmountFlags, unmount};
use slipway_layers::{LayerError, image};
use slipway_types::Phase;
use slipway_types::host::{Evidence, HostError, ReplicaState};
use slipway_types::route::Endpoint;
use slipway_types::site::MANIFEST_FILE;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

impl Replica {
    /// Mounts the site and reports it ready. Ok: it is gone because it is not wanted any more.
    pub(super) async fn one_mount(&self) -> Result<(), Box<Evidence>> {
        if !self.was_ready.load(Ordering::Relaxed) {
            self.report(ReplicaState::Starting).await;
        }
        self.bring_back().await?;
        let at = self.host.sites().join(self.spec.replica.as_str());
        let mounted = self.mount_site(at.clone()).await;
        let directory = mounted.map_err(|error| self.layer_failure(with_causes(&error)))?;
        self.was_ready.store(true, Ordering::Relaxed);
        self.report(ReplicaState::Ready { at: Endpoint::Site(directory) }).await;
        self.stop.cancelled().await;
        blocking(move || release(&at)).await;
        Ok(())
    }

    /// The directory with the manifest.
    async fn mount_site(&self, at: PathBuf) -> Result<PathBuf, LayerError> {
        let store = self.host.store.clone();
        let layer = self.spec.image.layers.first().cloned();
        blocking(move || {
            let layer = layer.ok_or(LayerError::NoSuchLayer { layer: "site".to_owned() })?;
            if !store.contains(&layer) {
                return Err(LayerError::NoSuchLayer { layer: layer.to_string() });
            }
            // Of an attempt before, if there was one: mounts never pile up.
            release(&at);
            let mounted = image::mount(&store.path(&layer), &at, image::ReadOnly)?;
            let manifest = mounted.upper().join(MANIFEST_FILE);
            let found = std::fs::symlink_metadata(&manifest);
            found.map_err(|error| LayerError::io("find the manifest", &manifest, error))?;
            Ok(mounted.keep().join("upper"))
        })
        .await
    }

    fn layer_failure(&self, message: String) -> Box<Evidence> {
        let host_error = Some(HostError { code: "layer-failed".to_owned(), message });
        Box::new(Evidence { phase: Some(Phase::Start), host_error, ..Evidence::default() })
    }
}

/// Unmounts, also under an answer that is still being sent: that one reads on, nothing new is found there.
fn release(at: &Path) {
    if unmount(at, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() || at.exists() {
        let _ = std::fs::remove_dir(at);
    }
}
