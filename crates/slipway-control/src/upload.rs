//! Uploaded directories: received with a bound, checked whole, and only then stored.
//!
//! A stored upload is `uploads/<id>.tar.gz`, where the id is the digest of its bytes: the same archive sent twice is one
//! file. Nothing that was refused stays on disk.

mod archive;
mod tree;

pub(crate) use archive::ArchiveRefusal;

use crate::refusal::Refusal;
use axum::body::Body;
use http_body_util::BodyExt;
use slipway_types::UploadId;
use slipway_types::api::UploadView;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt;

/// Largest content of an upload, unpacked: a source tree, not a data set.
pub(crate) const UNPACKED_BYTES_MAX: u64 = 2 << 30;
/// A client that sends nothing for this long has gone.
const BODY_IDLE_MAX: Duration = Duration::from_secs(60);
/// Uploads received at once: each holds a temporary file and one blocking thread at its end.
const RECEIVING_MAX: usize = 8;
/// Uploads that no deployment needs are kept in this number, so that an upload waits for its deployment…
const UNNEEDED_KEPT_MAX: usize = 8;
/// …and for this long at most.
const UNNEEDED_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
/// One that was just sent is never pruned: its deployment is about to be created.
const UNNEEDED_AGE_MIN: Duration = Duration::from_secs(10 * 60);

/// The directory of uploads.
#[derive(Debug)]
pub(crate) struct Uploads {
    dir: PathBuf,
    bytes_max: u64,
    receiving: tokio::sync::Semaphore,
    next_temporary: AtomicU64,
}

impl Uploads {
    /// Takes the directory over; what a crash left half received is removed.
    pub(crate) fn open(dir: PathBuf, bytes_max: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        for entry in std::fs::read_dir(&dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                std::fs::remove_file(path)?;
            }
        }
        let receiving = tokio::sync::Semaphore::new(RECEIVING_MAX);
        Ok(Self { dir, bytes_max, receiving, next_temporary: AtomicU64::new(0) })
    }

    pub(crate) fn contains(&self, upload: &UploadId) -> bool {
        self.path(upload).is_file()
    }

    fn path(&self, upload: &UploadId) -> PathBuf {
        self.dir.join(format!("{upload}.tar.gz"))
    }

    /// Receives, checks and stores one archive.
    pub(crate) async fn receive(&self, body: Body) -> Result<UploadView, Refusal> {
        let Ok(_turn) = self.receiving.try_acquire() else {
            let message = format!("{RECEIVING_MAX} uploads are being received already");
            return Err(Refusal::unavailable("uploads-busy", message));
        };
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = Temporary(self.dir.join(format!("{number}.part")));
        let digest = self.write_body(body, &temporary.0).await?;
        let path = temporary.0.clone();
        let facts = tokio::task::spawn_blocking(move || archive::check(&path, UNPACKED_BYTES_MAX))
            .await
            .map_err(|error| Refusal::internal("the check of the upload broke off", &error))?
            .map_err(|refusal| refused(&refusal))?;
        let upload = UploadId::parse(format!("up-{}", &digest.to_hex()[..32]))
            .map_err(|error| Refusal::internal("the upload's digest made no id", &error))?;
        std::fs::rename(&temporary.0, self.path(&upload))
            .map_err(|error| Refusal::internal("could not store the upload", &error))?;
        Ok(UploadView { upload, files: facts.files, bytes: facts.bytes })
    }

    async fn write_body(&self, mut body: Body, path: &Path) -> Result<blake3::Hash, Refusal> {
        let failed = |error: io::Error| Refusal::internal("could not write the upload to disk", &error);
        let mut file = tokio::fs::File::create(path).await.map_err(failed)?;
        let mut digest = blake3::Hasher::new();
        let mut bytes = 0_u64;
        loop {
            let frame = tokio::time::timeout(BODY_IDLE_MAX, body.frame())
                .await
                .map_err(|_| Refusal::bad_request("upload-stalled", "the upload stopped before its end"))?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_| Refusal::bad_request("upload-broken", "the upload broke off"))?;
            let Ok(chunk) = frame.into_data() else { continue };
            bytes += chunk.len() as u64;
            if bytes > self.bytes_max {
                // Read on for a while, kept nowhere: an answer beside unread bytes can be lost with the connection.
                if bytes > self.bytes_max.saturating_mul(2) {
                    break;
                }
                continue;
            }
            digest.update(&chunk);
            file.write_all(&chunk).await.map_err(failed)?;
        }
        if bytes > self.bytes_max {
            let message = format!("the upload is larger than {} bytes", self.bytes_max);
            return Err(Refusal::too_large("upload-too-large", message)
                .hint("leave out what a build makes by listing it in `.gitignore`"));
        }
        file.flush().await.map_err(failed)?;
        Ok(digest.finalize())
    }

    /// One that nothing will be built of.
    pub(crate) fn remove(&self, upload: &UploadId) {
        if let Err(error) = std::fs::remove_file(self.path(upload)) {
            tracing::warn!(%upload, %error, "could not remove an upload");
        }
    }

    /// Removes uploads that no deployment needs: all but the newest few, and those that are old.
    pub(crate) fn prune(&self, needed: &BTreeSet<UploadId>) -> io::Result<usize> {
        let mut unneeded = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(id) = name.strip_suffix(".tar.gz").and_then(|id| UploadId::parse(id).ok()) else { continue };
            if !needed.contains(&id) {
                let age = SystemTime::now().duration_since(entry.metadata()?.modified()?).unwrap_or_default();
                unneeded.push((age, entry.path()));
            }
        }
        unneeded.sort();
        let surplus: Vec<_> = unneeded
            .into_iter()
            .enumerate()
            .filter(|(i, (age, _))| *age > UNNEEDED_AGE_MAX || (*i >= UNNEEDED_KEPT_MAX && *age > UNNEEDED_AGE_MIN))
            .collect();
        for (_, (_, path)) in &surplus {
            std::fs::remove_file(path)?;
        }
        Ok(surplus.len())
    }
}

/// Removes the file unless it was renamed away.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn refused(refusal: &ArchiveRefusal) -> Refusal {
    if let ArchiveRefusal::Read { source, .. } = refusal {
        return Refusal::internal("could not read the upload again", source);
    }
    Refusal::unusable(refusal.code(), refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_keeps_what_is_needed_and_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(dir.path().to_owned(), 1).unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        let ids: Vec<_> = (0..12).map(|i| UploadId::parse(format!("up-{i}")).unwrap()).collect();
        for (i, id) in ids.iter().enumerate() {
            let file = std::fs::File::create(uploads.path(id)).unwrap();
            file.set_modified(old - Duration::from_secs(i as u64)).unwrap();
        }
        let needed = BTreeSet::from([ids[11].clone()]);
        assert_eq!(uploads.prune(&needed).unwrap(), 3);
        assert!(uploads.contains(&ids[11]) && uploads.contains(&ids[0]) && !uploads.contains(&ids[10]));
        std::fs::File::options()
            .write(true)
            .open(uploads.path(&ids[0]))
            .unwrap()
            .set_modified(SystemTime::now() - Duration::from_secs(48 * 3600))
            .unwrap();
        assert_eq!(uploads.prune(&needed).unwrap(), 1);
        assert!(!uploads.contains(&ids[0]));
    }
}
