//! The OCI driver: runc or crun on an overlay of loop-mounted images. It shares the host's kernel.

mod bundle;
mod move_in;
mod rootfs;
mod seccomp;

use super::{Driver, DriverError, Guest, cgroup, namespace};
use crate::error::SandboxError;
use crate::home::{AGENT_SOCKET, BootSpec, Home, short_path};
use crate::process::wait_fd;
use crate::reap::settle_images;
use cgroup::MemoryKills;
use rootfs::Rootfs;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use slipway_tree::root::READ_ONLY_PATHS;
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// From the start of the agent until it listens: a few milliseconds.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(10);
/// Between two attempts to reach it; an end of the agent is noticed at once.
const LISTEN_PAUSE: Duration = Duration::from_millis(1);

/// What the runtime mounts on: directories, then files. In the lowest layer, so that no written layer gets them.
const SKELETON_DIRS: [&str; 9] =
    ["proc", "sys", "dev", "tmp", "etc/slipway", "run/slipway", "slipway", "app", "home/app"];
const SKELETON_FILES: [&str; 5] =
    ["etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/slipway/ca.pem", "slipway/agent"];

/// The tree of empty mount points, beside the sandboxes. Its name is no sandbox id.
pub(crate) fn make_skeleton(sandboxes_dir: &Path) -> Result<PathBuf, SandboxError> {
    let root = sandboxes_dir.join(".skeleton");
    for dir in SKELETON_DIRS {
        let dir = root.join(dir);
        std::fs::create_dir_all(&dir).map_err(SandboxError::file("make", &dir))?;
    }
    for file in SKELETON_FILES {
        let file = root.join(file);
        let open = std::fs::OpenOptions::new().create(true).append(true).open(&file);
        open.map_err(SandboxError::file("create", &file))?;
    }
    for dir in ["app", "home/app"] {
        let dir = root.join(dir);
        std::os::unix::fs::chown(&dir, Some(crate::APP_UID), Some(crate::APP_GID))
            .map_err(SandboxError::file("change the owner of", &dir))?;
    }
    Ok(root)
}

#[derive(Debug)]
pub(crate) struct Oci;

#[derive(Debug)]
struct Container {
    boot: BootSpec,
    pid: Pid,
    pidfd: OwnedFd,
    stream: UnixStream,
    memory_kills: MemoryKills,
    /// None: cleaned up.
    rootfs: Mutex<Option<Rootfs>>,
}

impl Driver for Oci {
    fn launch(&self, home: &Home, boot: &BootSpec) -> Result<Box<dyn Guest>, DriverError> {
        launch(home, boot, Some(Rootfs::mount(home, boot)?))
    }

    fn launch_blank(&self, home: &Home, boot: &BootSpec) -> Result<Box<dyn Guest>, DriverError> {
        launch(home, boot, None)
    }
}

fn launch(home: &Home, boot: &BootSpec, rootfs: Option<Rootfs>) -> Result<Box<dyn Guest>, DriverError> {
    if is_crun(boot) {
        hide_unified_cgroup();
    }
    match start(home, boot, rootfs.as_ref()) {
        Ok((pid, pidfd, stream)) => {
            let memory_kills = MemoryKills::of(pid.as_raw_nonzero().get());
            let rootfs = Mutex::new(rootfs);
            Ok(Box::new(Container { boot: boot.clone(), pid, pidfd, stream, memory_kills, rootfs }))
        }
        Err(error) => {
            // What is said is why it failed, not what followed.
            let _ = cgroup::remove(&boot.cgroup);
            let _ = rootfs.map(|rootfs| rootfs.unmount(&boot.spec.writable));
            Err(error)
        }
    }
}

fn start(home: &Home, boot: &BootSpec, rootfs: Option<&Rootfs>) -> Result<(Pid, OwnedFd, UnixStream), DriverError> {
    bundle::write(home, boot, rootfs).map_err(|e| DriverError::because("cannot write the bundle", &e))?;
    // The container's first process becomes this process' child when the runtime has ended.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| DriverError::because("cannot become a subreaper", &e))?;
    let pid = run_runtime(home, boot)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())
        .map_err(|_| DriverError::new(format!("the agent ended at once: {}", log_tail(home))))?;
    let stream = dial(home, &pidfd)?;
    if is_crun(boot) {
        let closed = namespace::inside(pid.as_raw_nonzero().get(), close_mounts);
        closed.map_err(|e| DriverError::because("cannot close what the runtime left open", &e))?;
    }
    Ok((pid, pidfd, stream))
}

fn is_crun(boot: &BootSpec) -> bool {
    boot.runtime_program.file_name().is_some_and(|name| name == "crun")
}

