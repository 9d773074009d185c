//! Streams of newline-delimited JSON: what is in a log first, then what comes.
//!
//! A stream reads the log's files at its client's pace; nothing is queued for it but one chunk. A client that reads
//! nothing for a while is let go. Lines that were dropped from a full log are told of, not hidden.

use crate::log::segment::{Cursor, SegmentLog};
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::header;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Chunks between the file and the client: one is being sent, one is ready.
const CHUNKS_AHEAD: usize = 2;
/// A client that takes no chunk for this long has gone.
const CLIENT_IDLE_MAX: Duration = Duration::from_secs(120);
/// How often a follower looks without having been woken. The doorbell is reliable; this covers only a log's removal.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// How long the log's own last line is waited for once it is known that there is one: the database knows of an end before the log
/// does. It never comes when the server died in between.
const LAST_LINE_WAIT: Duration = Duration::from_secs(2);

/// What to do with one line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Send,
    Leave,
    /// It is the last one.
    SendAndEnd,
}

/// Whether a stream goes on after what is in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    NotYet,
    /// What the log is about is gone.
    Now,
    /// With this line, should the log not say so in a moment.
    With(String),
}

/// What a kind of stream decides.
pub(crate) trait Selection: Send + Sync + 'static {
    fn verdict(&self, line: &[u8]) -> Verdict;
    /// Stands for lines that are gone.
    fn gap(&self) -> String;
    /// Asked before the lines that there are are sent: whether to end after them although the log does not say so.
    fn end(&self) -> impl Future<Output = End> + Send;
}

/// Answers with the lines of `log` that `selection` takes.
pub(crate) fn lines<S: Selection>(
    log: Arc<SegmentLog>,
    selection: S,
    follow: bool,
    shutdown: CancellationToken,
) -> Response {
    respond(shutdown, move |sender| async move { send_lines(&log, &selection, follow, LAST_LINE_WAIT, &sender).await })
}

/// Answers with what `write` sends, until it ends, its reader has gone or the server stops.
pub(super) fn respond<F>(shutdown: CancellationToken, write: impl FnOnce(Chunks) -> F) -> Response
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
    let writing = write(sender.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = sender.closed() => {}
            outcome = writing => {
                if let Err(error) = outcome {
                    tracing::warn!(%error, "a log stream ended early");
                    // Breaks the answer off, so that the client does not take it for the end.
                    let _ = sender.try_send(Err(error));
                }
            }
        }
    });
    let stream = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response()
}

pub(super) type Chunks = mpsc::Sender<io::Result<Bytes>>;

async fn send_lines<S: Selection>(
    log: &SegmentLog,
    selection: &S,
    follow: bool,
    last_line_wait: Duration,
    to: &Chunks,
) -> io::Result<()> {
    let mut doorbell = log.doorbell();
    let mut cursor = Cursor::default();
    let mut ends_at = None;
    loop {
        drop(doorbell.borrow_and_update());
        // Asked before the last read: what is gone has written its last line.
        let end = selection.end().await;
        loop {
            let chunk = log.read(cursor)?;
            cursor = chunk.next;
            if chunk.bytes.is_empty() {
                break;
            }
            let (selected, ended) = select(selection, &chunk.bytes, chunk.gap);
            if !selected.is_empty() {
                send(to, selected).await?;
            }
            if ended {
                return Ok(());
            }
        }
        let mut look_at = Instant::now() + LOOK_INTERVAL;
        match end {
            End::NotYet => {}
            End::Now => return Ok(()),
            End::With(line) => {
                look_at = *ends_at.get_or_insert(Instant::now() + last_line_wait);
                if Instant::now() >= look_at {
                    return send(to, format!("{line}\n").into_bytes()).await;
                }
            }
        }
        if !follow {
            return Ok(());
        }
        // An error would mean that the log is closed, but `log` is held here.
        let _ = tokio::time::timeout_at(look_at, doorbell.changed()).await;
    }
}

fn select<S: Selection>(selection: &S, bytes: &[u8], gap: bool) -> (Vec<u8>, bool) {
    let mut selected = Vec::new();
    if gap {
        selected.extend(selection.gap().into_bytes());
        selected.push(b'\n');
    }
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        match selection.verdict(line) {
            Verdict::Leave => {}
            Verdict::Send => selected.extend_from_slice(line),
            Verdict::SendAndEnd => {
                selected.extend_from_slice(line);
                return (selected, true);
            }
        }
    }
    (selected, false)
}

pub(super) async fn send(to: &Chunks, bytes: Vec<u8>) -> io::Result<()> {
    match tokio::time::timeout(CLIENT_IDLE_MAX, to.send(Ok(bytes.into()))).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing any more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::segment::Shape;

    /// The database says from the start that it is over; the log says so by a line.
    struct Over;

    impl Selection for Over {
        fn verdict(&self, line: &[u8]) -> Verdict {
            if line == b"the end\n" { Verdict::SendAndEnd } else { Verdict::Send }
        }

        fn gap(&self) -> String {
            "gap".to_owned()
        }

        async fn end(&self) -> End {
            End::With("an end".to_owned())
        }
    }

    async fn stream(later: &[&str], last_line_wait: Duration) -> String {
        let dir = tempfile::tempdir().unwrap();
        let shape = Shape { segment_bytes: 1000, bytes_max: 3000, keep_heads: true };
        let log = Arc::new(SegmentLog::open(dir.path().to_owned(), "x", shape, Arc::default()).unwrap());
        log.append("first").unwrap();
        let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
        let read = Arc::clone(&log);
        let sending = tokio::spawn(async move { send_lines(&read, &Over, true, last_line_wait, &sender).await });
        let mut text = String::new();
        let mut later = later.iter();
        while let Some(chunk) = receiver.recv().await {
            text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
            // The reader has found no end; the writer goes on now.
            if let Some(line) = later.next() {
                log.append(line).unwrap();
                log.ring();
            }
        }
        sending.await.unwrap().unwrap();
        text
    }

    #[tokio::test]
    async fn the_last_lines_are_waited_for_and_stood_in_for_when_they_never_come() {
        let longer_than_any_writer = Duration::from_secs(60);
        let all = stream(&["second", "the end"], longer_than_any_writer).await;
        assert_eq!(all, "first\nsecond\nthe end\n");
        assert_eq!(stream(&["second"], LAST_LINE_WAIT).await, "first\nsecond\nan end\n");
    }
}
