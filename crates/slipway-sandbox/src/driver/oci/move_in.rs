//! A container that was started before it was known what for moves into its sandbox's file system.
//!
//! Its first process stands in a root of empty mount points. The sandbox's root and all that is shown in it are put into the
//! container's mount namespace, what it has already (`/proc`, `/dev`, the agent) is moved over, and the kernel changes the root under
//! the process. Nothing of the sandbox runs yet, and no path of its layers is followed out of their root.

use super::bundle::{self, Bound, OWN_MOUNTS};
use super::rootfs::Rootfs;
use crate::driver::{DriverError, cgroup, namespace};
use crate::home::{BootSpec, Home};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MoveMountFlags, UnmountFlags, move_mount, unmount};
use rustix::process::{fchdir, pivot_root};
use slipway_tree::root::{open_inside, open_root};
use std::io;
use std::path::Path;

/// Where the new root stands for a moment, in the old one.
const DOOR: &str = "/tmp";

pub(super) fn move_in(home: &Home, boot: &BootSpec, rootfs: &Rootfs, pid: i32) -> Result<(), DriverError> {
    cgroup::create(&boot.cgroup, &bundle::limits(boot))
        .and_then(|_| bundle::write_files(home, boot))
        .map_err(|error| DriverError::because("cannot make the container a sandbox", &error))?;
    let failed = |error: io::Error| DriverError::because("cannot mount the sandbox's files in the container", &error);
    let root = namespace::tree(&rootfs.merged).map_err(failed)?;
    let given = bundle::given(home, boot, rootfs);
    let given = given.iter().map(|bound| Ok((tree(bound)?, bound.at.clone()))).collect::<io::Result<Vec<_>>>();
    let (given, hostname) = (given.map_err(failed)?, boot.spec.hostname.clone());
    let enter = move || {
        rustix::system::sethostname(hostname.as_bytes())?;
        change_root(&root, &given)
    };
    namespace::inside(pid, enter).map_err(failed)
}

fn tree(bound: &Bound) -> io::Result<OwnedFd> {
    let tree = namespace::tree(&bound.source)?;
    let shared = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let read_only = if bound.read_only { libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC } else { 0 };
    namespace::set_attributes(&tree, shared | read_only, None)?;
    Ok(tree)
}

/// In the container's mount namespace.
fn change_root(root: &OwnedFd, given: &[(OwnedFd, String)]) -> io::Result<()> {
    let old = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    move_mount(root, "", CWD, DOOR, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    let new = open_root(Path::new(DOOR))?;
    let named = MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    for at in OWN_MOUNTS {
        move_mount(CWD, at, open_inside(&new, Path::new(at))?, "", named)?;
    }
    for (tree, at) in given {
        let at = open_inside(&new, Path::new(at))?;
        move_mount(tree, "", at, "", named | MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    }
    fchdir(new.as_fd())?;
    // The old root is below the new one then, and goes.
    pivot_root(".", ".")?;
    fchdir(old.as_fd())?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(())
}
