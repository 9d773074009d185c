//! The root that tasks see: layers under a written one, and places in it. A container's is made on the host, a virtual machine's in
//! the guest; both are the same.
//!
//! What stands in the layers was written by others: no path is followed out of the root.

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid, chownat, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::MountFlags;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Lower layers are read, never renamed or copied by reference; the upper one is a plain tree that can become a layer.
const OVERLAY_OPTIONS: &str = "redirect_dir=off,metacopy=off,index=off,xino=off";

/// What of the kernel is not shown.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// What of the kernel is shown and cannot be changed.
pub const READ_ONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Where the image of that layer is mounted, counted from the lowest: below the directory of [`mount_overlay`].
pub fn layer_name(index: usize) -> String {
    format!("layer{index}")
}

/// A cache directory's name in its image: the whole target, so that two targets never share one.
pub fn cache_name(target: &str) -> String {
    target.trim_matches('/').replace('%', "%25").replace('/', "%2F")
}

/// Mounts the overlay of so many layers on `merged`, which is made. In `dir` stand the mounted images: each layer by its
/// [`layer_name`], `writable`, and `skeleton`, a directory with the mount points. Paths are relative to `dir`: they stay short, and no
/// character of its name can end an option. The working directory of the process is `/` afterwards.
///
/// # Errors
/// When the kernel refuses it.
pub fn mount_overlay(dir: &Path, merged: &Path, layers: usize) -> io::Result<()> {
    std::fs::create_dir_all(merged)?;
    let lower: String = (0..layers).rev().map(|index| format!("{}/upper:", layer_name(index))).collect();
    let options = format!("lowerdir={lower}skeleton,upperdir=writable/upper,workdir=writable/work,{OVERLAY_OPTIONS}");
    let options = CString::new(options)?;
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOATIME;
    std::env::set_current_dir(dir)?;
    let mounted = rustix::mount::mount(c"overlay", merged, c"overlay", flags, options.as_c_str());
    std::env::set_current_dir("/")?;
    Ok(mounted?)
}

/// For the calls that stay inside.
///
/// # Errors
/// As of `openat`.
pub fn open_root(root: &Path) -> Result<OwnedFd, Errno> {
    openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A descriptor of `path` below `root`, whatever links stand on the way.
///
/// # Errors
/// As of `openat2`.
pub fn open_inside(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    open_inside_as(root, path, OFlags::empty())
}

fn open_inside_as(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let flags = OFlags::PATH | OFlags::CLOEXEC | flags;
    openat2(root, below, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Makes the directory `path` and what is missing above it inside `root`, owned by the given user. Links in the tree lead nowhere
/// but inside of it.
///
/// # Errors
/// When something else stands there, or the file system refuses it.
pub fn make_dirs_inside(root: &Path, path: &str, uid: u32, gid: u32) -> Result<(), Errno> {
    let root = open_root(root)?;
    let open = |path: &Path| open_inside_as(&root, path, OFlags::DIRECTORY);
    let mut so_far = PathBuf::from(".");
    let mut parent = open(&so_far)?;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        so_far.push(part);
        parent = match open(&so_far) {
            Err(Errno::NOENT) => {
                mkdirat(&parent, part, Mode::from_raw_mode(0o755))?;
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                chownat(&parent, part, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
                open(&so_far)?
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

    #[test]
    fn two_targets_never_share_a_cache() {
        assert_ne!(cache_name("/a/b"), cache_name("/a%2Fb"));
        assert_eq!(cache_name("/app/.next/cache"), "app%2F.next%2Fcache");
    }
}
