//! Uploads that the store knows but has not yet completed: `uploads/<layer>_<of the id>.json`. Changed only under the layer's
//! archive lock.
//!
//! An upload that was given up is aborted twice, with a pause: a part that was on its way when it was aborted may bring it back.
//! So its entry stays until the second abort.

use crate::cold::trouble::{ColdTrouble, blocking};
use crate::cold::upload::{self, UploadJournal};
use crate::error::LayerError;
use crate::store::{LayerStore, parse_layer};
use crate::temp_file;
use crate::tiers::{Cold, lock_for};
use object_store::MultipartId;
use object_store::path::Path as ObjectPath;
use serde::{Deserialize, Serialize};
use slipway_types::LayerRef;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const UPLOADS: &str = "uploads";
const SUFFIX: &str = ".json";
/// An id has some hundred characters at most.
const ENTRY_BYTES_MAX: u64 = 16 * 1024;
/// Enough of the id's hash to tell the uploads of one layer apart.
const ID_CHARS: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct Upload {
    path: String,
    id: String,
    /// It is not aborted before.
    not_before: Option<SystemTime>,
    /// Once.
    aborted: bool,
}

/// The journal of one layer's uploads.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    directory: PathBuf,
    layer: LayerRef,
    late_part: Duration,
}

impl Journal {
    pub(super) fn new(cold: &Cold, store: &LayerStore, layer: &LayerRef) -> Self {
        let late_part = cold.remote.bounds.late_part;
        Self { directory: store.directory().join(UPLOADS), layer: layer.clone(), late_part }
    }

    fn path(&self, id: &MultipartId) -> PathBuf {
        let hash = blake3::hash(id.as_bytes()).to_hex();
        self.directory.join(format!("{}_{}{SUFFIX}", self.layer, &hash[..ID_CHARS]))
    }

    async fn change(
        &self,
        id: &MultipartId,
        change: impl FnOnce(&mut Upload) + Send + 'static,
    ) -> Result<(), ColdTrouble> {
        let path = self.path(id);
        blocking(move || {
            let Some(mut upload) = read(&path)? else { return Ok(()) };
            change(&mut upload);
            write(&path, &upload)
        })
        .await
    }
}

impl UploadJournal for Journal {
    async fn started(&self, to: &ObjectPath, id: &MultipartId) -> Result<(), ColdTrouble> {
        let (directory, path) = (self.directory.clone(), self.path(id));
        let upload = Upload { path: to.to_string(), id: id.clone(), not_before: None, aborted: false };
        blocking(move || {
            std::fs::create_dir_all(&directory).map_err(|e| LayerError::io("create the directory", &directory, e))?;
            write(&path, &upload)
        })
        .await
    }

    async fn completing(&self, id: &MultipartId) -> Result<(), ColdTrouble> {
        let not_before = SystemTime::now() + self.late_part;
        self.change(id, move |upload| upload.not_before = Some(not_before)).await
    }

    async fn completed(&self, id: &MultipartId) {
        forget(self.path(id)).await;
    }

    async fn aborted(&self, id: &MultipartId) {
        self.postpone(id, true).await;
    }
}

impl Journal {
    /// The next abort is due when a part that is on its way has come.
    async fn postpone(&self, id: &MultipartId, aborted: bool) {
        let not_before = SystemTime::now() + self.late_part;
        let noted = self.change(id, move |upload| {
            (upload.not_before, upload.aborted) = (Some(not_before), aborted || upload.aborted);
        });
        if let Err(error) = noted.await {
            tracing::debug!(%error, "an upload is aborted once more than it must be");
        }
    }
}

/// Aborts what is due of the uploads that were given up, here or by a process that is gone. One that the store refuses to abort
/// does not stand in the way of the others.
pub(super) async fn sweep(cold: &Cold, store: &LayerStore) -> Result<(), ColdTrouble> {
    let directory = store.directory().join(UPLOADS);
    for (layer, path) in blocking(move || list(&directory)).await? {
        settle(cold, store, &layer, path).await?;
    }
    Ok(())
}

async fn settle(cold: &Cold, store: &LayerStore, layer: &LayerRef, path: PathBuf) -> Result<(), ColdTrouble> {
    let (by, wanted, from) = (store.clone(), layer.clone(), path.clone());
    let journal = Journal::new(cold, store, layer);
    let late_part = journal.late_part;
    let due = blocking(move || {
        let Some(lock) = lock_for("archive", &by, &wanted)? else { return Ok(None) };
        let upload = read(&from)?;
        let is_due = upload.as_ref().is_none_or(|upload| is_due(upload, late_part));
        Ok(is_due.then_some((lock, upload)))
    });
    let Some((_lock, upload)) = due.await? else { return Ok(()) };
    // Of one that cannot be read nothing is known.
    let Some(upload) = upload else {
        forget(path).await;
        return Ok(());
    };
    match upload::abort(&cold.remote, &ObjectPath::from(upload.path.as_str()), &upload.id).await {
        Ok(()) if upload.aborted => forget(path).await,
        Ok(()) => journal.aborted(&upload.id).await,
        Err(error) if error.may_be_of_one() => {
            tracing::warn!(%layer, %error, "an upload that was given up is not aborted yet");
            journal.postpone(&upload.id, false).await;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// By the clock of whichever host wrote the entry: a time that is too far away is none.
fn is_due(upload: &Upload, late_part: Duration) -> bool {
    let left = upload.not_before.and_then(|at| at.duration_since(SystemTime::now()).ok());
    left.is_none_or(|left| left.is_zero() || left > late_part)
}

fn list(directory: &Path) -> Result<Vec<(LayerRef, PathBuf)>, LayerError> {
    let failed = |e| LayerError::io("list", directory, e);
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    temp_file::sweep(directory)?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let known = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        // No key has an underscore.
        let layer = known.and_then(|name| parse_layer(name.split_once('_')?.0));
        found.extend(layer.map(|layer| (layer, entry.path())));
    }
    Ok(found)
}

/// None: it is gone, or says nothing.
fn read(path: &Path) -> Result<Option<Upload>, LayerError> {
    match temp_file::read(path, ENTRY_BYTES_MAX) {
        Ok(content) => Ok(serde_json::from_slice(&content).ok()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => Ok(None),
        Err(error) => Err(LayerError::io("read", path, error)),
    }
}

fn write(path: &Path, upload: &Upload) -> Result<(), LayerError> {
    temp_file::replace(path, &serde_json::to_vec(upload).unwrap_or_default())
}

async fn forget(path: PathBuf) {
    let removed = blocking(move || match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LayerError::io("remove", &path, error)),
        _ => Ok(()),
    });
    if let Err(error) = removed.await {
        tracing::warn!(%error, "an upload that is no more is aborted again");
    }
}
