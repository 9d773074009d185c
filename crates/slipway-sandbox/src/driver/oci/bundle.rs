//! The container's configuration, and the files that it shows to the sandbox.

use super::rootfs::Rootfs;
use super::seccomp;
use crate::config::CA_BUNDLE_IN_SANDBOX;
use crate::driver::cgroup;
use crate::error::SandboxError;
use crate::home::{BootSpec, Home};
use serde_json::{Value, json};
use slipway_tree::root::{MASKED_PATHS, READ_ONLY_PATHS};
use std::path::{Path, PathBuf};

/// Runtimes of languages size their heaps and thread pools by it.
pub(super) const CGROUPS: &str = "/sys/fs/cgroup";
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

/// Writes `config.json` and the generated files. Nothing in them is secret. A blank has no file system of its own yet, and no limits.
pub(super) fn write(home: &Home, boot: &BootSpec, rootfs: Option<&Rootfs>) -> Result<(), SandboxError> {
    let dir = home.bundle_dir();
    std::fs::create_dir_all(&dir).map_err(SandboxError::file("make", &dir))?;
    if rootfs.is_some() {
        write_files(home, boot)?;
    }
    home.write_json(&dir.join("config.json"), &config(home, boot, rootfs))
}

/// What of `/etc` is the sandbox's own.
pub(super) fn write_files(home: &Home, boot: &BootSpec) -> Result<(), SandboxError> {
    for (file, text) in boot.generated_files() {
        let path = home.bundle_dir().join(file);
        std::fs::write(&path, text).map_err(SandboxError::file("write", &path))?;
    }
    Ok(())
}

fn config(home: &Home, boot: &BootSpec, rootfs: Option<&Rootfs>) -> Value {
    let root = match rootfs {
        Some(rootfs) => json!({ "path": rootfs.merged, "readonly": false }),
        None => json!({ "path": boot.skeleton, "readonly": true }),
    };
    let devices = json!({ "devices": [{ "allow": false, "access": "rwm" }] });
    json!({
        "ociVersion": "1.0.2",
        "hostname": boot.spec.hostname,
        "root": root,
        "process": process(),
        "mounts": mounts(home, boot, rootfs),
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "cgroup" },
                { "type": "network", "path": boot.slot.path() },
            ],
            "cgroupsPath": boot.cgroup,
            "resources": if rootfs.is_some() { resources(boot) } else { devices },
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
    let cgroup::Limits { memory_bytes, cpu_quota_us, processes } = limits(boot);
    let mut memory = json!({ "limit": memory_bytes });
    if cgroup::counts_swap() {
        // Memory and swap together: none of it may be swap.
        memory["swap"] = json!(memory_bytes);
    }
    json!({
        "devices": [{ "allow": false, "access": "rwm" }],
        "memory": memory,
        "cpu": { "quota": cpu_quota_us, "period": cgroup::CPU_PERIOD_US },
        "pids": { "limit": processes },
    })
}

/// What the sandbox may use; a blank's cgroup is there already when it gets them.
pub(super) fn limits(boot: &BootSpec) -> cgroup::Limits {
    let limits = &boot.spec.limits;
    cgroup::Limits {
        memory_bytes: limits.memory.0,
        cpu_quota_us: cgroup::cpu_quota_us(limits),
        processes: u64::from(limits.processes_max) + AGENT_PROCESSES,
    }
}

/// What every container has, by the outermost mount point: a blank takes them along.
pub(super) const OWN_MOUNTS: [&str; 5] = ["/proc", "/dev", "/sys", AGENT_DIR_IN_SANDBOX, AGENT_IN_SANDBOX];

fn mounts(home: &Home, boot: &BootSpec, rootfs: Option<&Rootfs>) -> Vec<Value> {
    let special = |at: &str, kind: &str, options: &[&str]| json!({ "destination": at, "type": kind, "source": kind, "options": options });
    let plain = ["nosuid", "noexec", "nodev"];
    let mut mounts = vec![
        special("/proc", "proc", &plain),
        special("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        special("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        special("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", SHM_OPTION]),
        special("/dev/mqueue", "mqueue", &plain),
        special("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        special(CGROUPS, "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        bind(&home.agent_dir(), AGENT_DIR_IN_SANDBOX, &["rw", "noexec"]),
        bind(&boot.agent_program, AGENT_IN_SANDBOX, &["ro"]),
    ];
    let given = rootfs.map(|rootfs| given(home, boot, rootfs)).unwrap_or_default();
    mounts.extend(given.iter().map(|bound| bind(&bound.source, &bound.at, bound.options())));
    mounts
}

/// A file or directory of the host's that is shown to the sandbox.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) source: PathBuf,
    pub(super) at: String,
    /// And no program in it can be run.
    pub(super) read_only: bool,
}

impl Bound {
    fn options(&self) -> &'static [&'static str] {
        if self.read_only { &["ro", "noexec"] } else { &["rw"] }
    }
}

/// What the sandbox is given beside its root.
pub(super) fn given(home: &Home, boot: &BootSpec, rootfs: &Rootfs) -> Vec<Bound> {
    let read_only = |source: PathBuf, at: String| Bound { source, at, read_only: true };
    let read_write = |source: &Path, at: &str| Bound { source: source.to_owned(), at: at.to_owned(), read_only: false };
    // Beside the written layer, not in it: temporary files count for the disk limit but are no part of a result.
    let mut given = vec![read_write(&rootfs.temporary, "/tmp")];
    for (file, _) in boot.generated_files() {
        given.push(read_only(home.bundle_dir().join(file), format!("/etc/{file}")));
    }
    if let Some(bundle) = &boot.ca_bundle {
        given.push(read_only(bundle.clone(), CA_BUNDLE_IN_SANDBOX.to_owned()));
    }
    given.extend(rootfs.caches.iter().map(|(source, target)| read_write(source, target)));
    given
}

fn bind(source: &Path, at: &str, options: &[&str]) -> Value {
    let options: Vec<&str> = ["bind", "nosuid", "nodev"].iter().chain(options).copied().collect();
    json!({ "destination": at, "type": "bind", "source": source, "options": options })
}
