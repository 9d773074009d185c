//! Shows single files of root's to another user, by mounts that map owners: the files themselves stay as they are, so that a
//! layer's mode goes on meaning what the store says with it, and a file that is written is root's again when the mount ends.
//!
//! Needs Linux 5.12 and a file system that takes part (ext4, xfs, btrfs, f2fs).

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    ReadOnly,
    ReadWrite,
}

/// A user namespace in which root is that user, and nobody else is anybody.
#[derive(Debug)]
pub(super) struct Owner {
    namespace: OwnedFd,
}

impl Owner {
    pub(super) fn new(uid: u32) -> io::Result<Self> {
        let child = Sleeper::start()?;
        let map = format!("0 {uid} 1");
        for file in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{}/{file}", child.pid), &map)?;
        }
        let path = format!("/proc/{}/ns/user", child.pid);
        let namespace = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { namespace })
    }

    /// Mounts the file `source` on the file `target`, which is made.
    pub(super) fn show(&self, source: &Path, target: &Path, access: Access) -> io::Result<()> {
        std::fs::File::create(target)?;
        let tree = open_tree(CWD, source, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        self.map(&tree, access)?;
        move_mount(tree.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(())
    }

    fn map(&self, tree: &OwnedFd, access: Access) -> io::Result<()> {
        let hardened = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        let read_only = if access == Access::ReadOnly { libc::MOUNT_ATTR_RDONLY } else { 0 };
        // SAFETY: all zero is a valid value of this plain struct.
        let mut wanted = unsafe { std::mem::zeroed::<libc::mount_attr>() };
        wanted.attr_set = hardened | read_only | libc::MOUNT_ATTR_IDMAP;
        wanted.userns_fd = self.namespace.as_raw_fd().cast_unsigned().into();
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
}

/// A process in a new user namespace, which lasts for as long as somebody holds it.
struct Sleeper {
    pid: libc::pid_t,
}

impl Sleeper {
    fn start() -> io::Result<Self> {
        let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
        // SAFETY: like a fork. The child only waits: it touches no memory that another thread may have left half changed.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => loop {
                // SAFETY: plain system calls. Its end comes with the parent's at the latest.
                unsafe {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                    libc::pause();
                }
            },
            pid => Ok(Self { pid: pid as libc::pid_t }),
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // SAFETY: the child is ours and not waited for yet.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}
