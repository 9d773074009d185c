//! The connection to the host: bounded lines in, buffered lines out, never blocking.

use rustix::io::Errno;
use slipway_types::agent::LINE_BYTES_MAX;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes waiting to be written. Above it no more is queued and no command is read, so that a host that does not read can't
/// make the agent grow.
const BACKLOG_BYTES_MAX: usize = 128 * 1024;
const READ_BYTES: usize = 64 * 1024;

pub(crate) struct Connection {
    /// Of a unix socket or of vsock.
    stream: OwnedFd,
    input: Vec<u8>,
    /// In the rest of a line that was too long.
    skipping: bool,
    output: Vec<u8>,
    written: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Text(Vec<u8>),
    TooLong,
}

/// Lines that came, and whether more can come.
pub(crate) struct Received {
    pub(crate) lines: Vec<Line>,
    pub(crate) state: ReadState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadState {
    More,
    Empty,
    Closed,
}

impl Connection {
    pub(crate) fn new(stream: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&stream, true)?;
        Ok(Self { stream, input: Vec::new(), skipping: false, output: Vec::new(), written: 0 })
    }

    /// One read, and the lines that it completed.
    pub(crate) fn receive(&mut self) -> Received {
        let mut chunk = [0; READ_BYTES];
        let state = match rustix::io::read(&self.stream, &mut chunk) {
            Ok(0) => ReadState::Closed,
            Ok(length) => {
                self.input.extend_from_slice(&chunk[..length]);
                ReadState::More
            }
            Err(Errno::AGAIN) => ReadState::Empty,
            Err(Errno::INTR) => ReadState::More,
            Err(_) => ReadState::Closed,
        };
        Received { lines: take_lines(&mut self.input, &mut self.skipping), state }
    }

    pub(crate) fn queue(&mut self, line: &[u8]) {
        self.output.extend_from_slice(line);
    }

    pub(crate) fn has_room(&self) -> bool {
        self.backlog() < BACKLOG_BYTES_MAX
    }

    pub(crate) fn backlog(&self) -> usize {
        self.output.len() - self.written
    }

    /// Writes what the socket takes. An error means that the connection is gone.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.backlog() > 0 {
            match rustix::io::write(&self.stream, &self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => self.written += length,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Takes the whole lines out of `input`; a line that grows too long is dropped up to its end and reported once.
pub(crate) fn take_lines(input: &mut Vec<u8>, skipping: &mut bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut start = 0;
    while let Some(length) = input[start..].iter().position(|byte| *byte == b'\n') {
        let line = &input[start..start + length];
        start += length + 1;
        if std::mem::take(skipping) || line.is_empty() {
            continue;
        }
        lines.push(if length < LINE_BYTES_MAX { Line::Text(line.to_vec()) } else { Line::TooLong });
    }
    input.drain(..start);
    if *skipping {
        input.clear();
    } else if input.len() >= LINE_BYTES_MAX {
        input.clear();
        *skipping = true;
        lines.push(Line::TooLong);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_survive_any_split() {
        let long = "x".repeat(LINE_BYTES_MAX);
        let text = format!("one\n\ntwo\n{long}\nthree\n");
        for step in [4093, READ_BYTES, LINE_BYTES_MAX, text.len()] {
            let (mut input, mut skipping, mut lines) = (Vec::new(), false, Vec::new());
            for chunk in text.as_bytes().chunks(step) {
                input.extend_from_slice(chunk);
                lines.extend(take_lines(&mut input, &mut skipping));
            }
            let text = |line: &str| Line::Text(line.as_bytes().to_vec());
            assert_eq!(lines, [text("one"), text("two"), Line::TooLong, text("three")], "steps of {step}");
        }
    }
}
