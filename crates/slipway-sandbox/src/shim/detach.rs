//! Leaves the server: own session, own mount namespace, no shared output.

use crate::driver::DriverError;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::io;
use std::path::{Path, PathBuf};

pub(super) enum Side {
    Parent,
    Child,
}

/// Forks and makes the child the leader of a session of its own.
pub(super) fn fork() -> io::Result<Side> {
    let threads = std::fs::read_dir("/proc/self/task")?.count();
    if threads != 1 {
        return Err(io::Error::other(format!("the process has {threads} threads")));
    }
    // SAFETY: this is the only thread, as counted above, so that the child's memory is consistent.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            rustix::process::setsid()?;
            Ok(Side::Child)
        }
        _ => Ok(Side::Parent),
    }
}

/// Closes the pipes to the server, which may end before this process does.
pub(super) fn let_go_of_server() {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stdin(&null);
    }
}

/// A mount namespace in which nothing of others is held: a mount that was copied into it would keep an image busy, or
/// a network namespace alive, for as long as this sandbox runs.
pub(super) fn enter_mount_namespace(data_dir: &Path, own_netns: &Path) -> Result<(), DriverError> {
    // SAFETY: this is the only thread, and no other code depends on the former namespace.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
        .map_err(|errno| DriverError::because("cannot make a mount namespace", &errno))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|errno| DriverError::because("cannot make mounts private", &errno))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for point in foreign(&mounts, data_dir, own_netns).into_iter().rev() {
        // One that went meanwhile is what was wanted.
        let _ = unmount(&point, UnmountFlags::DETACH);
    }
    Ok(())
}

/// Mount points below the data directory, and network namespaces other than the own one; outermost first.
fn foreign(mountinfo: &str, data_dir: &Path, own_netns: &Path) -> Vec<PathBuf> {
    let points = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = PathBuf::from(unescaped(left.split(' ').nth(4)?));
        let below = point.starts_with(data_dir) && point != data_dir;
        let namespace = right.starts_with("nsfs ") && point != own_netns;
        (below || namespace).then_some(point)
    });
    points.collect()
}

/// The kernel writes blanks and backslashes of a path as three octal digits.
fn unescaped(text: &str) -> String {
    let octal = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    octal.iter().fold(text.to_owned(), |text, (code, plain)| text.replace(code, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_others_is_let_go() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
            23 22 254:1 / /data rw - ext4 /dev/vdb rw\n\
            24 23 7:0 / /data/scratch/a\\040b rw - ext4 /dev/loop0 rw\n\
            25 22 0:4 net:[1] /run/netns/own rw - nsfs nsfs rw\n\
            26 22 0:4 net:[2] /run/netns/other rw - nsfs nsfs rw\n\
            27 22 0:5 / /database rw - tmpfs tmpfs rw\n";
        let found = foreign(mounts, Path::new("/data"), Path::new("/run/netns/own"));
        assert_eq!(found, [PathBuf::from("/data/scratch/a b"), PathBuf::from("/run/netns/other")]);
    }
}
