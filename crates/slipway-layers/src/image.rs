//! One image: an ext4 file system in a sparse file.
//!
//! No journal: an image is either published (never written again) or scratch that a power cut may take. While it is
//! mounted read-write its superblock says "not clean", so a torn image is recognised without a check.

use crate::error::LayerError;
pub use crate::mount::{Mounted, unmount};
pub use crate::written::{mark_guest_written, written_by};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// Smallest image: below it the file system's own tables leave no room.
pub const IMAGE_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// At the front of an image, unused by ext4. Publishing writes there which machine answers for it until it is on the disk: it
/// is no part of what the image holds.
pub const BOOT_BLOCK_BYTES: u64 = 1024;
/// One inode for so many bytes: half of ext4's default ratio, because dependency trees are many small files.
const BYTES_PER_INODE: &str = "8192";
/// Sizes that have a template. A server's services and builds have a few.
const TEMPLATES_MAX: usize = 16;
/// Offset of the superblock, and of the magic number in it.
const SUPERBLOCK_OFFSET: u64 = 1024;
const MAGIC_OFFSET: usize = 56;
const MAGIC: u16 = 0xEF53;
/// Value of the state field (right after the magic) of a clean file system without errors.
const STATE_CLEAN: u16 = 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Many may mount one image so; they share one loop device and one page cache.
    ReadOnly,
    /// One mount at a time. `upper/` and `work/` are made where they are missing.
    ReadWrite,
}
pub use Access::{ReadOnly, ReadWrite};

/// Room in a mounted image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub total_bytes: u64,
    pub free_bytes: u64,
    pub total_inodes: u64,
    pub free_inodes: u64,
}

/// Makes a new, empty image of that size. The file is sparse: it takes disk only as it fills. Fails where `path` exists.
pub fn create(path: &Path, bytes: u64) -> Result<(), LayerError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = made.map_err(|e| LayerError::io("create the image", path, e))?;
    let formatted = file
        .set_len(bytes.max(IMAGE_BYTES_MIN))
        .map_err(|e| LayerError::io("size the image", path, e))
        .and_then(|()| format(path));
    if formatted.is_err() {
        let _ = std::fs::remove_file(path);
    }
    formatted
}

/// Like [`create`], as a copy of a template in that directory, which is made with the first image of its size: a program that is run
/// for it takes ten times as long. For images that never become layers: what is copied has the template's identity.
pub fn create_from(templates: &Path, path: &Path, bytes: u64) -> Result<(), LayerError> {
    let template = templates.join(format!("{bytes}.img"));
    if template.exists() && crate::copy::copy(&template, path).is_ok() {
        return Ok(());
    }
    create(path, bytes)?;
    let few = std::fs::read_dir(templates).is_ok_and(|all| all.count() < TEMPLATES_MAX);
    let partial = templates.join(format!("{bytes}.{}.partial", std::process::id()));
    // Without one, the next image is made as this one was.
    if few && (crate::copy::copy(path, &partial).is_err() || std::fs::rename(&partial, &template).is_err()) {
        let _ = std::fs::remove_file(&partial);
    }
    Ok(())
}

fn format(path: &Path) -> Result<(), LayerError> {
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-b", "4096", "-I", "256", "-m", "0", "-i", BYTES_PER_INODE])
        .args(["-O", "^has_journal,^resize_inode", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"])
        .arg(path)
        .env("PATH", search_path())
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let message = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
            Err(LayerError::Mkfs { path: path.to_path_buf(), message })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(LayerError::MkfsMissing),
        Err(error) => Err(LayerError::io("run `mkfs.ext4` for", path, error)),
    }
}

/// `mkfs.ext4` stands in `/usr/sbin`, which a service manager's or a user's PATH may lack.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}

/// Mounts an image at a directory, which is made where it is missing. One that a virtual machine wrote is refused: its file system
/// may have been made to break the kernel that reads it.
pub fn mount(path: &Path, at: &Path, access: Access) -> Result<Mounted, LayerError> {
    Mounted::new(path, at, access)
}

/// Room left in a mounted image.
pub fn usage(mounted: &Mounted) -> Result<Usage, LayerError> {
    usage_at(mounted.path())
}

/// Like [`usage`], for a mount that another process made.
pub fn usage_at(at: &Path) -> Result<Usage, LayerError> {
    let stat = rustix::fs::statvfs(at).map_err(|e| LayerError::io("measure", at, e.into()))?;
    Ok(Usage {
        total_bytes: stat.f_blocks * stat.f_frsize,
        free_bytes: stat.f_bavail * stat.f_frsize,
        total_inodes: stat.f_files,
        free_inodes: stat.f_favail,
    })
}

/// Bytes that the image takes on its disk (a sparse file takes less than its length).
pub fn allocated_bytes(path: &Path) -> Result<u64, LayerError> {
    let metadata = std::fs::metadata(path).map_err(|e| LayerError::io("measure", path, e))?;
    Ok(metadata.blocks() * 512)
}

/// Whether nobody writes the image, and it holds no error, as two numbers at fixed places say.
pub fn is_clean(path: &Path) -> Result<bool, LayerError> {
    Ok(read_state(path)? == STATE_CLEAN)
}

fn read_state(path: &Path) -> Result<u16, LayerError> {
    let mut superblock = [0_u8; 64];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(SUPERBLOCK_OFFSET))?;
        file.read_exact(&mut superblock)
    });
    match read {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(LayerError::NotAnImage { path: path.to_path_buf() });
        }
        Err(error) => return Err(LayerError::io("read", path, error)),
    }
    let field = |at: usize| u16::from_le_bytes([superblock[at], superblock[at + 1]]);
    if field(MAGIC_OFFSET) != MAGIC {
        return Err(LayerError::NotAnImage { path: path.to_path_buf() });
    }
    Ok(field(MAGIC_OFFSET + 2))
}
