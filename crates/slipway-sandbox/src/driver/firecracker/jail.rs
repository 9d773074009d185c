//! What one Firecracker process can see: a root of its own in memory, made by the shim in its mount namespace and entered through
//! Firecracker's jailer, with nothing in it but the machine's files, each mounted by itself.
//!
//! It goes with the shim's mount namespace at the latest: nothing of it is ever on a disk.

use crate::driver::idmap::{Access, Owner};
use crate::driver::{DriverError, namespace};
use crate::network::Slot;
use rustix::fs::CWD;
use rustix::mount::{MountFlags, MoveMountFlags, UnmountFlags, move_mount};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The jailer names directories by it; there is one machine below each sandbox's directory.
const ID: &str = "vm";
pub(super) const API_SOCKET: &str = "api.sock";
/// Beside the program, which the jailer copies: sockets, mount points and devices take nothing.
const ROOM_BYTES: u64 = 1 << 20;
/// Its disks, and what an event loop needs.
const OPEN_FILES_MAX: u32 = 256;

#[derive(Debug)]
pub(super) struct Jail {
    base: PathBuf,
    root: PathBuf,
    uid: u32,
    owner: Owner,
}

impl Jail {
    /// `base` may hold an older one, which is thrown away.
    pub(super) fn make(base: &Path, firecracker: &Path, uid: u32) -> Result<Self, DriverError> {
        let failed = |error: std::io::Error| DriverError::because("cannot make the machine's root", &error);
        // As the jailer names it.
        let program = firecracker.canonicalize().map_err(failed)?;
        let bytes = program.metadata().map_err(failed)?.len() + ROOM_BYTES;
        let root = base.join(program.file_name().unwrap_or_default()).join(ID).join("root");
        std::fs::create_dir_all(&root).map_err(failed)?;
        let owner = Owner::new(uid).map_err(|e| DriverError::because("cannot make a user namespace", &e))?;
        let jail = Self { base: base.to_owned(), root, uid, owner };
        jail.remove();
        let options = CString::new(format!("mode=700,size={bytes}")).unwrap_or_default();
        rustix::mount::mount(c"tmpfs", &jail.root, c"tmpfs", MountFlags::NOSUID, options.as_c_str())
            .map_err(|errno| failed(errno.into()))?;
        Ok(jail)
    }

    /// As the shim sees it.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Shows a file of root's to the machine's user.
    pub(super) fn show(&self, source: &Path, name: &str, access: Access) -> Result<(), DriverError> {
        self.owner.show(source, &self.root.join(name), access).map_err(|error| {
            let what = format!("cannot show `{}` to the virtual machine", source.display());
            let old = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS));
            let hint = "; its file system must be ext4, xfs or btrfs, and the kernel Linux 5.12 or newer";
            DriverError::because(format!("{what}{}", if old { hint } else { "" }), &error)
        })
    }

    /// The directory that it was made in has another name now.
    pub(super) fn moved(&mut self, base: &Path) {
        if let Ok(below) = self.root.strip_prefix(&self.base) {
            self.root = base.join(below);
        }
        self.base = base.to_owned();
    }

    /// Shows files of root's to a machine that runs: the jailer took its own copy of the mounts. Each takes the place of a placeholder.
    pub(super) fn show_inside(&self, vmm: i32, files: &[(&Path, String, Access)]) -> Result<(), DriverError> {
        let failed = |error: std::io::Error| DriverError::because("cannot show images to the virtual machine", &error);
        let tree = |(source, name, access): &(&Path, String, Access)| {
            Ok((self.owner.tree(source, *access).map_err(failed)?, format!("/{name}")))
        };
        let trees = files.iter().map(tree).collect::<Result<Vec<_>, DriverError>>()?;
        let put = move || {
            trees.iter().try_for_each(|(tree, at)| {
                move_mount(tree, "", CWD, at.as_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            })?;
            Ok(())
        };
        namespace::inside(vmm, put).map_err(failed)
    }

    /// An empty file of the machine's own, of that size.
    pub(super) fn placeholder(&self, name: &str, bytes: u64) -> Result<(), DriverError> {
        let path = self.root.join(name);
        let made = std::fs::File::create(&path).and_then(|file| file.set_len(bytes));
        let made = made.and_then(|()| std::os::unix::fs::chown(&path, Some(self.uid), Some(self.uid)));
        made.map_err(|e| DriverError::because("cannot make a placeholder for a disk", &e))
    }

    /// A directory of the machine's root.
    pub(super) fn directory(&self, name: &str) -> Result<(), DriverError> {
        let path = self.root.join(name);
        std::fs::create_dir(&path).map_err(|e| DriverError::because("cannot make the machine's root", &e))
    }

    /// What starts Firecracker in it. The jailer needs all rights; it gives them up before it becomes Firecracker.
    pub(super) fn command(&self, jailer: &Path, firecracker: &Path, slot: &Slot) -> Command {
        let uid = self.uid.to_string();
        let mut command = Command::new(jailer);
        command.args(["--id", ID, "--uid", &uid, "--gid", &uid]);
        command.arg("--exec-file").arg(firecracker).arg("--chroot-base-dir").arg(&self.base);
        command.arg("--netns").arg(slot.path());
        command.args(["--resource-limit", &format!("no-file={OPEN_FILES_MAX}")]);
        command.args(["--", "--api-sock", &format!("/{API_SOCKET}"), "--level", "Warn"]);
        command.current_dir("/").env_clear();
        command
    }

    /// Lets go of every file in it.
    pub(super) fn remove(&self) {
        // Not mounted is what was wanted.
        let _ = rustix::mount::unmount(&self.root, UnmountFlags::DETACH);
    }
}
