//! What the kernel needs to be spoken to, and what it is told to refuse.

use super::MachineError;
use rustix::mount::MountFlags;
use std::ffi::CStr;
use std::path::Path;

/// Everything that this process mounts and no task sees lies below.
pub(super) const MACHINE_DIR: &str = "/machine";

/// Before modules are loaded.
pub(super) fn mount() -> Result<(), MachineError> {
    let plain = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    special("/proc", c"proc", plain, c"")?;
    special("/sys", c"sysfs", plain, c"")?;
    special("/dev", c"devtmpfs", MountFlags::NOSUID | MountFlags::NOEXEC, c"mode=755")?;
    special("/sys/fs/cgroup", c"cgroup2", plain, c"")?;
    special(MACHINE_DIR, c"tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=700")
}

pub(super) fn special(at: &str, kind: &CStr, flags: MountFlags, options: &CStr) -> Result<(), MachineError> {
    if !Path::new(at).exists() {
        std::fs::create_dir_all(at).map_err(|e| MachineError::because(format!("make `{at}`"), e))?;
    }
    rustix::mount::mount(kind, at, kind, flags, options)
        .map_err(|e| MachineError::because(format!("mount {} at `{at}`", kind.to_string_lossy()), e))
}

/// After the modules: the kernel starts no program on its own (its helpers would come from the tasks' root with all rights), loads
/// no module, and gives tasks no namespaces, as in a container. Then what a container's host sets for it.
pub(super) fn harden() {
    for (key, value) in [
        ("kernel/modprobe", ""),
        ("kernel/modules_disabled", "1"),
        ("kernel/kexec_load_disabled", "1"),
        ("kernel/core_pattern", "core"),
        ("kernel/sysrq", "0"),
        ("kernel/dmesg_restrict", "1"),
        ("kernel/perf_event_paranoid", "3"),
        ("kernel/unprivileged_bpf_disabled", "1"),
        ("user/max_user_namespaces", "0"),
        ("fs/protected_hardlinks", "1"),
        ("fs/protected_symlinks", "1"),
        ("fs/protected_fifos", "1"),
        ("fs/protected_regular", "2"),
        ("fs/inotify/max_user_instances", "1024"),
        ("fs/inotify/max_user_watches", "524288"),
        ("net/ipv6/conf/all/disable_ipv6", "1"),
        ("net/ipv6/conf/default/disable_ipv6", "1"),
        ("net/ipv4/ip_unprivileged_port_start", "0"),
        ("net/ipv4/ping_group_range", "0 2147483647"),
    ] {
        // A kernel without the feature has no such file.
        let _ = std::fs::write(format!("/proc/sys/{key}"), value);
    }
    let _ = std::fs::write("/sys/kernel/uevent_helper", "");
}
