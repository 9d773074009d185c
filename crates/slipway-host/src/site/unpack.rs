//! A site that a virtual machine sends, unpacked into an image of the host's own.
//!
//! The sender is not trusted: only regular files come ([`slipway_tree::archive`]), under plain paths, each once, into an image that
//! nothing else writes and whose size bounds them all. It is then looked through and packed like a tree that a container wrote.

use super::SiteError;
use slipway_layers::image;
use slipway_tree::archive::{ArchiveError, Bounds};
use slipway_tree::site::{BYTES_MAX, DEPTH_MAX, PATHS_BYTES_MAX};
use slipway_types::site::FILES_MAX;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// As of a site that the host looks through itself; two files more are its rules.
pub(crate) const ARCHIVE_BOUNDS: Bounds = Bounds {
    files_max: FILES_MAX as u64 + 2,
    bytes_max: BYTES_MAX,
    paths_bytes_max: PATHS_BYTES_MAX as u64,
    depth_max: DEPTH_MAX,
};
/// Where it stands in the source tree of the image: below it, so that what is not published of a service's own directory is not
/// looked for in it.
pub(crate) const UNPACKED_DIRECTORY: &str = "site";
const BUFFER_BYTES: usize = 64 * 1024;

/// Makes the image. `read` calls the sink for each file: its path and its content. Blocks.
pub(crate) fn unpack(
    image: &Path,
    at: &Path,
    bytes: u64,
    read: impl FnOnce(&mut dyn FnMut(&str, u64, &mut dyn Read) -> Result<(), SiteError>) -> Result<(), SiteError>,
) -> Result<(), SiteError> {
    image::create(image, bytes)?;
    let mounted = image::mount(image, at, image::ReadWrite)?;
    let root = mounted.upper().join("app").join(UNPACKED_DIRECTORY);
    fs::create_dir_all(&root).map_err(SiteError::io("make the directory", &root))?;
    let read = read(&mut |path, _, content| write(&root, path, content));
    mounted.unmount()?;
    read
}

/// The path is plain. No link is ever made here, so a directory is one.
fn write(root: &Path, path: &str, content: &mut dyn Read) -> Result<(), SiteError> {
    let target = root.join(path);
    let parent = target.parent().unwrap_or(root);
    fs::create_dir_all(parent).map_err(SiteError::io("make the directory", parent))?;
    let mut file = File::create_new(&target).map_err(SiteError::io("make", &target))?;
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => file.write_all(&buffer[..count]).map_err(SiteError::io("write", &target))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ArchiveError::Read(error).into()),
        }
    }
}
