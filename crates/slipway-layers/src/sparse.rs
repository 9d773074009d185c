//! Copies of sparse files: what is a hole stays one.

use crate::error::LayerError;
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// One read and write.
const CHUNK_BYTES: usize = 1 << 20;
/// A chunk of zeros is left out: a file system that knows no holes shows them as data.
static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// Copies a file to another disk. Fails where `to` exists, and then leaves it alone.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), LayerError> {
    let source = File::open(from).map_err(|e| LayerError::io("open", from, e))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let target = made.map_err(|e| LayerError::io("create", to, e))?;
    copy_data(&source, &target).map_err(|e| LayerError::io("copy an image to", to, e))
}

fn copy_data(source: &File, target: &File) -> io::Result<()> {
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while let Some((start, end)) = next_data(source, at, length)? {
        at = start;
        while at < end {
            let bytes = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let chunk = &mut buffer[..bytes];
            source.read_exact_at(chunk, at)?;
            if *chunk != ZEROS[..bytes] {
                target.write_all_at(chunk, at)?;
            }
            at += bytes as u64;
        }
    }
    Ok(())
}

/// The next stretch of data at or after an offset.
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => Ok(Some((start, rustix::fs::seek(file, SeekFrom::Hole(start))?.min(length)))),
        Err(Errno::NXIO) => Ok(None),
        // A file system that cannot tell.
        Err(Errno::INVAL) => Ok((at < length).then_some((at, length))),
        Err(error) => Err(error.into()),
    }
}
