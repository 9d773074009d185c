//! A stream of lines, such as a deployment's events. A line has a bound; the stream as a whole has none.

use super::{ClientError, Connection};
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

/// A log line is at most 16 KB before JSON escapes it; a deployment with its diagnosis is far below 1 MB.
const LINE_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    _connection: Connection,
    buffer: BytesMut,
    /// How much of the buffer is known to have no line end.
    searched: usize,
    url: String,
}

impl Lines {
    pub(super) fn new(body: Incoming, connection: Connection, url: &str) -> Self {
        Self { body, _connection: connection, buffer: BytesMut::new(), searched: 0, url: url.to_owned() }
    }

    /// The next line without its end; None when the server ended the stream. Empty lines keep a connection alive and
    /// are skipped. May be dropped and called again without losing anything.
    ///
    /// # Errors
    /// When the connection breaks or a line is too long.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            while let Some(line) = self.take_line() {
                if !line.is_empty() {
                    return Ok(Some(line));
                }
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(ClientError::TooLong { bytes_max: LINE_BYTES_MAX });
            }
            match self.body.frame().await {
                None => return Ok(self.take_rest()),
                Some(Err(source)) => return Err(ClientError::Broken { url: self.url.clone(), source }),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
            }
        }
    }

    fn take_line(&mut self) -> Option<String> {
        let Some(found) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + found);
        self.buffer.advance(1);
        self.searched = 0;
        Some(text(&line))
    }

    fn take_rest(&mut self) -> Option<String> {
        let rest = self.buffer.split();
        self.searched = 0;
        (!rest.is_empty()).then(|| text(&rest))
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line).trim_end_matches('\r').to_owned()
}
