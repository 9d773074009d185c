//! Loop devices by ioctl: no program is run, and a device frees itself with its last mount.
//!
//! Read-only mounts of one image share one device, hence one superblock and one page cache: ten sandboxes on one base image
//! hold its files in memory once. Found by asking the kernel each time, so it works across processes without any state.

use crate::error::LayerError;
use crate::image::is_clean;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Attempts to get a device when others take the free one first.
const ATTACH_ATTEMPTS_MAX: u32 = 64;
const LOOP_MAJOR: u32 = 7;
/// How long an image in use is waited for: the kernel ends a dead container's mounts, and frees their devices, a moment late.
const RESERVE_WAIT_MAX: Duration = Duration::from_secs(1);
/// The same of one that is published: whoever does so has let go of it, and fails where the wait is too short.
pub(crate) const PUBLISH_WAIT_MAX: Duration = Duration::from_secs(10);
const RESERVE_POLL: Duration = Duration::from_millis(2);

// From the kernel's `include/uapi/linux/loop.h`.
const LOOP_GET_STATUS64: libc::Ioctl = 0x4C05;
const LOOP_CONFIGURE: libc::Ioctl = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4C82;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo64 {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo64,
    reserved: [u64; 8],
}

/// An attached device. It stays attached while this is open or while it is mounted.
///
/// Locks of the image keep mounts apart. The device keeps the very file that it is given, and a lock is the file's: so readers'
/// shared lock lasts as long as their device does, whichever process made it. A writer's exclusive lock lasts only until
/// [`LoopDevice::mounted`]: from then on the image itself says that it is being written (see [`crate::image`]). That says more
/// than the device, which another mount namespace's copy of a mount may keep attached long after the last write.
#[derive(Debug)]
pub(crate) struct LoopDevice {
    pub(crate) path: PathBuf,
    writer: Option<File>,
    _open: File,
}

impl LoopDevice {
    /// A device for reading: one that is there already, else a new one.
    pub(crate) fn attach_read_only(image: &Path) -> Result<Self, LayerError> {
        let file = File::open(image).map_err(|e| LayerError::io("open the image", image, e))?;
        reserve(&file, image, FlockOperation::NonBlockingLockShared)?;
        match find(&file, image, |flags| flags & LO_FLAGS_READ_ONLY != 0)? {
            Some(device) => Ok(device),
            None => attach(&file, image, LO_FLAGS_READ_ONLY),
        }
    }

    /// A device for writing: never shared, since two mounts would tear the file system.
    pub(crate) fn attach_read_write(image: &Path) -> Result<Self, LayerError> {
        let opened = OpenOptions::new().read(true).write(true).open(image);
        let file = opened.map_err(|e| LayerError::io("open the image", image, e))?;
        reserve(&file, image, FlockOperation::NonBlockingLockExclusive)?;
        let device = attach(&file, image, 0)?;
        Ok(Self { writer: Some(file), ..device })
    }

    /// To be called once the device is mounted.
    pub(crate) fn mounted(self) {
        if let Some(file) = &self.writer
            && let Err(error) = rustix::fs::flock(file, FlockOperation::Unlock)
        {
            tracing::warn!(%error, "image stays locked while it is mounted");
        }
    }
}

/// Locks the image, and makes sure that nobody writes it. Waits for both within a bound.
fn reserve(file: &File, image: &Path, lock: FlockOperation) -> Result<(), LayerError> {
    let deadline = Instant::now() + RESERVE_WAIT_MAX;
    loop {
        match rustix::fs::flock(file, lock) {
            Ok(()) => return wait_until_clean(image, RESERVE_WAIT_MAX),
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => std::thread::sleep(RESERVE_POLL),
            Err(Errno::WOULDBLOCK) => return Err(LayerError::ImageInUse { path: image.to_path_buf() }),
            Err(error) => return Err(LayerError::io("lock", image, error.into())),
        }
    }
}

/// Waits until nobody writes the image any more.
pub(crate) fn wait_until_clean(image: &Path, bound: Duration) -> Result<(), LayerError> {
    let deadline = Instant::now() + bound;
    loop {
        if is_clean(image)? {
            return Ok(());
        }
        let file = File::open(image).map_err(|e| LayerError::io("open the image", image, e))?;
        // Without a device nobody will ever clean it, unless that happened just now.
        if find(&file, image, |_| true)?.is_none() {
            return if is_clean(image)? { Ok(()) } else { Err(LayerError::NotClean { path: image.to_path_buf() }) };
        }
        if Instant::now() >= deadline {
            return Err(LayerError::ImageInUse { path: image.to_path_buf() });
        }
        std::thread::sleep(RESERVE_POLL);
    }
}

