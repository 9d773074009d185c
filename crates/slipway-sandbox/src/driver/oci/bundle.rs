//! The container's configuration, and the files that it shows to the sandbox.

use super::rootfs::Rootfs;
use super::seccomp;
use crate::config::CA_BUNDLE_IN_SANDBOX;
use crate::driver::cgroup;
use crate::error::SandboxError;
use crate::home::{BootSpec, Home};
use serde_json::{Value, json};
use slipway_tree::root::{MASKED_PATHS, READ_ONLY_PATHS};
use std::path::Path;

const AGENT_IN_SANDBOX: &str = "/slipway/agent";
const AGENT_DIR_IN_SANDBOX: &str = "/run/slipway";
/// What the agent needs: to become the app's user and to signal its processes. Nothing else, for nobody.
const CAPABILITIES: [&str; 3] = ["CAP_SETUID", "CAP_SETGID", "CAP_KILL"];
/// Docker's choice: enough for a browser's shared memory with small pages.
const SHM_OPTION: &str = "size=65536k";
/// The kernel's own default for the largest; the agent sets what a task gets.
const OPEN_FILES_MAX: u64 = 1_048_576;
/// When the whole machine is out of memory, sandboxes die before the server does.
const OOM_SCORE_ADJUSTMENT: i32 = 200;
/// The agent itself, which the owner's limit does not count.
const AGENT_PROCESSES: u64 = 4;

/// Writes `config.json` and the generated files. Nothing in them is secret.
pub(super) fn write(home: &Home, boot: &BootSpec, rootfs: &Rootfs) -> Result<(), SandboxError> {
    let dir = home.bundle_dir();
    std::fs::create_dir_all(&dir).map_err(SandboxError::file("make", &dir))?;
    for (file, text) in boot.generated_files() {
        let path = dir.join(file);
        std::fs::write(&path, text).map_err(SandboxError::file("write", &path))?;
    }
    home.write_json(&dir.join("config.json"), &config(home, boot, rootfs))
}

fn config(home: &Home, boot: &BootSpec, rootfs: &Rootfs) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "hostname": boot.spec.hostname,
        "root": { "path": rootfs.merged, "readonly": false },
        "process": process(),
        "mounts": mounts(home, boot, rootfs),
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
                { "type": "network", "path": boot.slot.path() },
            ],
            "cgroupsPath": boot.cgroup,
            "resources": resources(boot),
            "rootfsPropagation": "private",
            "seccomp": seccomp::profile(),
            "maskedPaths": MASKED_PATHS,
            "readonlyPaths": READ_ONLY_PATHS,
        },
    })
}

/// As many as this process may have: raising that further takes a right that a server need not have.
fn open_files_max() -> u64 {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    own.unwrap_or(OPEN_FILES_MAX).min(OPEN_FILES_MAX)
}

fn process() -> Value {
    json!({
        "terminal": false,
        "user": { "uid": 0, "gid": 0 },
        "args": [AGENT_IN_SANDBOX, format!("{AGENT_DIR_IN_SANDBOX}/{}", crate::home::AGENT_SOCKET)],
        "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
        "cwd": "/",
        "noNewPrivileges": true,
        "capabilities": {
            "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
            "inheritable": [], "ambient": [],
        },
        "rlimits": [
            { "type": "RLIMIT_NOFILE", "hard": open_files_max(), "soft": open_files_max() },
            { "type": "RLIMIT_CORE", "hard": 0, "soft": 0 },
        ],
        "oomScoreAdj": OOM_SCORE_ADJUSTMENT,
    })
}

fn resources(boot: &BootSpec) -> Value {
    let limits = &boot.spec.limits;
    let mut memory = json!({ "limit": limits.memory.0 });
    if cgroup::counts_swap() {
        // Memory and swap together: none of it may be swap.
        memory["swap"] = json!(limits.memory.0);
    }
    json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "memory": memory,
        "cpu": { "quota": cgroup::cpu_quota_us(limits), "period": cgroup::CPU_PERIOD_US },
        "pids": { "limit": u64::from(limits.processes_max) + AGENT_PROCESSES },
    })
}

fn mounts(home: &Home, boot: &BootSpec, rootfs: &Rootfs) -> Vec<Value> {
    let special = |at: &str, kind: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
    let plain = ["nosuid", "noexec", "nodev"];
    let mut mounts = vec![
        special("/proc", "proc", &plain),
        special("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        special("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        special("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", SHM_OPTION]),
        special("/dev/mqueue", "mqueue", &plain),
        special("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        // Runtimes size their heaps and thread pools by it.
        special("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        bind(&home.agent_dir(), AGENT_DIR_IN_SANDBOX, &["rw", "noexec"]),
        bind(&boot.agent_program, AGENT_IN_SANDBOX, &["ro"]),
        // Beside the written layer, not in it: temporary files count for the disk limit but are no part of a result.
        bind(&rootfs.temporary, "/tmp", &["rw"]),
    ];
    for file in ["resolv.conf", "hosts", "hostname"] {
        mounts.push(bind(&home.bundle_dir().join(file), &format!("/etc/{file}"), &["ro", "noexec"]));
    }
    if let Some(bundle) = &boot.ca_bundle {
        mounts.push(bind(bundle, CA_BUNDLE_IN_SANDBOX, &["ro", "noexec"]));
    }
    mounts.extend(rootfs.caches.iter().map(|(source, target)| bind(source, target, &["rw"])));
    mounts
}

fn bind(source: &Path, at: &str, options: &[&str]) -> Value {
    let options: Vec<&str> = ["bind", "nosuid", "nodev"].iter().chain(options).copied().collect();
    json!({ "destination": at, "type": "bind", "source": source, "options": options })
}
