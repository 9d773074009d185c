//! What survives a power cut.
//!
//! Publishing does not wait for the disk. A published image is writable (mode 0600) until a background thread has synced its
//! data; then it becomes read-only (0400). The mode changes strictly after the sync, so this relies on no ordering by the
//! file system.
//!
//! While it is unsynced, only the machine that published it has all of it for sure, in its page cache. Hosts may share a
//! directory, so an image says whose it is: its boot block, which ext4 leaves alone, names machine and boot. Within that boot
//! it is whole, whatever was killed. After a reboot of that machine it may be torn, and that machine removes it.

use crate::error::LayerError;
use crate::machine::{Boot, this_boot};
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Images waiting for their sync. More wait for the next sweep or start of the store.
const QUEUE_MAX: usize = 1024;
const MODE_UNSYNCED: u32 = 0o600;
const MODE_SYNCED: u32 = 0o400;
/// The first of the [`crate::image::BOOT_BLOCK_BYTES`]; machine and boot follow.
const MARK_MAGIC: &[u8; 16] = b"slipway-unsynced";
const MARK_BYTES: usize = MARK_MAGIC.len() + 2 * HASH_BYTES;
const HASH_BYTES: usize = 32;

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
            tracing::warn!(%error, "layer stays unsynced until the next sweep, or until the store is opened again");
        }
    }
}

fn run(images: &Receiver<PathBuf>) {
    for image in images {
        match sync(&image) {
            Ok(()) => {}
            // Removed before its turn.
            Err(LayerError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
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

/// Before an image is published: it may come with any mode. After that nothing of it changes any more.
pub(crate) fn mark_unsynced(image: &Path) -> Result<(), LayerError> {
    let Boot { machine, boot } = this_boot();
    let mark = [MARK_MAGIC.as_slice(), machine, boot].concat();
    let failed = |source| LayerError::io("mark", image, source);
    let file = OpenOptions::new().write(true).open(image).map_err(failed)?;
    file.set_permissions(Permissions::from_mode(MODE_UNSYNCED)).map_err(failed)?;
    // Closing a file that was open for writing is also what makes its data seen by other hosts, on a network file system.
    file.write_all_at(&mark, 0).map_err(failed)
}

/// What an unsynced image's mark means to this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Published in this boot: whole, and to be synced.
    ThisBoot,
    /// This machine went down before the sync, or the mark never reached the disk.
    MayBeTorn,
    /// Another machine answers for it.
    Elsewhere,
}

pub(crate) fn origin(image: &Path) -> io::Result<Origin> {
    let mut mark = [0_u8; MARK_BYTES];
    match File::open(image)?.read_exact_at(&mut mark, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Origin::MayBeTorn),
        read => read?,
    }
    let (magic, hashes) = mark.split_at(MARK_MAGIC.len());
    let (machine, boot) = hashes.split_at(HASH_BYTES);
    let this = this_boot();
    Ok(if magic != MARK_MAGIC {
        Origin::MayBeTorn
    } else if boot == this.boot {
        // Whatever it calls itself: containers of one kernel share its page cache.
        Origin::ThisBoot
    } else if machine == this.machine {
        Origin::MayBeTorn
    } else {
        Origin::Elsewhere
    })
}
