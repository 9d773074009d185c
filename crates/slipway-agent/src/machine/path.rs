//! Paths in the tasks' root. What stands there was written by others: no path is followed out of it.

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, mkdirat, openat, openat2};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// A descriptor of `path` below `root`, whatever links stand on the way.
pub(super) fn open_inside(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    openat2(root, below, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

pub(super) fn open_root(root: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A name for what the descriptor is of, for calls that take names.
pub(super) fn name_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Makes `path` and what is missing above it inside `root`, owned by the given user.
pub(super) fn make_dirs_inside(root: &Path, path: &str, uid: u32, gid: u32) -> Result<(), Errno> {
    let root = open_root(root)?;
    let mut so_far = PathBuf::from(".");
    let mut parent = open_inside(&root, &so_far)?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        so_far.push(part);
        parent = match open_inside(&root, &so_far) {
            Err(Errno::NOENT) => {
                mkdirat(&parent, part, Mode::from_raw_mode(0o755))?;
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                chownat(&parent, part, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                open_inside(&root, &so_far)?
            }
            opened => opened?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_inside_whatever_links_say() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, outside) = (scratch.path().join("root"), scratch.path().join("outside"));
        std::fs::create_dir_all(root.join("app")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("app/absolute")).unwrap();
        std::os::unix::fs::symlink("../../outside", root.join("app/relative")).unwrap();
        let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        make_dirs_inside(&root, "/app/web/.next/cache", uid, gid).unwrap();
        assert!(root.join("app/web/.next/cache").is_dir());
        for link in ["absolute", "relative"] {
            assert!(make_dirs_inside(&root, &format!("/app/{link}/x"), uid, gid).is_err());
        }
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    }
}
