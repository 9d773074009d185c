//! Sends a directory: packed on a thread of its own, streamed through a small channel, so that neither the archive
//! nor a file is ever whole in memory or on disk.

use crate::archive::{self, ArchiveError, Tree};
use crate::client::{Client, ClientError};
use crate::failure::Failure;
use crate::render::{Progress, UploadFacts};
use bytes::Bytes;
use slipway_types::UploadId;
use slipway_types::api::UPLOAD_BYTES_MAX;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const CHUNK_BYTES: usize = 64 * 1024;
/// Chunks on their way; with the chunk's size 1 MB of memory.
const CHUNKS_MAX: usize = 16;
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// # Errors
/// When the directory cannot be packed, or the server does not take it.
pub(super) async fn upload(client: &Client, dir: &Path, progress: &mut dyn Progress) -> Result<UploadId, Failure> {
    let started_at = Instant::now();
    let dir = dir.to_owned();
    let tree = blocking(move || Tree::list(&dir)).await?.map_err(ClientError::from)?;
    for path in &tree.left_out {
        progress.note(&format!("`{}` is left out: it is neither file, link nor directory", path.display()));
    }
    let (files, bytes) = (tree.files, tree.bytes);
    let sent = Arc::new(AtomicU64::new(0));
    let (chunks, receiver) = mpsc::channel(CHUNKS_MAX);
    let sink = ChunkSink { chunks, buffer: Vec::with_capacity(CHUNK_BYTES), sent: sent.clone() };
    let packing = tokio::task::spawn_blocking(move || pack(&tree, sink));

    let uploading = client.upload(receiver);
    tokio::pin!(uploading);
    let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
    let answered = loop {
        tokio::select! {
            answered = &mut uploading => break answered,
            _ = tick.tick() => progress.uploading(sent.load(Ordering::Relaxed)),
        }
    };
    progress.close();
    let packed = packing.await.map_err(|error| Failure::server("packing the upload stopped").caused_by(&error))?;
    let view = match (answered, packed) {
        (Ok(view), _) => view,
        // The request broke off because packing failed: that is the reason to tell.
        (Err(_), Err(error)) if !sink_closed(&error) => return Err(ClientError::from(error).into()),
        (Err(error), _) => return Err(error.into()),
    };
    let duration_ms = u64::try_from(started_at.elapsed().as_millis()).unwrap_or(u64::MAX);
    progress.uploaded(UploadFacts { files, bytes, sent_bytes: sent.load(Ordering::Relaxed), duration_ms });
    Ok(view.upload)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::server("reading the directory stopped").caused_by(&error))
}

/// Packs into `sink`. A failure is told to the request too: it must break off, not end as if all were there.
fn pack(tree: &Tree, mut sink: ChunkSink) -> Result<(), ArchiveError> {
    let packed =
        archive::write(tree, &mut sink, UPLOAD_BYTES_MAX).and_then(|_| sink.flush().map_err(ArchiveError::Write));
    if packed.is_err() {
        let _ = sink.chunks.blocking_send(Err(io::Error::other("packing failed")));
    }
    packed
}

fn sink_closed(error: &ArchiveError) -> bool {
    matches!(error, ArchiveError::Write(source) if source.kind() == io::ErrorKind::BrokenPipe)
}

struct ChunkSink {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
    sent: Arc<AtomicU64>,
}

impl Write for ChunkSink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let count = data.len().min(CHUNK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&data[..count]);
        if self.buffer.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        self.sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        self.chunks.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
