//! Removes what is left of a sandbox, in whatever state it was left. Running it twice is fine.

use crate::driver::cgroup;
use crate::error::SandboxError;
use crate::home::{BootSpec, Home};
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
        remove_writable(&boot)?;
    }
    remove_dir(&home.dir)
}

/// The image itself may be in use for an instant after the last process: the name goes, the file follows.
pub(crate) fn remove_writable(boot: &BootSpec) -> Result<(), SandboxError> {
    let writable = &boot.spec.writable;
    if writable.keep {
        return Ok(());
    }
    match std::fs::remove_file(&writable.image) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(SandboxError::file("remove", &writable.image)(error)),
        _ => Ok(()),
    }
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
