//! Starting one process: fork, prepare, exec. What fails before the exec comes back as an errno and the step that failed. The
//! agent's own tasks are forks that exec nothing.

use crate::archive;
use crate::signals;
use slipway_types::agent::{ArchiveSpec, TaskSpec};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

/// Where a program without a slash is looked for when the task's environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Exit code of a child whose exec failed; the parent learns the reason by the pipe.
const EXEC_FAILED: i32 = 127;
/// In the child that writes an archive.
const TOP_LAYER_FD: RawFd = 3;

/// A process that runs, with the reading ends of its output.
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

#[derive(Debug)]
pub(crate) struct SpawnError {
    pub(crate) errno: i32,
    pub(crate) message: String,
}

impl SpawnError {
    fn new(what: &str, error: &io::Error) -> Self {
        Self { errno: error.raw_os_error().unwrap_or(libc::EINVAL), message: format!("could not {what}: {error}") }
    }
}

/// The steps of the child, in order; the number goes through the pipe.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    Descriptors,
    OpenFiles,
    Groups,
    Group,
    User,
    Privileges,
    Directory,
    Program,
}

impl Step {
    const ALL: [Step; 8] = [
        Step::Descriptors,
        Step::OpenFiles,
        Step::Groups,
        Step::Group,
        Step::User,
        Step::Privileges,
        Step::Directory,
        Step::Program,
    ];

    fn describe(self, spec: &TaskSpec) -> String {
        match self {
            Step::Descriptors => "connect the task's output".to_owned(),
            Step::OpenFiles => format!("limit open files to {}", spec.open_files_max),
            Step::Groups => "drop the supplementary groups".to_owned(),
            Step::Group => format!("become group {}", spec.gid),
            Step::User => format!("become user {}", spec.uid),
            Step::Privileges => "forbid new privileges".to_owned(),
            Step::Directory => format!("enter `{}`", spec.cwd),
            Step::Program => format!("run `{}`", spec.argv.first().map_or("", String::as_str)),
        }
    }
}

/// All that the child needs, made before the fork: between fork and exec nothing allocates.
struct Prepared {
    programs: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    uid: u32,
    gid: u32,
    open_files_max: u64,
}

pub(crate) fn spawn(spec: &TaskSpec) -> Result<Spawned, SpawnError> {
    let prepared = prepare(spec).map_err(|e| SpawnError::new("use the task as it is given", &e))?;
    let failed = |e: io::Error| SpawnError::new("start the task", &e);
    let null = File::open("/dev/null").map_err(failed)?;
    let (stdout, stdout_task) = pipe().map_err(failed)?;
    let (stderr, stderr_task) = pipe().map_err(failed)?;
    let (report, report_task) = pipe().map_err(failed)?;
    let descriptors = [null.as_raw_fd(), stdout_task.as_raw_fd(), stderr_task.as_raw_fd()];
    let (argv, env) = (pointers(&prepared.argv), pointers(&prepared.env));
    // SAFETY: this process has one thread, and the child only calls what is async-signal-safe before it execs or exits.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => return Err(failed(io::Error::last_os_error())),
        0 => child(&prepared, &argv, &env, descriptors, report_task.as_raw_fd()),
        _ => {}
    }
    drop((stdout_task, stderr_task, report_task));
    match read_report(report) {
        None => {
            for fd in [&stdout, &stderr] {
                rustix::io::ioctl_fionbio(fd, true).map_err(|e| failed(e.into()))?;
            }
            Ok(Spawned { pid, stdout, stderr })
        }
        Some((step, error)) => {
            // SAFETY: waits for the child that was just made and that is about to exit; no status is asked for.
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
            let step = Step::ALL.get(usize::from(step)).copied().unwrap_or(Step::Program);
            Err(SpawnError::new(&step.describe(spec), &error))
        }
    }
}

/// A task of the agent's own. Its user may read what it is to read, and nothing of the agent's.
pub(crate) fn spawn_archive(spec: &ArchiveSpec, top_layer: Option<&OwnedFd>) -> Result<Spawned, SpawnError> {
    let failed = |e: io::Error| SpawnError::new("start the archive", &e);
    let null = File::open("/dev/null").map_err(failed)?;
    let (stdout, stdout_task) = pipe().map_err(failed)?;
    let (stderr, stderr_task) = pipe().map_err(failed)?;
    for fd in [&stdout, &stderr] {
        rustix::io::ioctl_fionbio(fd, true).map_err(|e| failed(e.into()))?;
    }
    let descriptors = [null.as_raw_fd(), stdout_task.as_raw_fd(), stderr_task.as_raw_fd()];
    // SAFETY: this process has one thread, so that the child's memory is consistent.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(failed(io::Error::last_os_error())),
        0 => archive_child(spec, top_layer.map(AsRawFd::as_raw_fd), descriptors),
        _ => Ok(Spawned { pid, stdout, stderr }),
    }
}

fn archive_child(spec: &ArchiveSpec, top_layer: Option<RawFd>, descriptors: [RawFd; 3]) -> ! {
    signals::reset_in_child();
    let mut whole = false;
    // SAFETY: plain system calls. Only descriptors are closed that the child never uses: it ends by `_exit`, which drops nothing.
    unsafe {
        let ready = (|| {
            connect_output(descriptors)?;
            match top_layer {
                Some(fd) if libc::dup2(fd, TOP_LAYER_FD) < 0 => return Err(Step::Descriptors),
                Some(_) => libc::syscall(libc::SYS_close_range, TOP_LAYER_FD + 1, u32::MAX, 0),
                None => libc::syscall(libc::SYS_close_range, TOP_LAYER_FD, u32::MAX, 0),
            };
            become_user(spec.uid, spec.gid)?;
            // A process that changed its user is shown nothing of itself in /proc; this one looks paths up there.
            libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
            Ok(())
        })();
        if ready.is_ok() {
            let path = PathBuf::from(format!("/proc/self/fd/{TOP_LAYER_FD}"));
            whole = archive::write(&spec.of, top_layer.is_some().then_some(path.as_path()));
        }
        libc::_exit(i32::from(!whole))
    }
}

