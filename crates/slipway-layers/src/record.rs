//! What is known of a layer beside its file: `records/<kind>-<key>.json`.
//!
//! A record is a note, never the truth: it may be lost, broken or older than its layer, and then costs only work. The time of
//! its last change is the time of the layer's last use. Nothing here waits for the disk.

use crate::digest::LayerDigest;
use crate::error::LayerError;
use crate::key::check_key;
use crate::lock::LayerLock;
use crate::store::{LOCKS, LayerStore, parse_layer};
use crate::temp_file::TempFile;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW};
use serde::{Deserialize, Serialize};
use slipway_types::{LayerRef, ServiceId};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

pub(crate) const RECORDS: &str = "records";
pub(crate) const RECORD_SUFFIX: &str = ".json";
/// A record has about 200 bytes; a larger file is none.
const RECORD_BYTES_MAX: u64 = 16 * 1024;
/// A change of a record takes microseconds; who holds its lock for so long is stuck.
const RECORD_LOCK_WAIT_MAX: Duration = Duration::from_secs(10);
/// Finer than this nobody needs to know a layer's last use.
pub(crate) const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// A record may be written before its layer is published; longer than any build.
const ORPHAN_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LayerRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<LayerDigest>,
    /// The service whose build made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_for: Option<ServiceId>,
    /// Length of the image.
    pub image_bytes: u64,
    /// Whether a whole copy lies in the cold tier.
    pub cold: bool,
}

impl LayerStore {
    /// What is known of a layer: nothing, when there is no record or none that can be read.
    pub fn record(&self, layer: &LayerRef) -> LayerRecord {
        read(&self.record_path(layer))
    }

    /// Changes a record, one writer at a time. The last use stays as it was.
    pub fn update_record(&self, layer: &LayerRef, change: impl FnOnce(&mut LayerRecord)) -> Result<(), LayerError> {
        check_key(layer)?;
        let _lock = self.lock_record(layer)?;
        let path = self.record_path(layer);
        let mut record = read(&path);
        change(&mut record);
        let content = serde_json::to_vec(&record).unwrap_or_default();
        let temp = TempFile::new(&self.directory().join(RECORDS), &content)?;
        let failed = |source| LayerError::io("write", &path, source);
        let before = std::fs::metadata(&path).or_else(|_| std::fs::metadata(self.path(layer)));
        if let (Ok(used_at), Some(file)) = (before.and_then(|found| found.modified()), temp.file()) {
            file.set_modified(used_at).map_err(failed)?;
        }
        temp.rename(&path).map(drop)
    }

    /// Notes that the layer is used. Never fails a build: what cannot be noted is logged.
    pub fn touch(&self, layer: &LayerRef) {
        if check_key(layer).is_err() {
            return;
        }
        let path = self.record_path(layer);
        let touched = match std::fs::metadata(&path).and_then(|found| found.modified()) {
            Ok(at) if at.elapsed().is_ok_and(|age| age < TOUCH_EVERY) => Ok(()),
            // By the clock of the file system, which hosts that share the directory have in common.
            Ok(_) => rustix::fs::utimensat(CWD, &path, &NOW, AtFlags::empty()).map_err(io::Error::from),
            // An empty record says nothing, except when its layer was used.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.contains(layer) => {
                OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map(drop)
            }
            Err(error) => Err(error),
        };
        match touched {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%layer, %error, "the use of a layer is not noted; it may be evicted early");
            }
            _ => {}
        }
    }

    /// Removes the record of a layer that is about to leave the hot tier, unless its cold copy still needs it.
    pub(crate) fn forget_record(&self, layer: &LayerRef) -> Result<(), LayerError> {
        let _lock = self.lock_record(layer)?;
        let path = self.record_path(layer);
        if read(&path).cold {
            return Ok(());
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LayerError::io("remove", &path, error)),
            _ => Ok(()),
        }
    }

    /// Removes records of layers that are in no tier: written too late, or for a layer that was never made.
    pub(crate) fn sweep_records(&self) -> Result<(), LayerError> {
        let directory = self.directory().join(RECORDS);
        let entries = std::fs::read_dir(&directory).map_err(|e| LayerError::io("list", &directory, e))?;
        for entry in entries.flatten() {
            let name = entry.file_name().into_string().unwrap_or_default();
            let Some(layer) = name.strip_suffix(RECORD_SUFFIX).and_then(parse_layer) else { continue };
            let used_at = entry.metadata().and_then(|found| found.modified());
            let is_old = used_at.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > ORPHAN_AFTER));
            if is_old && !self.contains(&layer) {
                self.forget_record(&layer)?;
            }
        }
        Ok(())
    }

    /// When the layer was last used or made, by its record or else its image.
    pub(crate) fn used_at(&self, layer: &LayerRef) -> Option<SystemTime> {
        let at = |path: PathBuf| std::fs::metadata(path).and_then(|found| found.modified()).ok();
        at(self.record_path(layer)).max(at(self.path(layer)))
    }

    pub(crate) fn record_path(&self, layer: &LayerRef) -> PathBuf {
        self.directory().join(RECORDS).join(match check_key(layer) {
            Ok(()) => format!("{layer}{RECORD_SUFFIX}"),
            Err(_) => ".invalid-key".to_owned(),
        })
    }

    /// Another lock than the layer's own, which a build holds for minutes. No kind of layer is called `record`.
    fn lock_record(&self, layer: &LayerRef) -> Result<LayerLock, LayerError> {
        let path = self.directory().join(LOCKS).join(format!("record-{layer}"));
        LayerLock::acquire(&path, RECORD_LOCK_WAIT_MAX)?.ok_or_else(|| LayerError::LockTimeout {
            layer: layer.to_string(),
            seconds: RECORD_LOCK_WAIT_MAX.as_secs(),
        })
    }
}

const NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};

/// A record and the time of the last use that it tells. None when it is gone.
pub(crate) fn read_with_use(path: &Path) -> Option<(LayerRecord, SystemTime)> {
    let file = File::open(path).ok()?;
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    // One byte more than there is, so that one call reads it and sees its end.
    let mut content = Vec::with_capacity(usize::try_from(metadata.len().min(RECORD_BYTES_MAX)).unwrap_or(0) + 1);
    let read = file.take(RECORD_BYTES_MAX + 1).read_to_end(&mut content);
    let whole = read.is_ok() && content.len() as u64 <= RECORD_BYTES_MAX;
    let record = if whole { serde_json::from_slice(&content).unwrap_or_default() } else { LayerRecord::default() };
    Some((record, metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)))
}

fn read(path: &Path) -> LayerRecord {
    read_with_use(path).map(|(record, _)| record).unwrap_or_default()
}
