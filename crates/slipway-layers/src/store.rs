//! The directory of published layers.
//!
//! Guarantees: a file named `<kind>-<key>.img` is a whole layer (publishing is one rename that never replaces); two that
//! publish one key leave one file; what a crash or a power cut left is gone after [`LayerStore::open`].

use crate::durability::{self, Origin, Syncer};
use crate::error::LayerError;
use crate::hold::{LEASES, PINS};
use crate::image::{self, Access};
use crate::key::{check_key, is_valid_key};
use crate::leftover::{self, ABANDONED_AFTER, WorkArea};
use crate::lock::{LOCK_WAIT_MAX, LayerLock};
use crate::loop_device;
use crate::record::{LayerRecord, RECORDS};
use crate::temp_file;
use crate::written::{check_host_written, mark_guest_written};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use slipway_types::{LayerKind, LayerRef, WrittenBy};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(crate) const SUFFIX: &str = ".img";
pub(crate) const LOCKS: &str = "locks";

/// Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct LayerStore {
    directory: PathBuf,
    syncer: Arc<Syncer>,
}

/// A published layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    pub layer: LayerRef,
    /// What it takes on the disk.
    pub allocated_bytes: u64,
    pub published_at: SystemTime,
    /// Whether it would survive a power cut.
    pub synced: bool,
    pub(crate) image: ImageId,
}

/// Which image stands under a layer's name: another one that takes its place has another id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ImageId {
    device: u64,
    inode: u64,
    /// File systems give an inode's number to the next file.
    modified: (i64, i64),
}

impl ImageId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { device: metadata.dev(), inode: metadata.ino(), modified }
    }
}