fn prepare(spec: &TaskSpec) -> io::Result<Prepared> {
    let text = |text: &str| CString::new(text).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL));
    let Some(program) = spec.argv.first().filter(|program| !program.is_empty()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let programs = if program.contains('/') {
        vec![text(program)?]
    } else {
        let path = spec.env.get("PATH").map_or(DEFAULT_PATH, |path| path.expose());
        path.split(':').map(|directory| text(&format!("{directory}/{program}"))).collect::<Result<_, _>>()?
    };
    if spec.env.keys().any(|name| name.is_empty() || name.contains('=')) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    Ok(Prepared {
        programs,
        argv: spec.argv.iter().map(|argument| text(argument)).collect::<Result<_, _>>()?,
        env: spec
            .env
            .iter()
            .map(|(name, value)| text(&format!("{name}={}", value.expose())))
            .collect::<Result<_, _>>()?,
        cwd: text(&spec.cwd)?,
        uid: spec.uid,
        gid: spec.gid,
        open_files_max: spec.open_files_max,
    })
}

/// A pipe whose ends close themselves at an exec.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?)
}

fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// `None` when the exec worked: it closed the pipe.
fn read_report(report: OwnedFd) -> Option<(u8, io::Error)> {
    let mut bytes = [0; 5];
    File::from(report).read_exact(&mut bytes).ok()?;
    let errno = i32::from_ne_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
    Some((bytes[0], io::Error::from_raw_os_error(errno)))
}

fn child(
    prepared: &Prepared,
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
    descriptors: [RawFd; 3],
    report: RawFd,
) -> ! {
    signals::reset_in_child();
    let step = become_task(prepared, argv, env, descriptors);
    let [a, b, c, d] = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL).to_ne_bytes();
    let bytes = [step as u8, a, b, c, d];
    // SAFETY: writes a local buffer to an open pipe, then ends this process without running anything of the parent's.
    unsafe {
        libc::write(report, bytes.as_ptr().cast(), bytes.len());
        libc::_exit(EXEC_FAILED)
    }
}

/// Returns only with the step that failed; errno says why.
fn become_task(
    prepared: &Prepared,
    argv: &[*const libc::c_char],
    env: &[*const libc::c_char],
    descriptors: [RawFd; 3],
) -> Step {
    // SAFETY: plain system calls; every pointer is to a NUL-terminated string or a NULL-terminated list in `prepared` or made
    // from it, which live until this process execs or exits.
    unsafe {
        if let Err(step) = connect_output(descriptors) {
            return step;
        }
        // Whatever else was inherited from who started the agent.
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if !limit_open_files(prepared.open_files_max) {
            return Step::OpenFiles;
        }
        if let Err(step) = become_user(prepared.uid, prepared.gid) {
            return step;
        }
        if libc::chdir(prepared.cwd.as_ptr()) != 0 {
            return Step::Directory;
        }
        exec(&prepared.programs, argv, env);
        Step::Program
    }
}

/// Only system calls.
fn connect_output(descriptors: [RawFd; 3]) -> Result<(), Step> {
    // SAFETY: plain system calls.
    unsafe {
        libc::setsid();
        for (target, source) in (0..).zip(descriptors) {
            // The sources are above 2: the agent itself was started with 0, 1 and 2 open, or std opened them.
            if libc::dup2(source, target) < 0 {
                return Err(Step::Descriptors);
            }
        }
    }
    Ok(())
}

/// For good. Only system calls.
fn become_user(uid: u32, gid: u32) -> Result<(), Step> {
    // SAFETY: plain system calls.
    unsafe {
        // Only root may; another user has no groups to drop that it could drop.
        if libc::geteuid() == 0 && libc::setgroups(0, std::ptr::null()) != 0 {
            return Err(Step::Groups);
        }
        if libc::setgid(gid) != 0 {
            return Err(Step::Group);
        }
        if libc::setuid(uid) != 0 {
            return Err(Step::User);
        }
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(Step::Privileges);
        }
    }
    Ok(())
}

/// As `execvpe` does: a directory of PATH without the program is passed over, and "permission denied" wins over "not found".
fn exec(programs: &[CString], argv: &[*const libc::c_char], env: &[*const libc::c_char]) {
    let mut denied = false;
    for program in programs {
        // SAFETY: see `become_task`.
        unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
        match io::Error::last_os_error().raw_os_error() {
            Some(libc::EACCES) => denied = true,
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            _ => return,
        }
    }
    if denied {
        // SAFETY: sets this thread's errno.
        unsafe { *libc::__errno_location() = libc::EACCES };
    }
}

/// The wanted limit, or the hard limit where raising that is not permitted.
fn limit_open_files(wanted: u64) -> bool {
    let limit = libc::rlimit { rlim_cur: wanted, rlim_max: wanted };
    let mut inherited = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both structs outlive the calls.
    unsafe {
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 {
            return true;
        }
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut inherited) != 0 {
            return false;
        }
        inherited.rlim_cur = inherited.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const inherited) == 0
    }
}
