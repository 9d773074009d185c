//! A copy of an image that takes no longer than it must: by reference where the disk can, else only what holds data.
//!
//! The copy has the same length and is nobody's yet: it is writable, and marked as not on the disk.

use crate::error::LayerError;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Read at a time where the kernel can't copy by itself.
const BUFFER_BYTES: usize = 1 << 20;
/// What is all zero in this size stays a hole. Images are made of blocks of this size.
const BLOCK_BYTES: usize = 4096;

/// How an image was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// Both files share their blocks until one is written.
    ByReference,
    /// Bytes that were written.
    Data(u64),
}

/// Copies an image that nobody writes. Fails where `to` exists; a copy that failed is removed.
pub fn copy(from: &Path, to: &Path) -> Result<Copied, LayerError> {
    let source = File::open(from).map_err(|e| LayerError::io("open the image", from, e))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let target = made.map_err(|e| LayerError::io("create the image", to, e))?;
    let copied = fill(&source, &target);
    if copied.is_err() {
        let _ = std::fs::remove_file(to);
    }
    copied.map_err(|errno| LayerError::io("copy to", to, errno.into()))
}

fn fill(source: &File, target: &File) -> Result<Copied, Errno> {
    if rustix::fs::ioctl_ficlone(target, source).is_ok() {
        return Ok(Copied::ByReference);
    }
    let metadata = source.metadata().map_err(errno)?;
    target.set_len(metadata.len()).map_err(errno)?;
    let extents = extents(source, metadata.len())?;
    let data: u64 = extents.iter().map(|(_, length)| length).sum();
    // A file system that knows no holes calls everything data.
    let knows_holes = data <= (metadata.blocks() * 512).saturating_mul(2).max(BUFFER_BYTES as u64);
    let mut written = 0;
    for (at, length) in extents {
        written += match knows_holes {
            true => copy_range(source, target, at, length)?,
            false => copy_blocks(source, target, at, length)?,
        };
    }
    Ok(Copied::Data(written))
}

/// Ranges that hold data, as offset and length.
fn extents(source: &File, length: u64) -> Result<Vec<(u64, u64)>, Errno> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < length {
        let start = match rustix::fs::seek(source, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![(0, length)]),
            Err(error) => return Err(error),
        };
        let end = rustix::fs::seek(source, SeekFrom::Hole(start))?.min(length);
        if end <= start {
            break;
        }
        extents.push((start, end - start));
        at = end;
    }
    Ok(extents)
}

fn copy_range(source: &File, target: &File, at: u64, length: u64) -> Result<u64, Errno> {
    let (mut from, mut to) = (at, at);
    let mut left = length;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), count) {
            Ok(0) => return Err(Errno::IO),
            Ok(copied) => left -= copied as u64,
            Err(Errno::INTR) => {}
            Err(Errno::XDEV | Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {
                copy_blocks(source, target, to, left)?;
                left = 0;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Through memory, without the blocks that are all zero.
fn copy_blocks(source: &File, target: &File, mut at: u64, length: u64) -> Result<u64, Errno> {
    let end = at + length;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut written = 0;
    while at < end {
        let wanted = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        source.read_exact_at(&mut buffer[..wanted], at).map_err(errno)?;
        for (index, block) in buffer[..wanted].chunks(BLOCK_BYTES).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                target.write_all_at(block, at + (index * BLOCK_BYTES) as u64).map_err(errno)?;
                written += block.len() as u64;
            }
        }
        at += wanted as u64;
    }
    Ok(written)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image;

    /// 8 MB at its start, one block far out, and holes.
    fn sparse(path: &Path) -> Vec<u8> {
        let file = File::create_new(path).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(&vec![7; 8 << 20], 4096).unwrap();
        file.write_all_at(b"end", (40 << 20) + 17).unwrap();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_copy_is_equal_and_as_sparse() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to, by_memory) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
        let bytes = sparse(&from);
        copy(&from, &to).unwrap();
        assert!(std::fs::read(&to).unwrap() == bytes);
        assert!(image::allocated_bytes(&to).unwrap() <= image::allocated_bytes(&from).unwrap() + (64 << 10));

        let target = File::create_new(&by_memory).unwrap();
        target.set_len(64 << 20).unwrap();
        let written = copy_blocks(&File::open(&from).unwrap(), &target, 0, 64 << 20).unwrap();
        assert_eq!(written, (8 << 20) + 4096);
        assert!(std::fs::read(&by_memory).unwrap() == bytes);
    }

    #[test]
    fn a_copied_image_mounts_beside_the_first_and_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a.img"), dir.path().join("b.img"));
        image::create(&from, 16 << 20).unwrap();
        let mounted = image::mount(&from, &dir.path().join("a"), image::ReadWrite).unwrap();
        std::fs::write(mounted.upper().join("file"), "first").unwrap();
        mounted.unmount().unwrap();
        copy(&from, &to).unwrap();
        let copied = image::mount(&to, &dir.path().join("b"), image::ReadWrite).unwrap();
        std::fs::write(copied.upper().join("file"), "second").unwrap();
        let first = image::mount(&from, &dir.path().join("a"), image::ReadOnly).unwrap();
        assert_eq!(std::fs::read_to_string(first.upper().join("file")).unwrap(), "first");
        assert!(matches!(copy(&from, &to), Err(LayerError::Io { .. })), "nothing is replaced");
    }
}