/// crun leaves the directory of the cgroups writable for root inside (a small file system in memory, nobody's cgroup), and takes the
/// restrictions of a mount from what it shows of it once more, the root too. Nothing of the sandbox runs yet but the agent, which waits.
fn close_mounts() -> std::io::Result<()> {
    let plain = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let closed = plain | libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOEXEC;
    let read_only = READ_ONLY_PATHS.into_iter().chain([bundle::CGROUPS]).map(|path| (path, closed));
    for (path, attributes) in read_only.chain([("/", plain)]) {
        match rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            // A kernel has not all of them; and where it is no mount, it is part of one that is closed.
            Ok(place) => match namespace::set_attributes(&place, attributes, None) {
                Err(error) if error.raw_os_error() != Some(libc::EINVAL) => return Err(error),
                _ => {}
            },
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

impl Guest for Container {
    fn attach(&mut self, home: &Home, boot: &BootSpec) -> Result<(), DriverError> {
        self.boot = boot.clone();
        let rootfs = Rootfs::mount(home, boot)?;
        let put = move_in::move_in(home, boot, &rootfs, self.pid());
        self.rootfs = Mutex::new(Some(rootfs));
        put
    }

    fn stream(&self) -> std::io::Result<UnixStream> {
        self.stream.try_clone()
    }

    fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    fn wait(&self, bound: Duration) -> bool {
        let ended = wait_fd(&self.pidfd, bound);
        if ended {
            // Only the first caller finds it.
            let _ = waitpid(Some(self.pid), WaitOptions::NOHANG);
        }
        ended
    }

    fn kill(&self) {
        // The end of PID 1 ends every process of its namespace.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    fn out_of_memory_kills(&self) -> u64 {
        self.memory_kills.count()
    }

    fn disk_full(&self) -> bool {
        self.rootfs.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(Rootfs::full)
    }

    fn clean_up(&self) -> Result<(), DriverError> {
        let failed = |error: SandboxError| DriverError::because("cannot clean up", &error);
        let cgroup = cgroup::remove(&self.boot.cgroup).map_err(failed);
        let rootfs = self.rootfs.lock().unwrap_or_else(PoisonError::into_inner).take();
        rootfs.map_or(Ok(()), |rootfs| rootfs.unmount(&self.boot.spec.writable))?;
        settle_images(&self.boot).map_err(failed)?;
        cgroup
    }
}

/// Creates and starts the container; answers its first process.
fn run_runtime(home: &Home, boot: &BootSpec) -> Result<Pid, DriverError> {
    let failed = |error: std::io::Error| {
        DriverError::because(format!("cannot run `{}`", boot.runtime_program.display()), &error)
    };
    std::fs::create_dir_all(home.agent_dir()).map_err(failed)?;
    // Shown to the sandbox: its users other than root must not reach the agent's socket.
    std::fs::set_permissions(home.agent_dir(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(failed)?;
    let log = File::options().append(true).create(true).open(home.log_path()).map_err(failed)?;
    let pid_file = home.dir.join("pid");
    let mut command = Command::new(&boot.runtime_program);
    command.arg("--root").arg(home.runtime_dir()).args(["run", "--detach", "--pid-file"]).arg(&pid_file);
    command.arg("--bundle").arg(home.bundle_dir()).arg(&boot.spec.id);
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
    let status = command.status().map_err(failed)?;
    if !status.success() {
        let program = boot.runtime_program.display();
        return Err(DriverError::new(format!("`{program}` failed ({status}): {}", log_tail(home))));
    }
    let pid = std::fs::read_to_string(&pid_file).map_err(failed)?;
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| DriverError::new("the OCI runtime wrote no process id"))
}

fn dial(home: &Home, pidfd: &OwnedFd) -> Result<UnixStream, DriverError> {
    let deadline = Instant::now() + LISTEN_TIME_MAX;
    loop {
        let connected = short_path(&home.agent_dir(), AGENT_SOCKET).and_then(|(_dir, path)| UnixStream::connect(path));
        match connected {
            Ok(stream) => return Ok(stream),
            Err(_) if wait_fd(pidfd, LISTEN_PAUSE) => {
                return Err(DriverError::new(format!("the agent ended at once: {}", log_tail(home))));
            }
            Err(error) if Instant::now() >= deadline => {
                return Err(DriverError::because("the agent does not listen", &error));
            }
            Err(_) => {}
        }
    }
}

fn log_tail(home: &Home) -> String {
    let log = std::fs::read_to_string(home.log_path()).unwrap_or_default();
    log.lines().next_back().unwrap_or("it said nothing").to_owned()
}

/// crun takes a version 2 mount beside version 1 for a machine that it does not know. This is the shim's own mount
/// namespace: nobody else loses sight of it.
fn hide_unified_cgroup() {
    let hierarchies = cgroup::hierarchies();
    if hierarchies.iter().any(|hierarchy| !hierarchy.unified) {
        for hierarchy in hierarchies.iter().filter(|hierarchy| hierarchy.unified) {
            let _ = rustix::mount::unmount(&hierarchy.mount, rustix::mount::UnmountFlags::DETACH);
        }
    }
}
