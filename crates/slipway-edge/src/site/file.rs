//! Reading a file while it is sent, in bounded pieces and never on the thread that serves.
//!
//! The permit of the request goes wherever the open file goes: once a site is reported as drained, nothing of it is
//! open and it can be unmounted.

use crate::backend::Permit;
use crate::limits::{SITE_CHUNK_BYTES_MAX, SITE_MEMORY_FILE_BYTES_MAX};
use bytes::Bytes;
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::task::JoinHandle;

/// Opens a file that is a plain one, and is itself at that place: no link is followed.
pub(super) fn open_plain(path: &Path) -> io::Result<File> {
    // Without waiting: it could be a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    Ok(file)
}

/// A form of a file, ready to be sent.
#[derive(Debug)]
pub(super) enum Opened {
    /// Small: read as a whole.
    Whole(Bytes, Permit),
    Large(OpenFile),
}

#[derive(Debug)]
pub(crate) struct OpenFile {
    file: File,
    /// Dropped after the file, which the order of these two lines says.
    _permit: Permit,
}

/// Opens `path`, which must have exactly so many bytes.
pub(super) async fn open(path: PathBuf, bytes: u64, permit: Permit) -> io::Result<Opened> {
    let opening = tokio::task::spawn_blocking(move || {
        let file = open_plain(&path)?;
        let found = file.metadata()?.len();
        if found != bytes {
            let message = format!("it has {found} bytes, the manifest says {bytes}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if bytes > SITE_MEMORY_FILE_BYTES_MAX {
            return Ok(Opened::Large(OpenFile { file, _permit: permit }));
        }
        let whole = read_at(&file, 0, bytes)?;
        drop(file);
        Ok(Opened::Whole(whole, permit))
    });
    opening.await.map_err(io::Error::other)?
}

fn read_at(file: &File, at: u64, bytes: u64) -> io::Result<Bytes> {
    let mut buffer = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut buffer, at)?;
    Ok(Bytes::from(buffer))
}

/// A part of a file as the body of an answer: one piece in memory at a time.
#[derive(Debug)]
pub(crate) struct FileBody {
    state: State,
    at: u64,
    left: u64,
}

#[derive(Debug)]
enum State {
    Open(OpenFile),
    Reading(JoinHandle<(OpenFile, io::Result<Bytes>)>),
    Ended,
}

impl FileBody {
    pub(super) fn new(file: OpenFile, at: u64, left: u64) -> Self {
        Self { state: State::Open(file), at, left }
    }

    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The next piece; None at the end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(None),
                State::Open(_) if self.left == 0 => return Poll::Ready(None),
                State::Open(open) => {
                    let (at, bytes) = (self.at, self.left.min(SITE_CHUNK_BYTES_MAX));
                    self.state = State::Reading(tokio::task::spawn_blocking(move || {
                        let read = read_at(&open.file, at, bytes);
                        (open, read)
                    }));
                }
                State::Reading(mut reading) => {
                    let Poll::Ready(read) = Pin::new(&mut reading).poll(cx) else {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    };
                    let (open, read) = read.map_err(io::Error::other)?;
                    let bytes = read?;
                    self.at += bytes.len() as u64;
                    self.left -= bytes.len() as u64;
                    // Also after the last piece: the request is in flight until it is sent.
                    self.state = State::Open(open);
                    return Poll::Ready(Some(Ok(bytes)));
                }
            }
        }
    }
}