fn attach(file: &File, image: &Path, flags: u32) -> Result<LoopDevice, LayerError> {
    let none = |source| LayerError::NoLoopDevice { path: image.to_path_buf(), source };
    let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control").map_err(none)?;
    let mut last = io::Error::from_raw_os_error(libc::EBUSY);
    for _ in 0..ATTACH_ATTEMPTS_MAX {
        // SAFETY: `control` is open; this request takes no argument and returns a number.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
        let number = u32::try_from(number).map_err(|_| none(io::Error::last_os_error()))?;
        match configure(number, file, flags) {
            Ok(device) => return Ok(device),
            // Another took it between the two calls, or it is still being torn down.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENXIO | libc::EAGAIN)) => {
                last = error
            }
            Err(error) => return Err(none(error)),
        }
    }
    Err(none(last))
}

fn configure(number: u32, file: &File, flags: u32) -> io::Result<LoopDevice> {
    let path = node(number)?;
    let device = OpenOptions::new().read(true).write(flags & LO_FLAGS_READ_ONLY == 0).open(&path)?;
    let mut info = empty_info();
    info.flags = flags | LO_FLAGS_AUTOCLEAR;
    let config = LoopConfig { fd: file.as_raw_fd().cast_unsigned(), block_size: 0, info, reserved: [0; 8] };
    // SAFETY: `device` is open and `config` is a `struct loop_config` that outlives the call.
    match unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) } {
        0 => Ok(LoopDevice { path, writer: None, _open: device }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The device's node, made where `/dev` does not fill itself (a container's often does not).
fn node(number: u32) -> io::Result<PathBuf> {
    let path = PathBuf::from(format!("/dev/loop{number}"));
    let there = std::fs::metadata(&path).is_ok_and(|found| found.file_type().is_block_device());
    if !there {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let device = rustix::fs::makedev(LOOP_MAJOR, number);
        let made = rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::BlockDevice, mode, device);
        match made {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(path)
}

/// An attached device of this very file whose flags are wanted.
fn find(file: &File, image: &Path, wanted: impl Fn(u32) -> bool) -> Result<Option<LoopDevice>, LayerError> {
    let sysfs = Path::new("/sys/block");
    let metadata = file.metadata().map_err(|e| LayerError::io("inspect", image, e))?;
    let entries = std::fs::read_dir(sysfs).map_err(|e| LayerError::io("list", sysfs, e))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(number) = name.to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok()) else { continue };
        // Opening a device keeps it from freeing itself: only those are opened that may be the one. The path that sysfs
        // shows decides nothing (bind mounts, renames); the device is asked for the inode.
        let read_only = std::fs::read(entry.path().join("ro")).is_ok_and(|flag| flag.starts_with(b"1"));
        let flags = if read_only { LO_FLAGS_READ_ONLY } else { 0 };
        if wanted(flags)
            && entry.path().join("loop/backing_file").exists()
            && let Some((device, flags)) = matching(number, &metadata)
            && wanted(flags)
        {
            return Ok(Some(device));
        }
    }
    Ok(None)
}

/// While the device is open it can't detach itself; a device that did so in between answers ENXIO.
fn matching(number: u32, wanted: &std::fs::Metadata) -> Option<(LoopDevice, u32)> {
    let path = node(number).ok()?;
    let device = File::open(&path).ok()?;
    let mut info = empty_info();
    // SAFETY: `device` is open and `info` is a `struct loop_info64` that the kernel fills.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64, &raw mut info) };
    let same = result == 0 && info.inode == wanted.ino() && info.device == kernel_device(wanted.dev());
    let device = LoopDevice { path, writer: None, _open: device };
    (same && info.offset == 0).then_some((device, info.flags))
}

/// The kernel's `huge_encode_dev`: the encoding that `stat` uses too for the numbers in use.
fn kernel_device(device: u64) -> u64 {
    let (major, minor) = (u64::from(rustix::fs::major(device)), u64::from(rustix::fs::minor(device)));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn empty_info() -> LoopInfo64 {
    LoopInfo64 {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    }
}
