//! Work areas of images that are being written, and what a crash leaves of them.
//!
//! An area is a directory `.new-<machine>-<process>-<number>` with the image, its mount point, and a lock that its process
//! holds: the kernel drops the lock with the process, so an area whose lock is free belongs to nobody. Only the machine that
//! made it can end a mount in it: another one that shares the directory waits for a day before it takes it for abandoned.

use crate::error::LayerError;
use crate::lock::LayerLock;
use crate::machine;
use crate::mount;
use crate::temp_file::unique_name;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = ".new-";
const LOCK_SUFFIX: &str = ".lock";
/// A sweep may hold the lock of an area just when it is made; then another name is taken.
const ATTEMPTS_MAX: u32 = 64;
/// Longer than any build, and than a host is down for a reboot.
pub(crate) const ABANDONED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Removed when dropped, with whatever is mounted in it.
#[derive(Debug)]
pub(crate) struct WorkArea {
    directory: PathBuf,
    _lock: LayerLock,
}

impl WorkArea {
    pub(crate) fn new(store: &Path) -> Result<Self, LayerError> {
        for _ in 0..ATTEMPTS_MAX {
            let directory = store.join(format!("{PREFIX}{}", unique_name()));
            // The lock stands beside the directory and comes first, so that a cleaner never meets an unlocked live one.
            let Some(lock) = LayerLock::acquire(&lock_path(&directory), Duration::ZERO)? else { continue };
            return match std::fs::create_dir(&directory) {
                Ok(()) => Ok(Self { directory, _lock: lock }),
                Err(error) => Err(LayerError::io("create", &directory, error)),
            };
        }
        Err(LayerError::LockTimeout { layer: store.display().to_string(), seconds: 0 })
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
    // Of an area that was just being made or removed there may be the lock alone.
    let names: BTreeSet<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(PREFIX))
        .map(|name| name.strip_suffix(LOCK_SUFFIX).unwrap_or(&name).to_owned())
        .collect();
    for directory in names.into_iter().map(|name| store.join(name)) {
        if !is_ours(&directory) && !is_abandoned(&directory) {
            continue;
        }
        if let Some(_lock) = LayerLock::acquire(&lock_path(&directory), Duration::ZERO)? {
            tracing::warn!(path = %directory.display(), "removing what a crash left");
            clear(&directory)?;
        }
    }
    Ok(())
}

/// Removes the files of locks that nobody holds.
pub(crate) fn sweep_locks(locks: &Path) -> Result<(), LayerError> {
    let entries = std::fs::read_dir(locks).map_err(|e| LayerError::io("list", locks, e))?;
    for entry in entries.flatten() {
        // A network file system calls a removed file that is still open `.nfs…`.
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            drop(LayerLock::acquire(&entry.path(), Duration::ZERO)?);
        }
    }
    Ok(())
}

fn is_ours(directory: &Path) -> bool {
    let name = directory.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix(PREFIX));
    name.and_then(|name| name.split_once('-')).is_some_and(|(machine, _)| machine == machine::tag())
}

fn is_abandoned(directory: &Path) -> bool {
    let made = [directory.to_path_buf(), lock_path(directory)].iter().filter_map(|path| made_at(path).ok()).max();
    made.is_some_and(|at| at.elapsed().is_ok_and(|age| age > ABANDONED_AFTER))
}

fn made_at(path: &Path) -> io::Result<std::time::SystemTime> {
    std::fs::metadata(path)?.modified()
}

fn clear(directory: &Path) -> Result<(), LayerError> {
    mount::unmount(&directory.join("mount"))?;
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LayerError::io("remove", directory, error)),
        _ => Ok(()),
    }
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.with_extension(&LOCK_SUFFIX[1..])
}
