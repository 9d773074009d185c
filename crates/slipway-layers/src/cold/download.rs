//! A layer's copy into a file: ranges in parallel, each frame checked before it is written.
//!
//! Memory: for each range in flight (as many as the concurrency bound says, over all fetches) one frame, what it unpacks to, and
//! what the network brought last: about 9 MiB.

use crate::cold::format::{Entry, HEADER_BYTES};
use crate::cold::frame::{self, FrameError};
use crate::cold::remote::{Found, Remote};
use crate::cold::trouble::ColdTrouble;
use crate::error::LayerError;
use bytes::BytesMut;
use futures_util::{StreamExt, TryStreamExt, stream};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A range is at least so long, unless it is the last: few requests, and still many at once for a layer of some 100 MB.
const RANGE_BYTES_MIN: u64 = 8 * 1024 * 1024;

/// Frames that follow each other, fetched with one request.
struct Span {
    start: u64,
    bytes: u64,
    entries: Vec<Entry>,
}

/// What is being written.
struct Image<'a> {
    file: Arc<File>,
    path: &'a Path,
}

/// Makes `path`, which must not be there, the image that was found. Bytes that were transferred.
pub(crate) async fn download(remote: &Remote, found: &Found, path: &Path) -> Result<u64, ColdTrouble> {
    let image = Image { file: Arc::new(create(path, found.index.image_bytes)?), path };
    let received = AtomicU64::new(0);
    let work = stream::iter(ranges(&found.index.entries))
        .map(|range| fetch_range(remote, found, range, &image, &received))
        .buffer_unordered(remote.concurrency)
        .try_collect::<()>();
    tokio::select! {
        done = work => done?,
        slow = watch_progress(remote, &received) => return Err(slow),
    }
    Ok(received.load(Ordering::Relaxed))
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

async fn fetch_range(
    remote: &Remote,
    found: &Found,
    range: Span,
    image: &Image<'_>,
    received: &AtomicU64,
) -> Result<(), ColdTrouble> {
    // Never closed.
    let _permit = remote.downloads.acquire().await;
    let mut body = remote.open(found, range.start..range.start + range.bytes).await?;
    let mut buffer = BytesMut::new();
    let mut left = range.bytes;
    for entry in range.entries {
        let frame_bytes = entry.frame_bytes as usize;
        while buffer.len() < frame_bytes {
            let piece = remote.next(&mut body).await?.ok_or(ColdTrouble::Truncated)?;
            left = left.checked_sub(piece.len() as u64).ok_or(ColdTrouble::Truncated)?;
            received.fetch_add(piece.len() as u64, Ordering::Relaxed);
            remote.rate.take(piece.len()).await;
            buffer.extend_from_slice(&piece);
        }
        let (frame, file) = (buffer.split_to(frame_bytes), image.file.clone());
        let image_bytes = found.index.image_bytes;
        let unpacked = tokio::task::spawn_blocking(move || frame::unpack(&file, image_bytes, &entry, &frame)).await;
        match unpacked.map_err(|error| ColdTrouble::Failed { cause: error.to_string() })? {
            Ok(()) => {}
            Err(FrameError::Damaged) => return Err(ColdTrouble::DamagedFrame),
            Err(FrameError::Write(source)) => return Err(LayerError::io("write", image.path, source).into()),
        }
    }
    Ok(())
}

/// Ends when the store is too slow to be worth the wait.
async fn watch_progress(remote: &Remote, received: &AtomicU64) -> ColdTrouble {
    let within = remote.bounds.progress_every;
    let configured = remote.rate.bytes_per_second().map_or(u64::MAX, |rate| rate / 2);
    let floor = remote.bounds.fetch_bytes_per_second_min.min(configured);
    let wanted = (floor as f64 * within.as_secs_f64()) as u64;
    let mut before = 0;
    loop {
        tokio::time::sleep(within).await;
        let now = received.load(Ordering::Relaxed);
        if now - before < wanted {
            return ColdTrouble::Slow { bytes: now - before, within };
        }
        before = now;
    }
}
