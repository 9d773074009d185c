//! Small files that appear whole: written beside their place, then renamed over it.
//!
//! A file that is being written is locked by its process, so what a crash left is told from what another is writing, on this
//! host or on one that shares the directory. Nothing here waits for the disk: after a power cut such a file may be empty or
//! torn, and each reader takes that for "not known".

use crate::error::LayerError;
use crate::machine;
use rustix::fs::FlockOperation;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

const PREFIX: &str = ".tmp-";
/// A sweep of another process may lock a file just when it was made; then another name is taken.
const ATTEMPTS_MAX: u32 = 64;

/// A name that no other process of any host uses, nor a later one with the same process id.
pub(crate) fn unique_name() -> String {
    static STARTED: LazyLock<u128> = LazyLock::new(|| std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos());
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{}-{:x}-{number}", machine::tag(), std::process::id(), *STARTED)
}

/// A file under a temporary name, locked, removed when dropped before [`TempFile::rename`].
#[derive(Debug)]
pub(crate) struct TempFile {
    path: PathBuf,
    file: Option<File>,
}

impl TempFile {
    pub(crate) fn new(directory: &Path, content: &[u8]) -> Result<Self, LayerError> {
        for _ in 0..ATTEMPTS_MAX {
            let path = directory.join(format!("{PREFIX}{}", unique_name()));
            let failed = |source| LayerError::io("write", &path, source);
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
            let file = opened.map_err(failed)?;
            let mut temp = Self { path: path.clone(), file: Some(file) };
            if temp.lock_and_write(content).map_err(failed)? {
                return Ok(temp);
            }
        }
        let busy = io::Error::from(io::ErrorKind::ResourceBusy);
        Err(LayerError::io("make a temporary file in", directory, busy))
    }

    fn lock_and_write(&mut self, content: &[u8]) -> io::Result<bool> {
        let Some(file) = &mut self.file else { return Ok(false) };
        match rustix::fs::flock(&*file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        // A sweep may have taken it for a leftover just before it was locked.
        let ours = file.metadata()?.ino();
        if !std::fs::metadata(&self.path).is_ok_and(|found| found.ino() == ours) {
            return Ok(false);
        }
        file.write_all(content)?;
        Ok(true)
    }

    pub(crate) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Takes its place, and returns the file, still locked.
    pub(crate) fn rename(mut self, target: &Path) -> Result<Option<File>, LayerError> {
        std::fs::rename(&self.path, target).map_err(|e| LayerError::io("replace", target, e))?;
        Ok(self.file.take())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Replaces a file as a whole.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), LayerError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    TempFile::new(directory, content)?.rename(path).map(drop)
}

/// Reads a small file; one that is larger than that is an error of kind `FileTooLarge`.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(bytes_max + 1).read_to_end(&mut content)?;
    match content.len() as u64 > bytes_max {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(content),
    }
}

/// Removes what crashes left in a directory.
pub(crate) fn sweep(directory: &Path) -> Result<(), LayerError> {
    let entries = std::fs::read_dir(directory).map_err(|e| LayerError::io("list", directory, e))?;
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && let Ok(Some(_locked)) = lock_free(&entry.path())
        {
            // While locked: its owner may be about to lock it, and then sees that it is gone.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    Ok(())
}

/// Whether a live process holds the lock of a file. A file that is gone is held by nobody; in doubt it is held.
pub(crate) fn is_held(path: &Path) -> bool {
    match lock_free(path) {
        Ok(locked) => locked.is_none(),
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Locks a file that no live process holds. Shared, so that two who look do not see each other.
fn lock_free(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    let free = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
    Ok(free.then_some(file))
}
