//! Removes what is left of a sandbox, in whatever state it was left. Running it twice is fine.

use crate::driver::cgroup;
use crate::error::SandboxError;
use crate::home::{BootDriver, BootSpec, Home};
use slipway_layers::image;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// For a process that was sent SIGKILL; the kernel may have much memory of it to give back.
const KILL_TIME_MAX: Duration = Duration::from_secs(10);

/// Ends the shim and the sandbox's processes, then removes the cgroup, the writable image unless it is to be kept, and
/// the directory. The shim's mounts end with its mount namespace. The network slot is the caller's.
pub(crate) fn reap(home: &Home) -> Result<(), SandboxError> {
    if let Ok(state) = home.state() {
        state.shim.kill_and_wait(KILL_TIME_MAX);
        if let Some(init) = state.init {
            init.kill_and_wait(KILL_TIME_MAX);
        }
    }
    if let Ok(boot) = home.boot_spec() {
        cgroup::remove(&boot.cgroup)?;
        settle_images(&boot)?;
    }
    remove_dir(&home.dir)
}

/// What becomes of the images when the sandbox is gone: the writable one goes, unless it is to be kept; what a virtual machine wrote
/// is marked so, whatever the guest did to the mark. The file may be in use for an instant after the last process: the name goes,
/// the file follows.
pub(crate) fn settle_images(boot: &BootSpec) -> Result<(), SandboxError> {
    let writable = &boot.spec.writable;
    if !writable.keep {
        match std::fs::remove_file(&writable.image) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(SandboxError::file("remove", &writable.image)(error));
            }
            _ => {}
        }
    }
    let is_machine = !matches!(boot.driver, BootDriver::Oci);
    let written = [Some(&writable.image), boot.spec.cache.as_ref().map(|cache| &cache.image)];
    for image in written.into_iter().flatten().filter(|image| is_machine && image.exists()) {
        image::mark_guest_written(image)?;
    }
    Ok(())
}

/// Never descends into a mount: what is mounted there belongs to others.
fn remove_dir(dir: &Path) -> Result<(), SandboxError> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = |line: &str| line.split(' ').nth(4).is_some_and(|point| Path::new(point).starts_with(dir));
    if mounts.lines().any(below) {
        return Err(SandboxError::file("remove", dir)(std::io::Error::other("something is mounted in it")));
    }
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(SandboxError::file("remove", dir)(error)),
        _ => Ok(()),
    }
}
