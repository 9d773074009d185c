//! Mounts that stand nowhere yet, and work inside of another process' namespaces: how files come into a sandbox that runs already.
//!
//! Needs Linux 5.12.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::CWD;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

/// A mount of its own of what stands at that path, file or directory, without what is mounted below.
pub(crate) fn tree(source: &Path) -> io::Result<OwnedFd> {
    Ok(open_tree(CWD, source, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
}

/// Adds attributes (`MOUNT_ATTR_…`) to a mount, and maps its owners by a user namespace.
pub(crate) fn set_attributes(tree: &OwnedFd, attributes: u64, owners: Option<&OwnedFd>) -> io::Result<()> {
    // SAFETY: all zero is a valid value of this plain struct.
    let mut wanted = unsafe { std::mem::zeroed::<libc::mount_attr>() };
    wanted.attr_set = attributes;
    if let Some(owners) = owners {
        wanted.attr_set |= libc::MOUNT_ATTR_IDMAP;
        wanted.userns_fd = owners.as_raw_fd().cast_unsigned().into();
    }
    // SAFETY: a system call on an open descriptor; path and struct outlive it, and the size is the struct's.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs `work` on a thread of its own in the mount namespace of a process, and in its host name's; root and directory are that
/// namespace's root.
pub(crate) fn inside(process: i32, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    let [mounts, names] = ["mnt", "uts"].map(|kind| File::open(format!("/proc/{process}/ns/{kind}")));
    let (mounts, names) = (mounts?, names?);
    let enter = move || {
        // SAFETY: only this thread sees the other root, and it ends with it.
        unsafe { unshare_unsafe(UnshareFlags::FS) }?;
        move_into_link_name_space(names.as_fd(), Some(LinkNameSpaceType::HostNameAndNISDomainName))?;
        move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        work()
    };
    std::thread::spawn(enter).join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}
