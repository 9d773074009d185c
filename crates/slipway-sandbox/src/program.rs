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
/// A kernel, unpacked.
const BINARY_BYTES_MAX: u64 = 512 << 20;
const BINARY_TIME_MAX: Duration = Duration::from_secs(120);

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
    #[error("`{program}` did not end within {waited_s} s")]
    TimedOut { program: String, waited_s: u64 },
}

/// Runs `command` with `input` on its standard input; answers its standard output.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<String, ProgramError> {
    run_within(command, input, PROGRAM_TIME_MAX)
}

/// Like [`run`], for what takes longer.
pub(crate) fn run_within(command: &mut Command, input: &str, bound: Duration) -> Result<String, ProgramError> {
    let ended = run_to_end(command, input.as_bytes(), OUTPUT_BYTES_MAX, bound)?;
    Ok(String::from_utf8_lossy(&ended).into_owned())
}

/// Like [`run`], for a filter of large files.
pub(crate) fn run_binary(command: &mut Command, input: &[u8]) -> Result<Vec<u8>, ProgramError> {
    run_to_end(command, input, BINARY_BYTES_MAX, BINARY_TIME_MAX)
}

fn run_to_end(
    command: &mut Command,
    input: &[u8],
    output_bytes_max: u64,
    bound: Duration,
) -> Result<Vec<u8>, ProgramError> {
    let program = shown(command);
    let start = |source| ProgramError::Start { program: program.clone(), source };
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(start)?;
    let stdout = child.stdout.take().map(|pipe| std::thread::spawn(move || read_bounded(pipe, output_bytes_max)));
    let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || read_bounded(pipe, OUTPUT_BYTES_MAX)));
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends without reading says why on standard error.
        let _ = stdin.write_all(input);
    }
    if !ends_in_time(&child, bound) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(ProgramError::TimedOut { program, waited_s: bound.as_secs() });
    }
    let status = child.wait().map_err(start)?;
    let bytes = |thread: Option<std::thread::JoinHandle<Vec<u8>>>| {
        thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
    };
    let (stdout, stderr) = (bytes(stdout), bytes(stderr));
    let said = || String::from_utf8_lossy(&stderr).trim().to_owned();
    match status.success() {
        true => Ok(stdout),
        false => Err(ProgramError::Failed { program, status: status.to_string(), said: said() }),
    }
}

/// Whether a program of that name is in `PATH` or where system programs are.
pub(crate) fn find(name: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn ends_in_time(child: &Child, bound: Duration) -> bool {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else { return true };
    pidfd_open(pid, PidfdFlags::empty()).map_or(true, |fd| wait_fd(&fd, bound))
}

fn read_bounded(pipe: impl Read, bytes_max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = pipe.take(bytes_max).read_to_end(&mut bytes);
    bytes
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
