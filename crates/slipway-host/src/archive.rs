//! Unpacks an archive into a directory and into nothing else.
//!
//! An entry has a relative path without `..`, is a directory, a regular file or a symbolic link that stays in the
//! tree, and is never written through a link. Size and number are bounded. An archive was checked when it was stored;
//! here it is checked again, because what is unpacked as root must not depend on somebody else's care.

use flate2::read::GzDecoder;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use tar::{Archive, EntryType};

/// Deepest directory, so that no path comes near the kernel's 4096 bytes by depth alone.
const DEPTH_MAX: usize = 64;

/// How much an archive may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArchiveBounds {
    /// Of all files together, unpacked.
    pub(crate) bytes_max: u64,
    pub(crate) entries_max: usize,
}

/// A source tree: repositories of several gigabytes exist, trees that are deployed do not come near.
pub(crate) const SOURCE_BOUNDS: ArchiveBounds = ArchiveBounds { bytes_max: 2 << 30, entries_max: 200_000 };
/// A runtime: Node.js is 200 MB in 6000 files.
pub(crate) const TOOLCHAIN_BOUNDS: ArchiveBounds = ArchiveBounds { bytes_max: 1 << 30, entries_max: 50_000 };

#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    #[error("cannot write `{}`", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the archive has `{}`: {why}", path.display())]
    Refused { path: PathBuf, why: &'static str },
    #[error("the archive holds more than {} MB", .0 >> 20)]
    TooLarge(u64),
    #[error("the archive has more than {0} entries")]
    TooMany(usize),
}

impl UnpackError {
    /// Whether the disk (here: the layer's image) was full.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, UnpackError::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// Where an entry of that path goes, relative to the target; None leaves it out.
pub(crate) type Placement<'p> = &'p dyn Fn(&Path) -> Option<PathBuf>;

/// Unpacks a `.tar.gz`. Directories get mode 0755, files 0644 or 0755.
pub(crate) fn unpack(
    archive: impl Read,
    target: &Path,
    bounds: ArchiveBounds,
    placement: Placement<'_>,
) -> Result<(), UnpackError> {
    // Headers and padding take their part: twice the bound never refuses what the bound of the files admits.
    let limited = GzDecoder::new(archive).take(bounds.bytes_max.saturating_mul(2).saturating_add(64 << 20));
    let mut archive = Archive::new(limited);
    let mut left = bounds.bytes_max;
    for (count, entry) in archive.entries().map_err(UnpackError::Read)?.enumerate() {
        let mut entry = entry.map_err(UnpackError::Read)?;
        if count >= bounds.entries_max {
            return Err(UnpackError::TooMany(bounds.entries_max));
        }
        let path = entry.path().map_err(UnpackError::Read)?.into_owned();
        let Some(relative) = placement(&safe_relative(&path)?) else { continue };
        left = left.checked_sub(entry.size()).ok_or(UnpackError::TooLarge(bounds.bytes_max))?;
        let relative = safe_relative(&relative)?;
        match entry.header().entry_type() {
            EntryType::Directory => make_directories(target, &relative)?,
            EntryType::Regular | EntryType::Continuous => {
                let executable = entry.header().mode().map_err(UnpackError::Read)? & 0o111 != 0;
                write_file(target, &relative, executable, &mut entry)?;
            }
            EntryType::Symlink => {
                let link = entry.link_name().map_err(UnpackError::Read)?;
                let link = link.ok_or(UnpackError::Refused { path, why: "a link to nothing" })?;
                write_link(target, &relative, &link)?;
            }
            EntryType::XGlobalHeader => {}
            EntryType::Link => return Err(UnpackError::Refused { path, why: "a hard link" }),
            _ => return Err(UnpackError::Refused { path, why: "neither a file, a directory nor a link" }),
        }
    }
    Ok(())
}

/// The path without `.` parts; refused when absolute, with `..`, too deep or with a NUL.
fn safe_relative(path: &Path) -> Result<PathBuf, UnpackError> {
    let refused = |why| Err(UnpackError::Refused { path: path.to_owned(), why });
    let mut relative = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => relative.push(part),
            Component::CurDir => {}
            Component::ParentDir => return refused("a path with `..`"),
            Component::RootDir | Component::Prefix(_) => return refused("an absolute path"),
        }
    }
    if relative.components().count() > DEPTH_MAX {
        return refused("a path that is too deep");
    }
    Ok(relative)
}

/// Makes each missing directory; what is there must be a real directory.
pub(crate) fn make_directories(target: &Path, relative: &Path) -> Result<(), UnpackError> {
    let mut path = target.to_owned();
    for part in relative.components() {
        path.push(part);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let why = "a path through a file or a link";
                return Err(UnpackError::Refused { path: relative.to_owned(), why });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&path)
                    .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o755)))
                    .map_err(|source| UnpackError::Write { path: path.clone(), source })?;
            }
            Err(source) => return Err(UnpackError::Write { path, source }),
        }
    }
    Ok(())
}

/// The absolute path of an entry whose parents exist and which does not exist itself (a later entry replaces an
/// earlier file or link, as tar does).
fn place(target: &Path, relative: &Path) -> Result<PathBuf, UnpackError> {
    let Some(parent) = relative.parent() else {
        return Err(UnpackError::Refused { path: relative.to_owned(), why: "an empty path" });
    };
    make_directories(target, parent)?;
    let path = target.join(relative);
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => {
            Err(UnpackError::Refused { path: relative.to_owned(), why: "a file in place of a directory" })
        }
        Ok(_) => fs::remove_file(&path).map(|()| path.clone()).map_err(|source| UnpackError::Write { path, source }),
        Err(_) => Ok(path),
    }
}