impl LayerStore {
    /// Opens the directory, made where it is missing, and removes what a crash left in it.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, LayerError> {
        let directory = directory.into();
        for part in [LOCKS, RECORDS, PINS, LEASES] {
            let part = directory.join(part);
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&part);
            made.map_err(|e| LayerError::io("create the directory", &part, e))?;
        }
        leftover::sweep(&directory)?;
        leftover::sweep_locks(&directory.join(LOCKS))?;
        for part in [RECORDS, PINS, LEASES] {
            temp_file::sweep(&directory.join(part))?;
        }
        let store = Self { directory, syncer: Arc::new(Syncer::start()?) };
        store.sweep_leases()?;
        store.recover()?;
        Ok(store)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file of a layer, there or not. For an invalid key it is a name that no layer has.
    pub fn path(&self, layer: &LayerRef) -> PathBuf {
        self.directory.join(match is_valid_key(&layer.key) {
            true => format!("{layer}{SUFFIX}"),
            false => ".invalid-key".to_owned(),
        })
    }

    pub fn contains(&self, layer: &LayerRef) -> bool {
        self.path(layer).is_file()
    }

    /// Moves an unmounted image into the store; from another disk it is copied. `false`: the layer was there already, and
    /// the image is removed. Does not wait for the disk; [`LayerStore::sync`] does. What a virtual machine wrote becomes no layer
    /// whose name does not say so ([`LayerRef::written_by`]).
    pub fn publish(&self, image: &Path, layer: &LayerRef) -> Result<bool, LayerError> {
        // A key may stand for a deployment, and these bytes be others than those that had it before.
        self.publish_with(image, layer, LayerRecord::forget_content)
    }

    /// Like [`LayerStore::publish`], of an image of which more is known: that is noted in the moment in which the layer appears,
    /// and not at all where it was there already.
    pub(crate) fn publish_with(
        &self,
        image: &Path,
        layer: &LayerRef,
        note: impl Fn(&mut LayerRecord),
    ) -> Result<bool, LayerError> {
        check_key(layer)?;
        loop_device::wait_until_clean(image, loop_device::PUBLISH_WAIT_MAX)?;
        match layer.written_by() {
            WrittenBy::Guest => mark_guest_written(image)?,
            WrittenBy::Host => check_host_written(image)?,
        }
        durability::mark_unsynced(image)?;
        let published = match self.place(image, layer, &note) {
            Err(LayerError::Io { source, .. }) if source.kind() == io::ErrorKind::CrossesDevices => {
                self.publish_copy(image, layer, &note)?
            }
            result => result?,
        };
        if published {
            tracing::info!(%layer, "layer published");
            self.syncer.enqueue(self.path(layer));
        }
        Ok(published)
    }

    /// Under the record's lock: nobody else changes in between what the record says of the layer's content.
    fn place(&self, image: &Path, layer: &LayerRef, note: impl Fn(&mut LayerRecord)) -> Result<bool, LayerError> {
        let _record = self.lock_record(layer)?;
        let is_new = !self.contains(layer);
        if is_new {
            self.rewrite_record(layer, note)?;
        }
        let published = rename_new(image, &self.path(layer))?;
        if is_new && !published {
            // Somebody whom the lock does not keep out was first.
            self.rewrite_record(layer, LayerRecord::forget_content)?;
        }
        Ok(published)
    }

    /// The work of a build may lie on a local disk, and the store on one that hosts share.
    fn publish_copy(
        &self,
        image: &Path,
        layer: &LayerRef,
        note: impl Fn(&mut LayerRecord),
    ) -> Result<bool, LayerError> {
        let mut published = false;
        if !self.contains(layer) {
            let area = WorkArea::new(&self.directory)?;
            crate::copy::copy(image, &area.image())?;
            published = self.place(&area.image(), layer, note)?;
        }
        std::fs::remove_file(image).map_err(|e| LayerError::io("remove", image, e))?;
        Ok(published)
    }

    /// Makes a layer in one go: `fill` writes its tree into the directory that it is given. `false`: it was there already
    /// (and `fill` ran only if it was published meanwhile). To fill once however many ask, hold [`LayerStore::lock`].
    pub fn write_layer<E: From<LayerError>>(
        &self,
        layer: &LayerRef,
        bytes: u64,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<bool, E> {
        check_key(layer)?;
        if self.contains(layer) {
            return Ok(false);
        }
        let area = WorkArea::new(&self.directory)?;
        image::create(&area.image(), bytes)?;
        let mounted = image::mount(&area.image(), &area.mount_point(), Access::ReadWrite)?;
        fill(&mounted.upper())?;
        mounted.unmount()?;
        Ok(self.publish(&area.image(), layer)?)
    }

    /// Waits until the layer would survive a power cut.
    pub fn sync(&self, layer: &LayerRef) -> Result<(), LayerError> {
        self.check_contains(layer)?;
        durability::sync(&self.path(layer))
    }

    /// Waits until this is the one to work on the layer, in this process and all others.
    pub fn lock(&self, layer: &LayerRef) -> Result<LayerLock, LayerError> {
        let timeout = || LayerError::LockTimeout { layer: layer.to_string(), seconds: LOCK_WAIT_MAX.as_secs() };
        self.lock_within(layer, LOCK_WAIT_MAX)?.ok_or_else(timeout)
    }

    /// Like [`LayerStore::lock`]; `None` when it stayed locked for that long.
    pub fn lock_within(&self, layer: &LayerRef, wait: Duration) -> Result<Option<LayerLock>, LayerError> {
        check_key(layer)?;
        LayerLock::acquire(&self.directory.join(LOCKS).join(layer.to_string()), wait)
    }

    /// All published layers, ordered by kind and key. Other files are passed over.
    pub fn list(&self) -> Result<Vec<LayerEntry>, LayerError> {
        let entries = std::fs::read_dir(&self.directory).map_err(|e| LayerError::io("list", &self.directory, e))?;
        let mut layers: Vec<LayerEntry> = entries
            .flatten()
            .filter_map(|entry| {
                let layer = parse_layer(entry.file_name().to_str()?.strip_suffix(SUFFIX)?)?;
                let metadata = entry.metadata().ok().filter(Metadata::is_file)?;
                Some(LayerEntry {
                    layer,
                    allocated_bytes: metadata.blocks() * 512,
                    published_at: metadata.modified().ok()?,
                    synced: durability::is_synced(&metadata),
                    image: ImageId::of(&metadata),
                })
            })
            .collect();
        layers.sort_by(|a, b| a.layer.cmp(&b.layer));
        Ok(layers)
    }

    /// Removes a layer; `false` when it was not there. Sandboxes that have it mounted keep it until they end.
    pub fn remove(&self, layer: &LayerRef) -> Result<bool, LayerError> {
        check_key(layer)?;
        // First, so that a crash between the two leaves a layer without a record, and not the other way round.
        self.forget_record(layer)?;
        let path = self.path(layer);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(LayerError::io("remove", &path, error)),
        }
    }

    /// Looks after images that are not on the disk yet: those of this boot are synced; what may be torn is removed.
    pub(crate) fn recover(&self) -> Result<(), LayerError> {
        for entry in self.list()?.into_iter().filter(|entry| !entry.synced) {
            if self.may_be_torn(&entry)? {
                // Whoever holds it makes it anew; after a wait the new one may be there.
                let Some(_work) = self.lock_within(&entry.layer, Duration::ZERO)? else { continue };
                if self.may_be_torn(&entry)? {
                    tracing::warn!(layer = %entry.layer, "removing a layer that was not on the disk when its machine went down");
                    self.remove(&entry.layer)?;
                }
            }
        }
        Ok(())
    }

    fn may_be_torn(&self, entry: &LayerEntry) -> Result<bool, LayerError> {
        let path = self.path(&entry.layer);
        match durability::origin(&path) {
            Ok(Origin::ThisBoot) => {
                self.syncer.enqueue(path);
                Ok(false)
            }
            Ok(Origin::MayBeTorn) => Ok(true),
            // That machine never came back to say that it is whole, or can't; then who needs it decides.
            Ok(Origin::Elsewhere) => {
                let abandoned = entry.published_at.elapsed().is_ok_and(|age| age > ABANDONED_AFTER);
                Ok(abandoned && !self.pins().contain(&entry.layer) && !self.leases().contain(&entry.layer))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(LayerError::io("read", &path, error)),
        }
    }

    fn check_contains(&self, layer: &LayerRef) -> Result<(), LayerError> {
        check_key(layer)?;
        match self.contains(layer) {
            true => Ok(()),
            false => Err(LayerError::NoSuchLayer { layer: layer.to_string() }),
        }
    }
}

/// Reads `<kind>-<key>`.
pub(crate) fn parse_layer(name: &str) -> Option<LayerRef> {
    let (kind, key) = name.split_once('-')?;
    let kind = LayerKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    is_valid_key(key).then(|| LayerRef::new(kind, key))
}

/// Renames without replacing; `false` when the target was there, and then the image is removed.
fn rename_new(image: &Path, target: &Path) -> Result<bool, LayerError> {
    let mut result = rustix::fs::renameat_with(CWD, image, CWD, target, RenameFlags::NOREPLACE);
    if matches!(result, Err(Errno::INVAL | Errno::NOSYS)) {
        // A file system without that flag (some network ones): a link is never made over another either.
        result = rustix::fs::link(image, target);
    } else if result.is_ok() {
        return Ok(true);
    }
    let published = match result {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(LayerError::io("publish as", target, error.into())),
    };
    std::fs::remove_file(image).map_err(|e| LayerError::io("remove", image, e))?;
    Ok(published)
}
