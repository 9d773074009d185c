//! Uploads that the store knows but has not yet completed: `uploads/<layer>.json`. Changed only under the layer's archive lock.

use crate::cold::trouble::ColdTrouble;
use crate::cold::upload::{self, UploadJournal};
use crate::error::LayerError;
use crate::store::{LayerStore, parse_layer};
use crate::tiers::{Cold, blocking, lock_for};
use object_store::MultipartId;
use object_store::path::Path as ObjectPath;
use serde::{Deserialize, Serialize};
use slipway_types::LayerRef;
use std::path::PathBuf;

const UPLOADS: &str = "uploads";
const SUFFIX: &str = ".json";
/// An id has some hundred characters at most.
const ENTRY_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Serialize, Deserialize)]
struct Upload {
    /// What the cold tier was called: that of another one cannot be aborted in this.
    tier: String,
    path: String,
    id: String,
}

/// The entry of one layer.
pub(super) struct Entry {
    tier: String,
    path: PathBuf,
}

impl Entry {
    pub(super) fn new(cold: &Cold, store: &LayerStore, layer: &LayerRef) -> Self {
        let path = store.directory().join(UPLOADS).join(format!("{layer}{SUFFIX}"));
        Self { tier: cold.remote.name().to_owned(), path }
    }
}

impl UploadJournal for Entry {
    fn started(&self, path: &ObjectPath, id: &MultipartId) -> Result<(), LayerError> {
        let failed = |source| LayerError::io("write", &self.path, source);
        let upload = Upload { tier: self.tier.clone(), path: path.to_string(), id: id.clone() };
        if let Some(directory) = self.path.parent() {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        std::fs::write(&self.path, serde_json::to_vec(&upload).unwrap_or_default()).map_err(failed)
    }

    fn ended(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Aborts the uploads of processes that are gone.
pub(super) async fn sweep(cold: &Cold, store: &LayerStore) -> Result<(), ColdTrouble> {
    let directory = store.directory().join(UPLOADS);
    let list = blocking(move || {
        let entries = match std::fs::read_dir(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(|e| LayerError::io("list", &directory, e))?,
        };
        let layer = |name: std::ffi::OsString| parse_layer(name.to_str()?.strip_suffix(SUFFIX)?);
        Ok(entries.flatten().filter_map(|entry| layer(entry.file_name())).collect::<Vec<_>>())
    });
    for layer in list.await? {
        let (by, wanted) = (store.clone(), layer.clone());
        if let Some(_lock) = blocking(move || lock_for("archive", &by, &wanted)).await? {
            abort_left(cold, store, &layer).await?;
        }
    }
    Ok(())
}

/// Under the layer's archive lock.
pub(super) async fn abort_left(cold: &Cold, store: &LayerStore, layer: &LayerRef) -> Result<(), ColdTrouble> {
    let entry = Entry::new(cold, store, layer);
    let path = entry.path.clone();
    let content = blocking(move || match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        content => content.map(Some).map_err(|e| LayerError::io("read", &path, e)),
    });
    let Some(content) = content.await? else { return Ok(()) };
    let upload = serde_json::from_slice::<Upload>(&content).ok().filter(|_| content.len() <= ENTRY_BYTES_MAX);
    if let Some(upload) = upload.filter(|upload| upload.tier == entry.tier) {
        upload::abort(&cold.remote, &ObjectPath::from(upload.path), &upload.id).await?;
    }
    entry.ended();
    Ok(())
}
