//! Runs a program of the system to its end, within a bound, and keeps what it says.

use crate::process::wait_fd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// `ip`, `nft` and the like are done in milliseconds; a loaded machine gets a thousand times that.
const PROGRAM_TIME_MAX: Duration = Duration::from_secs(20);
/// Of standard output and of standard error each.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("cannot run `{program}`")]
    Start {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{program}` failed ({status}): {said}")]
    Failed { program: String, status: String, said: String },
    #[error("`{program}` did not end within {} s", PROGRAM_TIME_MAX.as_secs())]
    TimedOut { program: String },
}

/// Runs `command` with `input` on its standard input; answers its standard output.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<String, ProgramError> {
    let program = shown(command);
    let start = |source| ProgramError::Start { program: program.clone(), source };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(start)?;
    let stdout = child.stdout.take().map(|pipe| std::thread::spawn(move || read_bounded(pipe)));
    let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || read_bounded(pipe)));
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why on standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    if !ends_in_time(&child) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(ProgramError::TimedOut { program });
    }
    let status = child.wait().map_err(start)?;
    let text = |thread: Option<std::thread::JoinHandle<String>>| {
        thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    match status.success() {
        true => Ok(stdout),
        false => Err(ProgramError::Failed { program, status: status.to_string(), said: stderr.trim().to_owned() }),
    }
}

/// Whether a program of that name is in `PATH` or where system programs are.
pub(crate) fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn ends_in_time(child: &Child) -> bool {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return true };
    pidfd_open(pid, PidfdFlags::empty()).map_or(true, |fd| wait_fd(&fd, PROGRAM_TIME_MAX))
}

fn read_bounded(pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    let _ = pipe.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
