//! Programs of the host (git, npm, curl, mmdebstrap) run to their end: output as clean lines or captured within a
//! bound, the whole process group killed on time-out, on cancel and when the caller is dropped.

use crate::line::{LineSplitter, Tail};
use slipway_types::agent::Stream;
use std::future::Future;
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// One read from a pipe.
const CHUNK_BYTES: usize = 16 * 1024;

/// Takes the lines of an output. Slow takers slow the program.
pub(crate) trait LineSink: Sync {
    fn line(&self, stream: Stream, line: String) -> impl Future<Output = ()> + Send;
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("the program `{program}` is not installed")]
    Missing { program: String },
    #[error("cannot run `{program}`")]
    Io {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("`{program}` did not end within {} s", after.as_secs())]
    TimedOut { program: String, after: Duration },
    #[error("`{program}` was canceled")]
    Canceled { program: String },
    #[error("`{program}` failed{}", status_text(*code))]
    Failed { program: String, code: Option<i32>, tail: Vec<String> },
    #[error("`{program}` wrote more than {bytes_max} bytes")]
    TooMuch { program: String, bytes_max: usize },
}

impl ProgramError {
    /// The last lines that the program wrote.
    pub(crate) fn tail(&self) -> &[String] {
        match self {
            ProgramError::Failed { tail, .. } => tail,
            _ => &[],
        }
    }
}

fn status_text(code: Option<i32>) -> String {
    code.map_or_else(|| " by a signal".to_owned(), |code| format!(" with code {code}"))
}

/// What bounds a run.
#[derive(Debug, Clone)]
pub(crate) struct RunBounds<'c> {
    pub(crate) timeout: Duration,
    pub(crate) cancel: &'c CancellationToken,
}

/// Kills the process group of a child that was not waited for.
struct Group {
    child: Child,
    pid: Option<rustix::process::Pid>,
}

impl Group {
    fn spawn(command: &mut Command, program: &str) -> Result<Self, ProgramError> {
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ProgramError::Missing { program: program.to_owned() },
            _ => ProgramError::Io { program: program.to_owned(), source },
        })?;
        let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
        Ok(Self { child, pid })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once the leader has been waited for, its number may belong to another process.
        if self.child.id().is_some()
            && let Some(pid) = self.pid
        {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Runs the command; every line of both streams goes to `sink`.
pub(crate) async fn run_logged(
    mut command: Command,
    bounds: RunBounds<'_>,
    sink: &impl LineSink,
) -> Result<(), ProgramError> {
    let program = name_of(&command);
    let mut group = Group::spawn(&mut command, &program)?;
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let tail = std::sync::Mutex::new(Tail::default());
    let work = async {
        tokio::join!(pump(stdout, Stream::Stdout, sink, &tail), pump(stderr, Stream::Stderr, sink, &tail));
        group.child.wait().await
    };
    let status = bounded(work, &program, &bounds).await?;
    if status.success() {
        return Ok(());
    }
    let tail = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner).to_lines();
    Err(ProgramError::Failed { program, code: status.code(), tail })
}

/// Runs the command and returns its standard output, of at most `bytes_max` bytes.
pub(crate) async fn run_captured(
    mut command: Command,
    bounds: RunBounds<'_>,
    bytes_max: usize,
) -> Result<Vec<u8>, ProgramError> {
    let program = name_of(&command);
    let mut group = Group::spawn(&mut command, &program)?;
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let tail = std::sync::Mutex::new(Tail::default());
    let mut captured = Vec::new();
    let work = async {
        let capture = async {
            if let Some(stdout) = stdout {
                stdout.take(bytes_max as u64 + 1).read_to_end(&mut captured).await?;
            }
            Ok::<_, io::Error>(())
        };
        let (read, ()) = tokio::join!(capture, pump(stderr, Stream::Stderr, &Nowhere, &tail));
        read?;
        group.child.wait().await
    };
    let status = bounded(work, &program, &bounds).await?;
    if captured.len() > bytes_max {
        return Err(ProgramError::TooMuch { program, bytes_max });
    }
    if status.success() {
        return Ok(captured);
    }
    let tail = tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner).to_lines();
    Err(ProgramError::Failed { program, code: status.code(), tail })
}

struct Nowhere;

