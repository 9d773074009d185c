//! One worker per key: a lock that holds across threads and processes, and that the kernel frees when its holder dies.

use crate::error::LayerError;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long [`crate::LayerStore::lock`] waits: longer than any build may take.
pub(crate) const LOCK_WAIT_MAX: Duration = Duration::from_secs(2 * 60 * 60);
/// Between two attempts; the work behind a lock takes seconds.
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Held until dropped.
#[derive(Debug)]
pub struct LayerLock {
    path: PathBuf,
    _file: File,
}

impl LayerLock {
    pub(crate) fn acquire(path: &Path, wait: Duration) -> Result<Option<Self>, LayerError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(lock) = Self::attempt(path)? {
                return Ok(Some(lock));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(LOCK_POLL);
        }
    }

    fn attempt(path: &Path) -> Result<Option<Self>, LayerError> {
        let failed = |source| LayerError::io("lock", path, source);
        loop {
            let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
            let file = opened.map_err(failed)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(failed(error.into())),
            }
            // The holder before removed the file: what was locked here is another file than the next one will find.
            let ours = file.metadata().map_err(failed)?.ino();
            if std::fs::metadata(path).is_ok_and(|found| found.ino() == ours) {
                return Ok(Some(Self { path: path.to_path_buf(), _file: file }));
            }
        }
    }
}

impl Drop for LayerLock {
    fn drop(&mut self) {
        // While still locked, so that no file is left and none is removed under another holder.
        let _ = std::fs::remove_file(&self.path);
    }
}
