//! What survives a power cut.
//!
//! Publishing does not wait for the disk. A published image is writable (mode 0600) until a background thread has synced its
//! data; then it becomes read-only (0400). The store remembers the boot that it was last opened in: within one boot the page
//! cache is coherent, whatever was killed; after a reboot every image that is still writable may be torn and is removed.
//! The mode changes strictly after the sync, so this relies on no ordering by the file system.

use crate::error::LayerError;
use std::fs::{File, Metadata, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Images waiting for their sync. More wait for the next start of the store.
const QUEUE_MAX: usize = 1024;
const MODE_UNSYNCED: u32 = 0o600;
const MODE_SYNCED: u32 = 0o400;
const BOOT_FILE: &str = ".boot-id";

/// Hands images to the background thread, which ends when the last store handle is dropped.
#[derive(Debug)]
pub(crate) struct Syncer(SyncSender<PathBuf>);

impl Syncer {
    pub(crate) fn start() -> Result<Self, LayerError> {
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        std::thread::Builder::new()
            .name("layer-sync".to_owned())
            .spawn(move || run(&receiver))
            .map_err(|e| LayerError::io("start the thread that syncs", Path::new("layers"), e))?;
        Ok(Self(sender))
    }

    pub(crate) fn enqueue(&self, image: PathBuf) {
        if let Err(error) = self.0.try_send(image) {
            tracing::warn!(%error, "layer stays unsynced until the store is opened again");
        }
    }
}

fn run(images: &Receiver<PathBuf>) {
    for image in images {
        match sync(&image) {
            Ok(()) => {}
            // Removed before its turn.
            Err(LayerError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "layer is not synced; it would not survive a power cut"),
        }
    }
}

/// Writes the image to the disk, then marks it so. Cheap when that was done before.
pub(crate) fn sync(image: &Path) -> Result<(), LayerError> {
    let failed = |source| LayerError::io("sync", image, source);
    let file = File::open(image).map_err(failed)?;
    if is_synced(&file.metadata().map_err(failed)?) {
        return Ok(());
    }
    file.sync_all().map_err(failed)?;
    file.set_permissions(Permissions::from_mode(MODE_SYNCED)).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let directory = image.parent().unwrap_or(Path::new("."));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

pub(crate) fn is_synced(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & 0o200 == 0
}

/// Before an image is published: it may come with any mode.
pub(crate) fn mark_unsynced(image: &Path) -> Result<(), LayerError> {
    std::fs::set_permissions(image, Permissions::from_mode(MODE_UNSYNCED))
        .map_err(|e| LayerError::io("set the mode of", image, e))
}

/// Whether the machine was not rebooted since the store was last opened.
pub(crate) fn is_same_boot(directory: &Path) -> Result<bool, LayerError> {
    let path = directory.join(BOOT_FILE);
    let then = std::fs::read_to_string(&path).unwrap_or_default();
    Ok(then == boot_id()?)
}

pub(crate) fn record_boot(directory: &Path) -> Result<(), LayerError> {
    let path = directory.join(BOOT_FILE);
    std::fs::write(&path, boot_id()?).map_err(|e| LayerError::io("write", &path, e))
}

fn boot_id() -> Result<String, LayerError> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    std::fs::read_to_string(path).map_err(|e| LayerError::io("read", path, e))
}