impl LineSink for Nowhere {
    async fn line(&self, _: Stream, _: String) {}
}

fn name_of(command: &Command) -> String {
    command.as_std().get_program().to_string_lossy().into_owned()
}

async fn bounded<T>(
    work: impl Future<Output = io::Result<T>>,
    program: &str,
    bounds: &RunBounds<'_>,
) -> Result<T, ProgramError> {
    tokio::select! {
        () = bounds.cancel.cancelled() => Err(ProgramError::Canceled { program: program.to_owned() }),
        done = tokio::time::timeout(bounds.timeout, work) => match done {
            Ok(result) => result.map_err(|source| ProgramError::Io { program: program.to_owned(), source }),
            Err(_) => Err(ProgramError::TimedOut { program: program.to_owned(), after: bounds.timeout }),
        },
    }
}

async fn pump(
    pipe: Option<impl AsyncRead + Unpin>,
    stream: Stream,
    sink: &impl LineSink,
    tail: &std::sync::Mutex<Tail>,
) {
    let Some(mut pipe) = pipe else { return };
    let mut splitter = LineSplitter::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        // A broken pipe ends the output like its end does; the exit status tells the rest.
        let count = pipe.read(&mut chunk).await.unwrap_or(0);
        let lines = if count == 0 { splitter.finish().into_iter().collect() } else { splitter.push(&chunk[..count]) };
        for line in lines {
            tail.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line.clone());
            sink.line(stream, line).await;
        }
        if count == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script);
        command
    }

    #[tokio::test]
    async fn a_failure_carries_the_last_lines() {
        let cancel = CancellationToken::new();
        let bounds = RunBounds { timeout: Duration::from_secs(120), cancel: &cancel };
        let error = run_logged(shell("echo out; echo err >&2; exit 7"), bounds, &Nowhere).await.unwrap_err();
        let ProgramError::Failed { code, tail, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*code, Some(7));
        assert!(tail.contains(&"out".to_owned()) && tail.contains(&"err".to_owned()), "{tail:?}");
    }

    /// Runs a shell whose child outlives it, canceled or to its time-out: the child's number, if it came to have one.
    async fn child_of_stopped(canceled: bool, timeout: Duration) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let child = || std::fs::read_to_string(&pid_file).ok().filter(|pid| pid.ends_with('\n'));
        let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
        let cancel = CancellationToken::new();
        let run = run_logged(shell(&script), RunBounds { timeout, cancel: &cancel }, &Nowhere);
        let stop = async {
            while canceled && child().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if canceled {
                cancel.cancel();
            }
        };
        let (error, ()) = tokio::join!(run, stop);
        assert_eq!(canceled, matches!(error.unwrap_err(), ProgramError::Canceled { .. }));
        child()
    }

    #[tokio::test]
    async fn a_time_out_and_a_cancel_kill_the_whole_group() {
        for canceled in [true, false] {
            let mut timeout = if canceled { Duration::from_secs(300) } else { Duration::from_millis(300) };
            let pid = loop {
                match child_of_stopped(canceled, timeout).await {
                    Some(pid) => break pid,
                    // A busy machine did not let the shell come so far.
                    None => timeout *= 2,
                }
            };
            let gone = || {
                let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
                stat.is_empty() || stat.contains(") Z ")
            };
            let deadline = std::time::Instant::now() + Duration::from_secs(120);
            while !gone() {
                assert!(std::time::Instant::now() < deadline, "the child of the shell still runs");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }

    #[tokio::test]
    async fn captured_output_is_bounded() {
        let cancel = CancellationToken::new();
        let bounds = RunBounds { timeout: Duration::from_secs(120), cancel: &cancel };
        assert_eq!(run_captured(shell("printf hello"), bounds.clone(), 10).await.unwrap(), b"hello");
        let much = run_captured(shell("head -c 100000 /dev/zero"), bounds, 10).await.unwrap_err();
        assert!(matches!(much, ProgramError::TooMuch { .. } | ProgramError::Failed { .. }), "{much:?}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let cancel = CancellationToken::new();
        let bounds = RunBounds { timeout: Duration::from_secs(1), cancel: &cancel };
        let error = run_captured(Command::new("no-such-program"), bounds, 10).await.unwrap_err();
        assert_eq!(error.to_string(), "the program `no-such-program` is not installed");
    }
}
