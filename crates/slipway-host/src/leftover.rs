//! What a killed server leaves of its builds and sites: mounts and files.

use crate::supervisor::{HostRunError, disk};
use rustix::mount::{UnmountFlags, unmount};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Unmounts everything below the directory, the newest mount first.
pub(crate) fn release_mounts(directory: &Path) {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The table has resolved paths.
    let directory = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    let below = table.lines().rev().filter_map(mount_point).filter(|path| path.starts_with(&directory));
    for path in below {
        if let Err(error) = unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            tracing::warn!(%error, path = %path.display(), "cannot unmount a leftover");
        }
    }
}

/// The fifth field, with `\\040` and the like for white space (proc(5)).
fn mount_point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?.as_bytes();
    let mut bytes = Vec::with_capacity(field.len());
    let mut at = 0;
    while let Some(&byte) = field.get(at) {
        let escaped = field.get(at + 1..at + 4).filter(|_| byte == b'\\');
        let code = escaped.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 8).ok());
        bytes.push(code.unwrap_or(byte));
        at += if code.is_some() { 4 } else { 1 };
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

/// Removes all entries but those to keep.
pub(crate) fn clear(directory: &Path, keep: impl Fn(&str) -> bool) -> Result<(), HostRunError> {
    for entry in std::fs::read_dir(directory).map_err(disk(directory))? {
        let entry = entry.map_err(disk(directory))?;
        if entry.file_name().to_str().is_some_and(&keep) {
            continue;
        }
        let path = entry.path();
        let is_directory = entry.file_type().map_err(disk(&path))?.is_dir();
        let removed = if is_directory { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        if let Err(error) = removed {
            // A leftover costs disk; it must not keep the host from starting.
            tracing::warn!(%error, path = %path.display(), "cannot remove a leftover");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_layers::image;

    #[test]
    fn mounts_of_a_killed_build_are_released_and_its_files_removed() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = dir.path().join("with space");
        let build = scratch.join("dpl-1");
        std::fs::create_dir_all(&build).unwrap();
        std::fs::create_dir(scratch.join(".replicas")).unwrap();
        image::create(&build.join("source.img"), 16 << 20).unwrap();
        let at = image::mount(&build.join("source.img"), &build.join("source"), image::ReadWrite).unwrap().keep();
        assert!(at.join("upper").exists());
        release_mounts(&scratch);
        assert!(!at.join("upper").exists());
        clear(&scratch, |name| name == ".replicas").unwrap();
        assert!(!build.exists() && scratch.join(".replicas").exists());
    }
}
