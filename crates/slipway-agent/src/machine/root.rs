//! The tasks' root: the layers' images and the writable one, as an overlay. The same as in a container, made here, so that the
//! host never mounts what was written in a sandbox.

use super::MachineError;
use super::base::MACHINE_DIR;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use slipway_tree::root::{cache_name, layer_name, make_dirs_inside, mount_overlay};
use slipway_types::agent::{CacheDevice, Machine, Tidy};
use std::ffi::CStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As the host mounts them: layers have no journal to replay, deleted files give disk back.
const READ_OPTIONS: &CStr = c"errors=continue";
const WRITE_OPTIONS: &CStr = c"nobarrier,noinit_itable,discard,errors=remount-ro";
/// What is mounted on in the root: the lowest layer of all, so that no written layer gets it.
const SKELETON_DIRS: [&str; 8] = ["proc", "sys", "dev", "tmp", "etc/slipway", "run", "app", "home/app"];
const SKELETON_FILES: [&str; 4] = ["etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/slipway/ca.pem"];
const OWN_DIRS: [&str; 2] = ["app", "home/app"];
/// The tasks' namespaces go an instant after their last process.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(3);
const RELEASE_PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Root {
    /// Where the overlay is mounted.
    pub(super) merged: PathBuf,
    /// Shown as `/tmp`: beside the written layer, not in it.
    pub(super) temporary: PathBuf,
    /// The tree of the uppermost layer alone.
    pub(super) top_layer: Option<PathBuf>,
    /// Directory of the cache image, directory in the sandbox.
    pub(super) caches: Vec<(PathBuf, String)>,
    tidy: Option<Tidy>,
    /// To be unmounted at the end, in that order. The first takes what the tasks write.
    written: Vec<PathBuf>,
}

impl Root {
    pub(super) fn assemble(machine: &Machine) -> Result<Self, MachineError> {
        let dir = Path::new(MACHINE_DIR);
        for (index, device) in machine.layers.iter().enumerate() {
            mount_image(device, &dir.join(layer_name(index)), MountFlags::RDONLY, READ_OPTIONS)?;
        }
        let writable = dir.join("writable");
        mount_image(&machine.writable, &writable, MountFlags::empty(), WRITE_OPTIONS)?;
        let temporary = writable.join("tmp");
        for made in [writable.join("upper"), writable.join("work"), temporary.clone()] {
            make_dir(&made)?;
        }
        std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o1777))
            .map_err(|e| MachineError::because("open the temporary directory to all", e))?;
        if machine.older_tree {
            make_ready(machine, &writable)?;
        }
        make_skeleton(&dir.join("skeleton"), machine)?;
        let merged = dir.join("root");
        mount_overlay(dir, &merged, machine.layers.len()).map_err(|e| MachineError::because("mount the overlay", e))?;
        let top_layer = machine.layers.len().checked_sub(1).map(|top| dir.join(layer_name(top)).join("upper"));
        let tidy = machine.tidy.clone();
        let mut root = Self { merged, temporary, top_layer, caches: Vec::new(), tidy, written: vec![writable] };
        if let Some(cache) = &machine.cache {
            root.mount_cache(cache, machine)?;
        }
        Ok(root)
    }

    fn mount_cache(&mut self, cache: &CacheDevice, machine: &Machine) -> Result<(), MachineError> {
        let at = Path::new(MACHINE_DIR).join("cache");
        mount_image(&cache.device, &at, MountFlags::empty(), WRITE_OPTIONS)?;
        let (uid, gid) = (machine.app_uid, machine.app_gid);
        for target in &cache.targets {
            let source = at.join("upper").join(cache_name(target));
            make_dir(&source)?;
            std::os::unix::fs::lchown(&source, Some(uid), Some(gid))
                .map_err(|e| MachineError::because("give a cache directory to the app", e))?;
            make_dirs_inside(&self.merged, target, uid, gid)
                .map_err(|e| MachineError::because(format!("make the cache directory `{target}`"), e))?;
            self.caches.push((source, target.clone()));
        }
        self.written.push(at);
        Ok(())
    }

    /// Tidies what was written and ends all writing: afterwards the images are whole and clean. Every task is gone. After an error
    /// the written image says that it is not clean, and so nobody takes it for a layer.
    pub(super) fn end(self) -> Result<(), MachineError> {
        let _ = rustix::mount::unmount(&self.merged, UnmountFlags::DETACH);
        // Best effort: what stays of it costs room in a layer, nothing else.
        let _ = std::fs::remove_dir_all(&self.temporary);
        if let (Some(tidy), Some(written)) = (&self.tidy, self.written.first()) {
            slipway_tree::tidy(&written.join("upper"), tidy)
                .map_err(|e| MachineError::because("tidy what was written", e))?;
        }
        self.written.iter().try_for_each(|at| end_writing(at))
    }
}

/// Before it is shown to anybody: what the image holds is what an earlier install wrote, and the uppermost layer is the source.
fn make_ready(machine: &Machine, writable: &Path) -> Result<(), MachineError> {
    let source = Path::new(MACHINE_DIR).join(layer_name(machine.layers.len().saturating_sub(1)));
    slipway_tree::older::make_ready(&writable.join("upper/app"), &source.join("upper/app"))
        .map_err(|error| MachineError::new(error.to_string()))
}

/// Makes the file system itself read-only: the tasks' mount namespace may still hold it, and an unmount would not end the writing.
fn end_writing(at: &Path) -> Result<(), MachineError> {
    let deadline = Instant::now() + RELEASE_TIME_MAX;
    loop {
        match rustix::mount::mount_remount(at, MountFlags::RDONLY | MountFlags::NOATIME, c"") {
            Ok(()) => break,
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(RELEASE_PAUSE),
            Err(errno) => return Err(MachineError::because(format!("end writing to `{}`", at.display()), errno)),
        }
    }
    let _ = rustix::mount::unmount(at, UnmountFlags::DETACH);
    Ok(())
}

fn mount_image(device: &str, at: &Path, flags: MountFlags, options: &CStr) -> Result<(), MachineError> {
    make_dir(at)?;
    // The name comes from the host, which is trusted; it is one name below `/dev` all the same.
    let node = Path::new("/dev").join(device.replace('/', ""));
    rustix::mount::mount(&node, at, c"ext4", flags | MountFlags::NOATIME, options)
        .map_err(|e| MachineError::because(format!("mount the image on `{}`", node.display()), e))
}

fn make_skeleton(dir: &Path, machine: &Machine) -> Result<(), MachineError> {
    for name in SKELETON_DIRS {
        make_dir(&dir.join(name))?;
    }
    let failed = |error: std::io::Error| MachineError::because("make the mount points", error);
    for name in SKELETON_FILES {
        std::fs::write(dir.join(name), "").map_err(failed)?;
    }
    for name in OWN_DIRS {
        std::os::unix::fs::chown(dir.join(name), Some(machine.app_uid), Some(machine.app_gid)).map_err(failed)?;
    }
    Ok(())
}

fn make_dir(path: &Path) -> Result<(), MachineError> {
    std::fs::create_dir_all(path).map_err(|e| MachineError::because(format!("make `{}`", path.display()), e))
}
