//! A mounted image.

use crate::error::LayerError;
use crate::image::Access;
use crate::loop_device::LoopDevice;
use crate::write_back::{self, EarlyWriteBack};
use crate::written::check_host_written;
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use std::ffi::CStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long an unmount waits for processes that are just dying to let go.
const UNMOUNT_WAIT_MAX: Duration = Duration::from_secs(3);
const UNMOUNT_POLL: Duration = Duration::from_millis(5);
/// No barriers: a flush of the whole image at each unmount would make publishing as slow as the disk; the store syncs
/// what it publishes afterwards. `noinit_itable`: a new sparse file is zero already. `discard`: deleted files give disk back.
const WRITE_OPTIONS: &CStr = c"nobarrier,noinit_itable,discard,errors=remount-ro";
const READ_OPTIONS: &CStr = c"errors=continue";

/// A mount of one image, unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    image: PathBuf,
    at: PathBuf,
    active: bool,
    early: Option<EarlyWriteBack>,
}

impl Mounted {
    pub(crate) fn new(image: &Path, at: &Path, access: Access) -> Result<Self, LayerError> {
        check_host_written(image)?;
        std::fs::create_dir_all(at).map_err(|e| LayerError::io("create the directory", at, e))?;
        let (device, flags, options) = match access {
            Access::ReadOnly => (LoopDevice::attach_read_only(image)?, MountFlags::RDONLY, READ_OPTIONS),
            Access::ReadWrite => (LoopDevice::attach_read_write(image)?, MountFlags::empty(), WRITE_OPTIONS),
        };
        rustix::mount::mount(&device.path, at, c"ext4", flags | MountFlags::NOATIME, options)
            .map_err(|e| LayerError::Mount { path: image.to_path_buf(), at: at.to_path_buf(), source: e.into() })?;
        device.mounted();
        let mounted = Self { image: image.to_path_buf(), at: at.to_path_buf(), active: true, early: None };
        if access == Access::ReadWrite {
            if let Ok(root) = std::fs::metadata(at) {
                write_back::bound_dirty(root.dev());
            }
            for directory in [mounted.upper(), mounted.work()] {
                std::fs::create_dir_all(&directory).map_err(|e| LayerError::io("create", &directory, e))?;
            }
        }
        Ok(mounted)
    }

    /// Where the image is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// The layer's tree.
    pub fn upper(&self) -> PathBuf {
        self.at.join("upper")
    }

    /// Overlay's work directory.
    pub fn work(&self) -> PathBuf {
        self.at.join("work")
    }

    /// For an image that is to become a layer: what is written into it goes to the disk as it comes, so that neither the
    /// unmount nor the next mount has much to wait for. Best effort.
    #[must_use]
    pub fn write_back_early(mut self) -> Self {
        self.early =
            EarlyWriteBack::start(&self.image).inspect_err(|error| tracing::warn!(%error, "no early writing")).ok();
        self
    }

    /// Unmounts, and says so when it can't.
    pub fn unmount(mut self) -> Result<(), LayerError> {
        self.active = false;
        unmount(&self.at)
    }

    /// Leaves the mount to outlive this handle; end it with [`unmount`].
    pub fn keep(mut self) -> PathBuf {
        self.active = false;
        std::mem::take(&mut self.at)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.active {
            return;
        }
        let device = rustix::fs::stat(&self.at).map(|found| found.st_dev);
        if let Err(error) = unmount(&self.at) {
            tracing::warn!(at = %self.at.display(), %error, "mount is busy, detached it");
            let _ = rustix::mount::unmount(&self.at, UnmountFlags::DETACH);
            if let Ok(device) = device {
                write_back::unbound_dirty(device);
            }
        }
    }
}

/// Unmounts what is mounted there; a busy one is waited for, within a bound. Nothing mounted there is fine.
pub fn unmount(at: &Path) -> Result<(), LayerError> {
    let failed = |error: Errno| LayerError::Unmount { at: at.to_path_buf(), source: error.into() };
    let no_mount = |error| matches!(error, Errno::INVAL | Errno::NOENT);
    let deadline = Instant::now() + UNMOUNT_WAIT_MAX;
    loop {
        match end_writing(at).and_then(|()| rustix::mount::unmount(at, UnmountFlags::NOFOLLOW)) {
            Ok(()) => return Ok(()),
            Err(error) if no_mount(error) => return Ok(()),
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(UNMOUNT_POLL),
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Makes the file system itself read-only, and so the image whole and clean. Every mount namespace that was made meanwhile may
/// hold a copy of the mount, and keeps the file system alive as long as it lives: unmounting here would not end the writing.
fn end_writing(at: &Path) -> Result<(), Errno> {
    let read_only = rustix::fs::statvfs(at)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    if read_only {
        return Ok(());
    }
    rustix::mount::mount_remount(at, MountFlags::RDONLY | MountFlags::NOATIME, c"")?;
    write_back::unbound_dirty(rustix::fs::stat(at)?.st_dev);
    Ok(())
}
