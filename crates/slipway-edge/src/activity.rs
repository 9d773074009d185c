//! What a client connection is doing, and since when: the facts for its timeouts.
//!
//! Reads and writes store a time in an atomic; one timer per connection looks at it now and then. That costs less
//! than a timer per request, and cuts a connection at most one look after its time.

use crate::limits::EdgeLimits;
use crate::meter::Counts;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Between two requests.
const IDLE: u8 = 0;
/// A head is being read, or the first one is awaited.
const HEAD: u8 = 1;
/// A request is in flight.
const BUSY: u8 = 2;

/// Times of one connection. All access is from one thread; atomics because hyper wants `Send`.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    phase: AtomicU8,
    phase_ms: AtomicU64,
    moved_ms: AtomicU64,
    counts: Arc<Counts>,
}

impl Activity {
    pub(crate) fn new(counts: Arc<Counts>) -> Self {
        counts.connection_accepted();
        let (phase_ms, moved_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { began: Instant::now(), phase: AtomicU8::new(HEAD), phase_ms, moved_ms, counts }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn moved(&self) {
        let now = self.now_ms();
        self.moved_ms.store(now, Relaxed);
        if self.phase.load(Relaxed) == IDLE {
            self.phase.store(HEAD, Relaxed);
            self.phase_ms.store(now, Relaxed);
        }
    }

    pub(crate) fn request_began(&self) {
        self.phase.store(BUSY, Relaxed);
        self.counts.request_began();
    }

    /// Whether there was a request yet.
    pub(crate) fn has_begun(&self) -> bool {
        self.phase.load(Relaxed) != HEAD || self.phase_ms.load(Relaxed) != 0
    }

    pub(crate) fn request_ended(&self) {
        if self.phase.swap(IDLE, Relaxed) == BUSY {
            self.counts.request_ended();
        }
        self.phase_ms.store(self.now_ms(), Relaxed);
    }

    /// Since the last byte to or from the client.
    pub(crate) fn still_for(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.moved_ms.load(Relaxed)))
    }

    /// Why the connection must be cut now, if it must.
    pub(crate) fn overdue(&self, limits: &EdgeLimits) -> Option<&'static str> {
        let in_phase = Duration::from_millis(self.now_ms().saturating_sub(self.phase_ms.load(Relaxed)));
        match self.phase.load(Relaxed) {
            HEAD => (in_phase >= limits.header_read_timeout).then_some("request head too slow"),
            IDLE => (in_phase.min(self.still_for()) >= limits.client_idle_timeout).then_some("idle"),
            _ => (self.still_for() >= limits.stall_timeout).then_some("stalled"),
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        if *self.phase.get_mut() == BUSY {
            self.counts.request_ended();
        }
        self.counts.connection_closed();
    }
}

/// A client's socket that notes when bytes move.
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: TokioIo<TcpStream>,
    activity: Arc<Activity>,
}

impl ClientIo {
    pub(crate) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream: TokioIo::new(stream), activity }
    }
}

impl Read for ClientIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        // The cursor does not tell what was put in; an end of stream counts as movement, once.
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.activity.moved();
        Poll::Ready(Ok(()))
    }
}

impl Write for ClientIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.activity.moved_ms.store(self.activity.now_ms(), Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.activity.moved_ms.store(self.activity.now_ms(), Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
