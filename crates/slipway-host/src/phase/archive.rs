//! An archive of what a command wrote, asked of the machine that wrote it: the host does not mount that.
//!
//! What comes is a hostile stream until it was read to its end within its bounds. Back-pressure is that of any task's output: the
//! guest has credit for a megabyte, and gets no more while nobody reads.

use super::{PhaseContext, PhaseEnd};
use crate::tree::{APP_GID, APP_UID};
use slipway_sandbox::{Events, Sandbox, SandboxEvent};
use slipway_tree::archive::{ArchiveError, Bounds, read};
use slipway_types::agent::{ArchiveOf, ArchiveReport, ArchiveSpec, Stream};
use std::io::{self, Read};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The archive's number among the tasks of its sandbox.
const ARCHIVE: u32 = 2;
/// Chunks between the sandbox and whoever unpacks.
const CHUNKS_MAX: usize = 16;
/// Of the guest's report: twenty notes with paths.
const REPORT_BYTES_MAX: usize = 128 * 1024;
const NOTES_MAX: usize = 32;
/// Of one note or message of the guest's.
const NOTE_CHARS_MAX: usize = 1000;

/// What is asked, and within which bounds.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) of: ArchiveOf,
    pub(super) bounds: Bounds,
    pub(super) within: Duration,
}

impl PhaseContext<'_> {
    /// Reads the archive to its end; `take` runs beside, and its error is the inner one. The outer one: there is no archive, in the
    /// guest's words or because of what it did.
    pub(super) async fn ask<T: Send + 'static, E: Send + 'static>(
        &self,
        sandbox: &Sandbox,
        events: &mut Events,
        asked: Asked,
        take: impl FnOnce(Incoming) -> Result<T, E> + Send + 'static,
    ) -> Result<(Result<T, E>, ArchiveReport), PhaseEnd> {
        let archive = ArchiveSpec { task: ARCHIVE, uid: APP_UID, gid: APP_GID, of: asked.of };
        sandbox.start_archive(archive).await.map_err(|error| failed(error.to_string()))?;
        receive(events, &self.cancel, asked.bounds, asked.within, take).await
    }
}

/// What a guest says, one after the other.
trait Said: Send {
    fn next(&mut self) -> impl Future<Output = Option<SandboxEvent>> + Send;
}

impl Said for Events {
    fn next(&mut self) -> impl Future<Output = Option<SandboxEvent>> + Send {
        Events::next(self)
    }
}

async fn receive<T: Send + 'static, E: Send + 'static>(
    said: &mut impl Said,
    cancel: &CancellationToken,
    bounds: Bounds,
    within: Duration,
    take: impl FnOnce(Incoming) -> Result<T, E> + Send + 'static,
) -> Result<(Result<T, E>, ArchiveReport), PhaseEnd> {
    let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
    let incoming = Incoming { chunks: Chunks { receiver, chunk: Vec::new(), at: 0 }, bounds };
    let taking = tokio::task::spawn_blocking(move || take(incoming));
    let followed = tokio::select! {
        () = cancel.cancelled() => Err(PhaseEnd::Canceled),
        followed = tokio::time::timeout(within, follow(said, chunks)) => {
            followed.unwrap_or_else(|_| Err(failed(format!("it was not done within {} s", within.as_secs()))))
        }
    };
    // Ends soon: what it reads from is at its end. It may hold a mount, and so is waited for.
    let taken = match taking.await {
        Ok(taken) => taken,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    Ok((taken, followed?))
}

/// Passes output on until the archive's task has ended, or nobody wants more.
async fn follow(said: &mut impl Said, chunks: mpsc::Sender<Vec<u8>>) -> Result<ArchiveReport, PhaseEnd> {
    let mut report = Vec::new();
    while let Some(event) = said.next().await {
        match event {
            SandboxEvent::Output { task: ARCHIVE, stream: Stream::Stdout, bytes } => match chunks.send(bytes).await {
                Ok(()) => {}
                // Refused by who reads, who says why.
                Err(_) => return Ok(ArchiveReport::default()),
            },
            SandboxEvent::Output { task: ARCHIVE, stream: Stream::Stderr, bytes } => {
                if report.len() + bytes.len() > REPORT_BYTES_MAX {
                    return Err(failed("its report is too long".to_owned()));
                }
                report.extend(bytes);
            }
            SandboxEvent::Exited { task: ARCHIVE, facts, .. } => {
                let report = parse(&report).ok_or_else(|| failed(format!("it ended ({facts:?}) without a report")))?;
                return match facts.code == Some(0) || report.trouble.is_some() {
                    true => Ok(report),
                    false => Err(failed("it failed without a reason".to_owned())),
                };
            }
            SandboxEvent::StartFailed { message, .. } | SandboxEvent::Refused { message } => {
                return Err(failed(plain(&message)));
            }
            SandboxEvent::Gone { reason } => return Err(failed(format!("the sandbox ended: {reason}"))),
            _ => {}
        }
    }
    Err(failed("the sandbox ended without a word".to_owned()))
}

/// The guest's words, made fit for a log.
fn parse(report: &[u8]) -> Option<ArchiveReport> {
    let mut report: ArchiveReport = serde_json::from_slice(report).ok()?;
    report.notes.truncate(NOTES_MAX);
    report.notes.iter_mut().for_each(|note| *note = plain(note));
    if let Some(trouble) = &mut report.trouble {
        trouble.message = plain(&trouble.message);
    }
    Some(report)
}

fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NOTE_CHARS_MAX).collect()
}

fn failed(why: String) -> PhaseEnd {
    PhaseEnd::host_error("sandbox-failed", format!("cannot read what the command wrote: {why}"))
}

/// An archive as it comes.
#[derive(Debug)]
pub(super) struct Incoming {
    chunks: Chunks,
    bounds: Bounds,
}

impl Incoming {
    pub(super) fn read<E: From<ArchiveError>>(
        self,
        take: impl FnMut(&str, u64, &mut dyn Read) -> Result<(), E>,
    ) -> Result<(), E> {
        read(self.chunks, self.bounds, take)
    }
}

#[derive(Debug)]
struct Chunks {
    receiver: mpsc::Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.receiver.blocking_recv() {
                Some(chunk) => (self.chunk, self.at) = (chunk, 0),
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len() - self.at);
        buffer[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "archive/tests.rs"]
mod tests;