fn write_file(target: &Path, relative: &Path, executable: bool, content: &mut impl Read) -> Result<(), UnpackError> {
    let path = place(target, relative)?;
    let mode = if executable { 0o755 } else { 0o644 };
    let failed = |source| UnpackError::Write { path: path.clone(), source };
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(failed)?;
    copy(content, &mut file, &path)?;
    // The server's umask must not decide what the app can read.
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)
}

fn copy(content: &mut impl Read, file: &mut File, path: &Path) -> Result<(), UnpackError> {
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = content.read(&mut chunk).map_err(UnpackError::Read)?;
        if count == 0 {
            return Ok(());
        }
        io::Write::write_all(file, &chunk[..count])
            .map_err(|source| UnpackError::Write { path: path.to_owned(), source })?;
    }
}

fn write_link(target: &Path, relative: &Path, link: &Path) -> Result<(), UnpackError> {
    if !stays_inside(relative, link) {
        return Err(UnpackError::Refused { path: relative.to_owned(), why: "a link that leaves the tree" });
    }
    let path = place(target, relative)?;
    std::os::unix::fs::symlink(link, &path).map_err(|source| UnpackError::Write { path, source })
}

/// Whether the link's target is in the tree. `..` is allowed only in front: after a name it would start from wherever
/// another link leads. The parents of a link are real directories, so counting them is enough.
fn stays_inside(relative: &Path, link: &Path) -> bool {
    let mut depth = relative.components().count().saturating_sub(1);
    let mut named = false;
    link.components().all(|component| match component {
        Component::Normal(_) => {
            named = true;
            true
        }
        Component::CurDir => true,
        Component::ParentDir if !named && depth > 0 => {
            depth -= 1;
            true
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use tar::{Builder, Header};

    /// An archive with raw paths, as a hostile client writes them.
    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o6755);
            let link = matches!(kind, EntryType::Symlink | EntryType::Link);
            if link {
                header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            let body = if link { "" } else { content };
            header.set_size(body.len() as u64);
            header.set_cksum();
            builder.append(&header, body.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    fn unpack_all(
        entries: &[(&str, EntryType, &str)],
        bounds: ArchiveBounds,
    ) -> (tempfile::TempDir, Result<(), UnpackError>) {
        let outer = tempfile::tempdir().unwrap();
        let target = outer.path().join("tree");
        fs::create_dir(&target).unwrap();
        let result = unpack(archive(entries).as_slice(), &target, bounds, &|path| Some(path.to_owned()));
        (outer, result)
    }

    #[test]
    fn files_directories_and_inner_links_are_unpacked() {
        let (outer, result) = unpack_all(
            &[
                ("./src/", EntryType::Directory, ""),
                ("./src/a.js", EntryType::Regular, "one"),
                ("deep/er/b.js", EntryType::Regular, "two"),
                ("deep/er/link", EntryType::Symlink, "../../src/a.js"),
                ("src/a.js", EntryType::Regular, "newer"),
            ],
            SOURCE_BOUNDS,
        );
        result.unwrap();
        let tree = outer.path().join("tree");
        assert_eq!(fs::read_to_string(tree.join("deep/er/link")).unwrap(), "newer");
        assert_eq!(fs::metadata(tree.join("src/a.js")).unwrap().permissions().mode() & 0o7777, 0o755);
    }

    #[test]
    fn whatever_leaves_the_tree_is_refused() {
        use EntryType::{Block, Fifo, Link, Regular, Symlink};
        for entries in [
            &[("../x", Regular, "x")][..],
            &[("/tmp/x", Regular, "x")],
            &[("a/../../x", Regular, "x")],
            &[("l", Symlink, "/etc/passwd")],
            &[("l", Symlink, "../x")],
            &[("d/l", Symlink, "../../x")],
            &[("d/x", Symlink, ".."), ("d/y", Symlink, "x/..")],
            &[("l", Symlink, "d"), ("l/x", Regular, "x")],
            &[("d/f", Regular, "x"), ("l", Symlink, "d"), ("l/f", Regular, "y")],
            &[("h", Link, "/etc/passwd")],
            &[("p", Fifo, "")],
            &[("b", Block, "")],
            &[("d/f", Regular, "x"), ("d", Regular, "y")],
        ] {
            let (outer, result) = unpack_all(entries, SOURCE_BOUNDS);
            assert!(matches!(result, Err(UnpackError::Refused { .. })), "{entries:?}: {result:?}");
            assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1, "{entries:?} left the tree");
        }
    }

    #[test]
    fn size_and_number_are_bounded() {
        let entries = [("a", EntryType::Regular, "12345"), ("b", EntryType::Regular, "12345")];
        let bounds = |bytes_max, entries_max| ArchiveBounds { bytes_max, entries_max };
        assert!(unpack_all(&entries, bounds(10, 2)).1.is_ok());
        assert!(matches!(unpack_all(&entries, bounds(9, 2)).1, Err(UnpackError::TooLarge(9))));
        assert!(matches!(unpack_all(&entries, bounds(10, 1)).1, Err(UnpackError::TooMany(1))));
    }

    #[test]
    fn a_broken_archive_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let result = unpack(&b"not gzip"[..], dir.path(), SOURCE_BOUNDS, &|path| Some(path.to_owned()));
        assert!(matches!(result, Err(UnpackError::Read(_))));
    }
}
