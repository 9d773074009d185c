//! What the supervisor and the tasks see and may do: what a container shows, made by hand.
//!
//! Keep it in step with the configuration that the host writes for the `oci` driver: an app must not notice which one runs it.

use super::MachineError;
use super::base::MACHINE_DIR;
use super::cgroup;
use super::root::Root;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat, symlink};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};
use slipway_tree::root::{MASKED_PATHS, READ_ONLY_PATHS, make_dirs_inside, open_inside, open_root};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// To become the app's user and to signal its processes. Nothing else, for nobody.
const CAPABILITIES: CapabilitySet = CapabilitySet::SETUID.union(CapabilitySet::SETGID).union(CapabilitySet::KILL);
/// The kernel knows about forty.
const CAPABILITY_NUMBER_MAX: u32 = 63;
const OPEN_FILES_MAX: u64 = 1_048_576;
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Puts the calling process, the first of its PID namespace, into the tasks' world. There is no way back.
pub(super) fn enter(root: &Root, files: &BTreeMap<String, Vec<u8>>) -> Result<(), MachineError> {
    cgroup::join()?;
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS | UnshareFlags::NEWCGROUP;
    // SAFETY: this process has one thread.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(|e| MachineError::because("make namespaces", e))?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|e| MachineError::because("make mounts private", e))?;
    mount_all(root, files)?;
    change_root(&root.merged).map_err(|e| MachineError::because("enter the root", e))?;
    give_up_privileges().map_err(|e| MachineError::because("give up privileges", e))
}

fn mount_all(root: &Root, files: &BTreeMap<String, Vec<u8>>) -> Result<(), MachineError> {
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    let inside = open_root(&root.merged).map_err(|e| MachineError::because("open the root", e))?;
    let at = |path: &str| Target { root: &inside, path: path.to_owned() };
    at("/proc").special(c"proc", plain, c"")?;
    at("/dev").special(c"tmpfs", MountFlags::NOSUID | MountFlags::STRICTATIME, c"mode=755,size=65536k")?;
    fill_dev(&inside)?;
    let pts = MountFlags::NOSUID | MountFlags::NOEXEC;
    at("/dev/pts").special(c"devpts", pts, c"newinstance,ptmxmode=0666,mode=0620,gid=5")?;
    at("/dev/shm").special(c"tmpfs", plain, c"mode=1777,size=65536k")?;
    at("/dev/mqueue").special(c"mqueue", plain, c"")?;
    at("/sys").special(c"sysfs", plain | MountFlags::RDONLY, c"")?;
    at("/sys/fs/cgroup").special(c"cgroup2", plain | MountFlags::RDONLY, c"")?;
    let shared = MountFlags::NOSUID | MountFlags::NODEV;
    at("/tmp").bind(&root.temporary, shared)?;
    for (source, target) in &root.caches {
        at(target).bind(source, shared)?;
    }
    for (number, (path, bytes)) in files.iter().enumerate() {
        let source = Path::new(MACHINE_DIR).join(format!("file{number}"));
        let failed = |error: std::io::Error| MachineError::because(format!("write the file `{path}`"), error);
        std::fs::write(&source, bytes).map_err(failed)?;
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
        at(path).bind(&source, shared | MountFlags::NOEXEC | MountFlags::RDONLY)?;
    }
    READ_ONLY_PATHS.iter().try_for_each(|path| at(path).make_read_only())?;
    MASKED_PATHS.iter().try_for_each(|path| at(path).mask())
}

/// A place in the tasks' root to mount on.
struct Target<'a> {
    root: &'a OwnedFd,
    path: String,
}

impl Target<'_> {
    fn open(&self) -> Result<OwnedFd, MachineError> {
        open_inside(self.root, Path::new(&self.path)).map_err(|e| self.failed(e))
    }

    fn failed(&self, error: impl std::fmt::Display) -> MachineError {
        MachineError::because(format!("mount on `{}`", self.path), error)
    }

    fn special(&self, kind: &std::ffi::CStr, flags: MountFlags, options: &std::ffi::CStr) -> Result<(), MachineError> {
        let target = self.open()?;
        rustix::mount::mount(kind, name_of(&target), kind, flags, options).map_err(|e| self.failed(e))
    }

    fn bind(&self, source: &Path, flags: MountFlags) -> Result<(), MachineError> {
        rustix::mount::mount_bind(source, name_of(&self.open()?)).map_err(|e| self.failed(e))?;
        // A bind takes its flags only afterwards, and on what is mounted there now.
        let mounted = self.open()?;
        rustix::mount::mount_remount(name_of(&mounted), flags | MountFlags::BIND, c"").map_err(|e| self.failed(e))
    }

    /// What this kernel does not have needs no protection.
    fn make_read_only(&self) -> Result<(), MachineError> {
        let Ok(target) = open_inside(self.root, Path::new(&self.path)) else { return Ok(()) };
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
        self.bind(&name_of(&target), flags)
    }

    fn mask(&self) -> Result<(), MachineError> {
        let Ok(target) = open_inside(self.root, Path::new(&self.path)) else { return Ok(()) };
        let is_dir = rustix::fs::fstat(&target).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
        match is_dir {
            true => self.special(c"tmpfs", MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, c"size=0k"),
            false => rustix::mount::mount_bind("/dev/null", name_of(&target)).map_err(|e| self.failed(e)),
        }
    }
}

/// A name for what the descriptor is of, for calls that take names.
fn name_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn fill_dev(root: &OwnedFd) -> Result<(), MachineError> {
    let failed = |error: rustix::io::Errno| MachineError::because("make the devices", error);
    let dev = open_inside(root, Path::new("/dev")).map_err(failed)?;
    let dev = name_of(&dev);
    for (name, major, minor) in DEVICES {
        let path = dev.join(name);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::empty(), makedev(major, minor)).map_err(failed)?;
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o666)).map_err(failed)?;
    }
    for (name, target) in DEVICE_LINKS {
        symlink(target, dev.join(name)).map_err(failed)?;
    }
    ["pts", "shm", "mqueue"].iter().try_for_each(|name| make_dirs_inside(&dev, name, 0, 0)).map_err(failed)
}

/// The initramfs cannot be pivoted away: the root is moved over it.
fn change_root(merged: &Path) -> rustix::io::Result<()> {
    rustix::process::chdir(merged)?;
    rustix::mount::mount_move(".", "/")?;
    rustix::process::chroot(".")?;
    rustix::process::chdir("/")
}

fn give_up_privileges() -> rustix::io::Result<()> {
    let open_files = Rlimit { current: Some(OPEN_FILES_MAX), maximum: Some(OPEN_FILES_MAX) };
    setrlimit(Resource::Nofile, open_files)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    for number in 0..=CAPABILITY_NUMBER_MAX {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if !CAPABILITIES.contains(capability) {
            match rustix::thread::remove_capability_from_bounding_set(capability) {
                // Above the last that this kernel knows.
                Err(rustix::io::Errno::INVAL) => break,
                result => result?,
            }
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: CAPABILITIES, permitted: CAPABILITIES, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)
}
