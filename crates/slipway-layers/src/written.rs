//! Whose kernel wrote an image, said by the image itself.
//!
//! The name of a layer says it too; the image says it wherever it lies and whatever it is called, so that no slip of a path makes
//! the host's kernel parse what a virtual machine wrote. The mark stands in the boot block, which no file system uses. A guest can
//! write there: so its images are marked again when it is gone, before anything else is done with them.

use crate::error::LayerError;
use slipway_types::WrittenBy;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// In the second half of the boot block; the first is the mark of unsynced images.
const MARK_OFFSET: u64 = 512;
const GUEST_MARK: &[u8; 32] = b"slipway: a guest kernel wrote it";

/// Whose kernel wrote the image, by its mark.
pub fn written_by(image: &Path) -> Result<WrittenBy, LayerError> {
    let mut mark = [0; GUEST_MARK.len()];
    match File::open(image).and_then(|file| file.read_exact_at(&mut mark, MARK_OFFSET)) {
        Ok(()) if mark == *GUEST_MARK => Ok(WrittenBy::Guest),
        Ok(()) => Ok(WrittenBy::Host),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(WrittenBy::Host),
        Err(error) => Err(LayerError::io("read", image, error)),
    }
}

/// Marks an image that a virtual machine is about to write, or has written. Nobody takes the mark away.
pub fn mark_guest_written(image: &Path) -> Result<(), LayerError> {
    let marked = OpenOptions::new().write(true).open(image).and_then(|file| file.write_all_at(GUEST_MARK, MARK_OFFSET));
    marked.map_err(|error| LayerError::io("mark", image, error))
}

/// The host's own kernel mounts and publishes as its own only what is not marked.
pub(crate) fn check_host_written(image: &Path) -> Result<(), LayerError> {
    match written_by(image)? {
        WrittenBy::Host => Ok(()),
        WrittenBy::Guest => Err(LayerError::GuestWritten { path: image.to_path_buf() }),
    }
}
