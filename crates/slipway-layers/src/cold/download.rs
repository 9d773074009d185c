//! A layer's copy into a file: ranges in parallel, each frame checked before it is written.
//!
//! Memory: for each range in flight (as many as the concurrency bound says, over all fetches) one frame, what it unpacks to, and
//! what the network brought last: about 9 MiB.

use crate::cold::format::{Entry, HEADER_BYTES};
use crate::cold::frame::{self, FrameError};
use crate::cold::remote::{Found, Remote};
use crate::cold::trouble::{ColdTrouble, blocking};
use crate::error::LayerError;
use bytes::BytesMut;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// A range is at least so long, unless it is the last: few requests, and still many at once for a layer of some 100 MB.
const RANGE_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// Frames that follow each other, fetched with one request.
struct Span {
    start: u64,
    bytes: u64,
    entries: Vec<Entry>,
}

/// What is being written, and how it comes.
struct Image<'a> {
    file: Arc<File>,
    path: &'a Path,
    received: AtomicU64,
    /// Ranges that are asked for now: without one, nothing can come.
    asked: AtomicUsize,
}

/// Counts as long as it lives.
struct Asked<'a>(&'a AtomicUsize);

impl<'a> Asked<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Makes `path`, which must not be there, the image that was found. Bytes that were transferred.
pub(crate) async fn download(remote: &Remote, found: &Found, path: &Path) -> Result<u64, ColdTrouble> {
    let (made, bytes) = (path.to_path_buf(), found.index.image_bytes);
    let file = blocking(move || create(&made, bytes)).await?;
    let image = Image { file: Arc::new(file), path, received: AtomicU64::new(0), asked: AtomicUsize::new(0) };
    let work = stream::iter(ranges(&found.index.entries))
        .map(|range| fetch_range(remote, found, range, &image))
        .buffer_unordered(remote.concurrency)
        .try_collect::<()>();
    tokio::select! {
        // First, so that the watch begins with what is asked for.
        biased;
        done = work => done?,
        slow = watch_progress(remote, &image) => return Err(slow),
    }
    Ok(image.received.load(Ordering::Relaxed))
}

fn create(path: &Path, bytes: u64) -> Result<File, LayerError> {
    let made = File::options().write(true).create_new(true).open(path);
    let file = made.map_err(|e| LayerError::io("create the image", path, e))?;
    file.set_len(bytes).map_err(|e| LayerError::io("size the image", path, e))?;
    Ok(file)
}

fn ranges(entries: &[Entry]) -> Vec<Span> {
    let mut ranges: Vec<Span> = Vec::new();
    let mut at = HEADER_BYTES;
    for entry in entries {
        let bytes = u64::from(entry.frame_bytes);
        match ranges.last_mut() {
            Some(range) if range.bytes < RANGE_BYTES_MIN => {
                range.bytes += bytes;
                range.entries.push(*entry);
            }
            _ => ranges.push(Span { start: at, bytes, entries: vec![*entry] }),
        }
        at += bytes;
    }
    ranges
}

/// What is damaged on the way is asked for a second time; what is damaged in the store stays so.
async fn fetch_range(remote: &Remote, found: &Found, range: Span, image: &Image<'_>) -> Result<(), ColdTrouble> {
    // Never closed.
    let _permit = remote.downloads.acquire().await;
    let _asked = Asked::new(&image.asked);
    match try_range(remote, found, &range, image).await {
        Err(ColdTrouble::DamagedFrame | ColdTrouble::Truncated) => try_range(remote, found, &range, image).await,
        outcome => outcome,
    }
}

async fn try_range(remote: &Remote, found: &Found, range: &Span, image: &Image<'_>) -> Result<(), ColdTrouble> {
    let mut body = remote.open(found, range.start..range.start + range.bytes).await?;
    let mut buffer = BytesMut::new();
    let mut left = range.bytes;
    for entry in range.entries.iter().copied() {
        let frame_bytes = entry.frame_bytes as usize;
        while buffer.len() < frame_bytes {
            let piece = remote.next(&mut body).await?.ok_or(ColdTrouble::Truncated)?;
            left = left.checked_sub(piece.len() as u64).ok_or(ColdTrouble::Truncated)?;
            image.received.fetch_add(piece.len() as u64, Ordering::Relaxed);
            remote.rate.take(piece.len()).await;
            buffer.extend_from_slice(&piece);
        }
        let (frame, file) = (buffer.split_to(frame_bytes), image.file.clone());
        let image_bytes = found.index.image_bytes;
        let unpacked = tokio::task::spawn_blocking(move || frame::unpack(&file, image_bytes, &entry, &frame)).await;
        match unpacked.map_err(|_| ColdTrouble::LostWork)? {
            Ok(()) => {}
            Err(FrameError::Damaged) => return Err(ColdTrouble::DamagedFrame),
            Err(FrameError::Write(source)) => return Err(LayerError::io("write", image.path, source).into()),
        }
    }
    Ok(())
}

/// Ends when the store is too slow to be worth the wait. What waits for other fetches, or for our own bound, is not its fault.
async fn watch_progress(remote: &Remote, image: &Image<'_>) -> ColdTrouble {
    let within = remote.bounds.progress_every;
    let configured = remote.rate.bytes_per_second().map_or(u64::MAX, |rate| rate / 2);
    let floor = remote.bounds.fetch_bytes_per_second_min.min(configured);
    let wanted = (floor as f64 * within.as_secs_f64()) as u64;
    let is_asked = || image.asked.load(Ordering::Relaxed) > 0;
    let (mut before, mut was_asked) = (0, is_asked());
    loop {
        tokio::time::sleep(within).await;
        let now = image.received.load(Ordering::Relaxed);
        if was_asked && is_asked() && now - before < wanted && !remote.rate.is_behind() {
            return ColdTrouble::Slow { bytes: now - before, within };
        }
        (before, was_asked) = (now, is_asked());
    }
}
