//! All that the store keeps: layers in the hot tier, layers that only the cold one has, and framework caches.

use crate::durability;
use crate::error::LayerError;
use crate::record::{self, RECORD_SUFFIX, RECORDS};
use crate::store::{LayerStore, SUFFIX, parse_layer};
use slipway_types::{LayerRef, ServiceId};
use std::collections::BTreeMap;
use std::fs::{DirEntry, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) const CACHES: &str = "caches";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoredId {
    Layer(LayerRef),
    /// The branch as its file is called.
    Cache {
        service: ServiceId,
        branch: String,
    },
}

/// One layer or framework cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub id: StoredId,
    /// What it takes on the disk. 0: it is only in the cold tier.
    pub hot_bytes: u64,
    /// The service that it was made for.
    pub service: Option<ServiceId>,
    pub used_at: SystemTime,
    /// A release or an unfinished deployment stands on it.
    pub pinned: bool,
    /// A running build stands on it.
    pub leased: bool,
    /// A copy lies in the cold tier.
    pub cold: bool,
    /// Whether it would survive a power cut.
    pub synced: bool,
}

impl LayerStore {
    /// All that is stored, ordered by kind and name, caches last. A picture of one moment: it holds nothing in place.
    pub fn inventory(&self) -> Result<Vec<Stored>, LayerError> {
        let (pins, leases) = (self.pins(), self.leases());
        let mut found = self.stored_layers()?;
        for (layer, stored) in &mut found {
            stored.pinned = pins.contain(layer);
            stored.leased = leases.contain(layer);
        }
        let mut all: Vec<Stored> = found.into_values().collect();
        all.extend(self.stored_caches()?);
        Ok(all)
    }

    fn stored_layers(&self) -> Result<BTreeMap<LayerRef, Stored>, LayerError> {
        let mut found = BTreeMap::new();
        for entry in entries(self.directory())? {
            let Some(layer) = layer_of(&entry, SUFFIX) else { continue };
            let Some(metadata) = file(&entry) else { continue };
            found.insert(layer.clone(), hot(StoredId::Layer(layer), &metadata));
        }
        for entry in entries(&self.directory().join(RECORDS))? {
            let Some(layer) = layer_of(&entry, RECORD_SUFFIX) else { continue };
            let Some((record, used_at)) = record::read_with_use(&entry.path()) else { continue };
            match found.get_mut(&layer) {
                Some(stored) => {
                    stored.used_at = stored.used_at.max(used_at);
                    stored.service = record.made_for;
                    stored.cold = record.cold;
                }
                None if record.cold => {
                    let stored = Stored {
                        service: record.made_for,
                        used_at,
                        cold: true,
                        ..empty(StoredId::Layer(layer.clone()))
                    };
                    found.insert(layer, stored);
                }
                None => {}
            }
        }
        Ok(found)
    }

    fn stored_caches(&self) -> Result<Vec<Stored>, LayerError> {
        let mut caches = Vec::new();
        for directory in entries(&self.directory().join(CACHES))? {
            let service = directory.file_name().into_string().ok().and_then(|name| ServiceId::parse(name).ok());
            let is_directory = directory.file_type().is_ok_and(|found| found.is_dir());
            let Some(service) = service.filter(|_| is_directory) else { continue };
            for entry in entries(&directory.path())? {
                let Some(branch) = branch_of(&entry) else { continue };
                let Some(metadata) = file(&entry) else { continue };
                let id = StoredId::Cache { service: service.clone(), branch };
                caches.push(Stored { service: Some(service.clone()), synced: true, ..hot(id, &metadata) });
            }
        }
        caches.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(caches)
    }

    /// The file of a layer or cache.
    pub(crate) fn stored_path(&self, id: &StoredId) -> PathBuf {
        match id {
            StoredId::Layer(layer) => self.path(layer),
            StoredId::Cache { service, branch } => {
                self.directory().join(CACHES).join(service.as_str()).join(format!("{branch}{SUFFIX}"))
            }
        }
    }
}

/// A directory that is not there is empty.
fn entries(directory: &Path) -> Result<Vec<DirEntry>, LayerError> {
    match std::fs::read_dir(directory) {
        Ok(entries) => Ok(entries.flatten().collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(LayerError::io("list", directory, error)),
    }
}

fn layer_of(entry: &DirEntry, suffix: &str) -> Option<LayerRef> {
    parse_layer(entry.file_name().to_str()?.strip_suffix(suffix)?)
}

fn branch_of(entry: &DirEntry) -> Option<String> {
    let name = entry.file_name().into_string().ok()?;
    let branch = name.strip_suffix(SUFFIX)?;
    (!branch.is_empty() && !branch.starts_with('.')).then(|| branch.to_owned())
}

/// None for what is no file, or is gone since it was listed.
fn file(entry: &DirEntry) -> Option<Metadata> {
    entry.metadata().ok().filter(Metadata::is_file)
}

fn hot(id: StoredId, metadata: &Metadata) -> Stored {
    Stored {
        hot_bytes: metadata.blocks() * 512,
        used_at: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        synced: durability::is_synced(metadata),
        ..empty(id)
    }
}

fn empty(id: StoredId) -> Stored {
    Stored {
        id,
        hot_bytes: 0,
        service: None,
        used_at: SystemTime::UNIX_EPOCH,
        pinned: false,
        leased: false,
        cold: false,
        synced: true,
    }
}
