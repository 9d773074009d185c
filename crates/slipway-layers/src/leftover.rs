//! Work areas of images that are being written, and what a crash leaves of them.
//!
//! An area is a directory `.new-<process>-<number>` with the image, its mount point, and a lock that its process holds: the
//! kernel drops the lock with the process, so an area whose lock is free belongs to nobody.

use crate::error::LayerError;
use crate::lock::LayerLock;
use crate::mount;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PREFIX: &str = ".new-";
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Removed when dropped, with whatever is mounted in it.
#[derive(Debug)]
pub(crate) struct WorkArea {
    directory: PathBuf,
    _lock: LayerLock,
}

impl WorkArea {
    pub(crate) fn new(store: &Path) -> Result<Self, LayerError> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory = store.join(format!("{PREFIX}{}-{number}", std::process::id()));
        // The lock stands beside the directory and comes first, so that a cleaner never meets an unlocked live one.
        let lock = LayerLock::acquire(&lock_path(&directory), Duration::ZERO)?;
        let lock =
            lock.ok_or_else(|| LayerError::LockTimeout { layer: directory.display().to_string(), seconds: 0 })?;
        std::fs::create_dir(&directory).map_err(|e| LayerError::io("create", &directory, e))?;
        Ok(Self { directory, _lock: lock })
    }

    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("image")
    }

    pub(crate) fn mount_point(&self) -> PathBuf {
        self.directory.join("mount")
    }
}

impl Drop for WorkArea {
    fn drop(&mut self) {
        if let Err(error) = clear(&self.directory) {
            tracing::warn!(%error, "work area is left until the store is opened again");
        }
    }
}

/// Removes the areas of processes that are gone.
pub(crate) fn sweep(store: &Path) -> Result<(), LayerError> {
    let entries = std::fs::read_dir(store).map_err(|e| LayerError::io("list", store, e))?;
    for entry in entries.flatten() {
        let is_area = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if !is_area || !entry.path().is_dir() {
            continue;
        }
        if let Some(_lock) = LayerLock::acquire(&lock_path(&entry.path()), Duration::ZERO)? {
            tracing::warn!(path = %entry.path().display(), "removing what a crash left");
            clear(&entry.path())?;
        }
    }
    Ok(())
}

fn clear(directory: &Path) -> Result<(), LayerError> {
    mount::unmount(&directory.join("mount"))?;
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(LayerError::io("remove", directory, error)),
        _ => Ok(()),
    }
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.with_extension("lock")
}
