//! Shows single files of root's to another user, by mounts that map owners: the files themselves stay as they are, so that a
//! layer's mode goes on meaning what the store says with it, and a file that is written is root's again when the mount ends.
//!
//! Needs Linux 5.12 and a file system that takes part (ext4, xfs, btrfs, f2fs).

use super::namespace;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, move_mount};
use std::io;
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
        let tree = self.tree(source, access)?;
        move_mount(tree.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        Ok(())
    }

    /// A mount of the file that stands nowhere yet.
    pub(super) fn tree(&self, source: &Path, access: Access) -> io::Result<OwnedFd> {
        let tree = namespace::tree(source)?;
        let hardened = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
        let read_only = if access == Access::ReadOnly { libc::MOUNT_ATTR_RDONLY } else { 0 };
        namespace::set_attributes(&tree, hardened | read_only, Some(&self.namespace))?;
        Ok(tree)
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    const UID: u32 = 1_912_345_678;

    #[test]
    fn a_file_is_shown_as_another_user_s_and_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [source, read_only, read_write] = ["source", "ro", "rw"].map(|name| dir.path().join(name));
        std::fs::write(&source, "text").unwrap();
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o400)).unwrap();
        let mounting = std::thread::spawn({
            let source = source.clone();
            move || {
                // SAFETY: only this thread sees the new namespace, and it ends with it.
                unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.unwrap();
                mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
                let owner = Owner::new(UID).unwrap();
                owner.show(&source, &read_only, Access::ReadOnly).unwrap();
                owner.show(&source, &read_write, Access::ReadWrite).unwrap();
                for path in [&read_only, &read_write] {
                    let shown = std::fs::metadata(path).unwrap();
                    assert_eq!((shown.uid(), shown.gid(), shown.mode() & 0o777), (UID, UID, 0o400));
                }
                let refused = std::fs::write(&read_only, "other").unwrap_err();
                assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
                std::fs::write(&read_write, "written").unwrap();
                [&read_only, &read_write].into_iter().for_each(|path| unmount(path, UnmountFlags::DETACH).unwrap());
            }
        });
        mounting.join().unwrap();
        let after = std::fs::metadata(&source).unwrap();
        assert_eq!((after.uid(), after.mode() & 0o777), (0, 0o400));
        assert_eq!(std::fs::read_to_string(&source).unwrap(), "written");
    }
}
