//! Kills a process at every step of an operation: `strace` records which system calls of it change something, then the operation
//! runs once for each of them and gets SIGKILL in its place.

use crate::bench::names;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Everything that changes a file, a mount, a device or a lock.
const CALLS: &str = "openat,write,pwrite64,ftruncate,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,\
                     mknodat,chmod,fchmod,fchmodat,utimensat,mount,umount2,ioctl,fsync,flock,lseek,copy_file_range,vfork,clone3";
/// These only look, unless they say otherwise.
const ONLY_LOOKS: [&str; 1] = ["lseek"];
const BEGIN: &str = "/.step-begin";
const END: &str = "/.step-end";
/// `strace` counts calls by thread: by more calls than any other thread makes, the worker's are told from theirs.
const AHEAD: usize = 64;
/// Of many equal steps in a row some are enough.
const EQUAL_STEPS_MAX: usize = 6;

/// One call of the operation: its name, and the how manieth of the thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    call: String,
    number: usize,
    line: String,
}

/// Runs between marks that the recording shows. In the child.
pub(crate) fn marked<T>(work: impl FnOnce() -> T) -> T {
    let null = File::options().write(true).open("/dev/null").unwrap();
    for _ in 0..AHEAD {
        let _ = File::open("/.step-ahead");
        let _ = rustix::io::write(&null, b"");
        let _ = rustix::io::pwrite(&null, b"", 0);
        let _ = rustix::fs::flock(&null, rustix::fs::FlockOperation::Unlock);
        let _ = rustix::termios::tcgetattr(&null);
    }
    let _ = File::open(BEGIN);
    let result = work();
    let _ = File::open(END);
    result
}

/// The steps of a child's operation, in order.
pub(crate) fn record(child: &dyn Fn(&mut Command)) -> Vec<Step> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let status = strace(child, &["-o", log.path().to_str().unwrap(), "-e", &format!("trace={CALLS}")]);
    assert!(status.success(), "the operation succeeds when nothing kills it: {status}");
    let text = std::fs::read_to_string(log.path()).unwrap();
    let steps = parse(&text);
    assert!(!steps.is_empty(), "no step was recorded:\n{text}");
    sample(steps)
}

/// Runs the child, killed at a step. Whether it was; or it failed, because a program that it runs was killed there.
pub(crate) fn kill_at(step: &Step, child: &dyn Fn(&mut Command)) -> bool {
    let inject = format!("inject={}:signal=SIGKILL:when={}", step.call, step.number);
    let status = strace(child, &["-o", "/dev/null", "-e", &format!("trace={}", step.call), "-e", &inject]);
    assert!(matches!(status.signal(), None | Some(9)), "{step:?}: {status}");
    !status.success()
}

/// A copy of a prepared directory, holes kept.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Not with `--seccomp-bpf`: with it `when=` counts wrong.
fn strace(child: &dyn Fn(&mut Command), args: &[&str]) -> ExitStatus {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]).args(args).arg(own_binary());
    command.args(["crash::step_child", "--exact"]).stdout(Stdio::null()).stderr(Stdio::null());
    child(&mut command);
    command.status().expect("`strace` is installed (the script `x` does it)")
}

fn own_binary() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn parse(log: &str) -> Vec<Step> {
    let calls: Vec<(&str, &str)> = log
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(thread, call)| (thread, call.trim_start()))
        .filter(|(_, call)| call.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let worker = calls.iter().find(|(_, call)| call.contains(BEGIN)).expect("the operation began").0;
    let mut counts = std::collections::BTreeMap::new();
    let (mut steps, mut inside) = (Vec::new(), false);
    for (_, line) in calls.iter().filter(|(thread, _)| *thread == worker) {
        let Some((call, _)) = line.split_once('(') else { continue };
        let number = counts.entry(call).or_insert(0);
        *number += 1;
        let looks = ONLY_LOOKS.contains(&call) || call == "openat" && !line.contains("O_CREAT");
        if line.contains(BEGIN) || line.contains(END) {
            inside = line.contains(BEGIN);
        } else if inside && !looks {
            steps.push(Step { call: call.to_owned(), number: *number, line: (*line).to_owned() });
        }
    }
    steps
}

/// All steps but the middle of long rows of the same call.
fn sample(steps: Vec<Step>) -> Vec<Step> {
    let mut kept: Vec<Step> = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let row = steps[..n].iter().rev().take_while(|before| before.call == step.call).count();
        let last = steps.get(n + 1).is_none_or(|next| next.call != step.call);
        if row < EQUAL_STEPS_MAX || last {
            kept.push(step.clone());
        }
    }
    kept
}

/// So that a failure says what was there.
pub(crate) fn tree(dir: &Path) -> String {
    let inside = |part: &str| names(&dir.join(part)).join(" ");
    ["", "locks", "records", "pins", "leases"].map(|part| format!("{part}: {}", inside(part))).join("\n")
}
