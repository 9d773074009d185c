//! Trees of fetched tools into layers: directories, regular files and links, with their modes.

use super::ToolchainError;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Files of one tool; a Python has 5000.
const ENTRIES_MAX: usize = 50_000;
/// Texts in which a path is replaced; the largest, a Python's build configuration, has 100 KB.
const TEXT_BYTES_MAX: u64 = 4 << 20;

/// A path that stands in texts of the tree and that is another one in a sandbox.
#[derive(Debug, Clone)]
pub(super) struct Moved {
    pub(super) from: String,
    pub(super) to: String,
}

/// One executable file.
pub(super) fn program(from: &Path, to: &Path) -> Result<(), ToolchainError> {
    let copied = fs::copy(from, to).and_then(|_| fs::set_permissions(to, fs::Permissions::from_mode(0o755)));
    copied.map_err(|source| ToolchainError::Disk { path: to.to_owned(), source })
}

/// The whole of a directory into one that is there. In texts that name where their tool stands, `moved` is replaced.
pub(super) fn tree(from: &Path, to: &Path, moved: &Moved) -> Result<(), ToolchainError> {
    let mut entries = 0;
    directory(from, to, moved, &mut entries).map_err(|source| ToolchainError::Disk { path: to.to_owned(), source })
}

fn directory(from: &Path, to: &Path, moved: &Moved, entries: &mut usize) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        *entries += 1;
        if *entries > ENTRIES_MAX {
            return Err(io::Error::other(format!("a tool of more than {ENTRIES_MAX} files")));
        }
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir(&target)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
            directory(&source, &target, moved, entries)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&source)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&source, &target)?;
            if names_its_place(&entry.file_name().to_string_lossy()) {
                replace(&target, moved)?;
            }
        }
    }
    Ok(())
}

/// Python's build configuration and that of pkg-config.
fn names_its_place(name: &str) -> bool {
    name.starts_with("_sysconfigdata") && name.ends_with(".py") || name.ends_with(".pc")
}

fn replace(path: &Path, moved: &Moved) -> io::Result<()> {
    if fs::metadata(path)?.len() > TEXT_BYTES_MAX {
        return Ok(());
    }
    let Ok(text) = fs::read_to_string(path) else { return Ok(()) };
    if text.contains(&moved.from) {
        fs::write(path, text.replace(&moved.from, &moved.to))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_modes_stay_and_places_are_replaced() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(from.path().join("lib/python3.12")).unwrap();
        fs::write(from.path().join("lib/python3.12/_sysconfigdata__linux.py"), "prefix = '/scratch/py'").unwrap();
        fs::write(from.path().join("python3.12"), "/scratch/py").unwrap();
        fs::set_permissions(from.path().join("python3.12"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("python3.12", from.path().join("python3")).unwrap();
        tree(from.path(), to.path(), &Moved { from: "/scratch/py".into(), to: "/opt/py".into() }).unwrap();
        let read = |path: &str| fs::read_to_string(to.path().join(path)).unwrap();
        assert_eq!(read("lib/python3.12/_sysconfigdata__linux.py"), "prefix = '/opt/py'");
        assert_eq!(read("python3"), "/scratch/py", "a program is not touched");
        assert!(fs::symlink_metadata(to.path().join("python3")).unwrap().is_symlink());
        assert_eq!(fs::metadata(to.path().join("python3.12")).unwrap().permissions().mode() & 0o777, 0o755);
    }
}
