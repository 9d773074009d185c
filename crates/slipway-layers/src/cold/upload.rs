//! An image to its object: spans packed by the crew, sent in parallel parts, whole or not at all.
//!
//! Memory: two frames for each thread of the crew, and one part of 8 MiB for each request in flight.
//!
//! What an upload that was killed left in the store is known from a file beside the layers (`uploads/<layer>.json`), written once
//! the store gave the upload its id, and removed when the upload is complete or aborted.

use crate::cold::crew::Crew;
use crate::cold::format::{Entry, HEADER_BYTES, Index, header};
use crate::cold::frame;
use crate::cold::remote::Remote;
use crate::cold::trouble::ColdTrouble;
use crate::digest::{Digester, LayerDigest, data_spans};
use crate::error::LayerError;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as ObjectPath;
use object_store::{MultipartId, ObjectStoreExt, PutPayload};
use slipway_types::LayerRef;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// All parts but the last have this size, as some stores ask; at least 5 MiB, as all do.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// S3's own bound.
const PARTS_MAX: usize = 10_000;
/// How long an abort is waited for: a stopping server has no more time. What is not aborted by then is at the next start.
const ABORT_WAIT_MAX: Duration = Duration::from_millis(1500);
/// Until a part that was on its way has arrived. It may outlive the first abort, so there is a second one, as S3's own documentation asks.
const ABORT_PAUSE: Duration = Duration::from_millis(400);

/// Where an upload is written down before its first part.
pub(crate) trait UploadJournal {
    fn started(&self, path: &ObjectPath, id: &MultipartId) -> Result<(), LayerError>;
    fn ended(&self);
}

/// Computes the digest of an image with the crew.
pub(crate) async fn digest(crew: &Crew, path: &Path) -> Result<LayerDigest, ColdTrouble> {
    let (file, image_bytes, spans) = open(path)?;
    let mut digester = Digester::new(image_bytes);
    let mut packed = stream::iter(spans)
        .map(|number| {
            let file = file.clone();
            let job = crew.run(move || {
                let mut buffer = vec![0; crate::digest::SPAN_BYTES];
                crate::digest::read_span(&file, image_bytes, number, &mut buffer)
            });
            async move { (number, job.await) }
        })
        .buffered(crew.in_flight_max());
    while let Some((number, result)) = packed.next().await {
        let span = result.map_err(lost)?.map_err(|e| LayerError::io("read", path, e))?;
        if let Some(span) = span {
            digester.add(number, &span.digest);
        }
    }
    Ok(digester.finish())
}

/// What is sent, and where to.
pub(crate) struct Outgoing<'a> {
    pub(crate) image: &'a Path,
    pub(crate) layer: &'a LayerRef,
    pub(crate) to: &'a ObjectPath,
    /// The digest that it must have.
    pub(crate) known: Option<LayerDigest>,
}

/// Sends an image. The caller stops it by `stop`, never by dropping it.
pub(crate) async fn upload(
    remote: &Arc<Remote>,
    crew: &Crew,
    outgoing: Outgoing<'_>,
    journal: &impl UploadJournal,
    stop: impl Future<Output = ()>,
) -> Result<LayerDigest, ColdTrouble> {
    let (parts, in_flight) = (Vec::new(), JoinSet::new());
    let mut object = Object { remote, to: outgoing.to, journal, id: None, parts, in_flight, rest: BytesMut::new() };
    let sent = tokio::select! {
        sent = object.send(crew, &outgoing) => sent,
        () = stop => Err(ColdTrouble::Stopped),
    };
    if sent.is_err() {
        object.abort().await;
    }
    sent
}

/// Ends an upload, of this process or of one that is gone.
pub(crate) async fn abort(remote: &Remote, to: &ObjectPath, id: &MultipartId) -> Result<(), ColdTrouble> {
    let once = || async {
        match remote.sender.abort_multipart(to, id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ColdTrouble::of_request(error)),
        }
    };
    let twice = tokio::time::timeout(ABORT_WAIT_MAX, async {
        once().await?;
        tokio::time::sleep(ABORT_PAUSE).await;
        once().await
    });
    twice.await.unwrap_or(Err(ColdTrouble::NoAnswer { wait: ABORT_WAIT_MAX }))
}

struct Object<'a, J> {
    remote: &'a Arc<Remote>,
    to: &'a ObjectPath,
    journal: &'a J,
    /// None until there is more than one part can hold.
    id: Option<MultipartId>,
    parts: Vec<Option<PartId>>,
    in_flight: JoinSet<Result<(usize, PartId), ColdTrouble>>,
    /// Not yet a part.
    rest: BytesMut,
}

impl<J: UploadJournal> Object<'_, J> {
    async fn send(&mut self, crew: &Crew, outgoing: &Outgoing<'_>) -> Result<LayerDigest, ColdTrouble> {
        let (file, image_bytes, spans) = open(outgoing.image)?;
        self.rest.extend_from_slice(&header());
        debug_assert_eq!(self.rest.len() as u64, HEADER_BYTES);
        let mut entries: Vec<Entry> = Vec::new();
        let mut packed = stream::iter(spans)
            .map(|number| {
                let file = file.clone();
                crew.run(move || frame::pack(&file, image_bytes, number))
            })
            .buffered(crew.in_flight_max());
        while let Some(result) = packed.next().await {
            let span = result.map_err(lost)?.map_err(|e| LayerError::io("read", outgoing.image, e))?;
            if let Some((entry, frame)) = span {
                entries.push(entry);
                self.write(&frame).await?;
            }
        }
        let mut digester = Digester::new(image_bytes);
        entries.iter().for_each(|entry| digester.add(entry.number, &entry.digest));
        let digest = digester.finish();
        if outgoing.known.is_some_and(|known| known != digest) {
            return Err(ColdTrouble::HotChanged);
        }
        self.write(&Index { image_bytes, digest, entries }.encode(outgoing.layer)).await?;
        self.complete().await?;
        Ok(digest)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), ColdTrouble> {
        self.rest.extend_from_slice(bytes);
        while self.rest.len() > PART_BYTES {
            let part = self.rest.split_to(PART_BYTES).freeze();
            self.send_part(part).await?;
        }
        Ok(())
    }

    async fn send_part(&mut self, content: Bytes) -> Result<(), ColdTrouble> {
        if self.parts.len() >= PARTS_MAX {
            return Err(ColdTrouble::Failed { cause: "the layer is too large for one object".to_owned() });
        }
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let id = within(self.remote, self.remote.sender.create_multipart(self.to)).await?;
                self.id = Some(id.clone());
                self.journal.started(self.to, &id)?;
                id
            }
        };
        while self.in_flight.len() >= self.remote.concurrency {
            self.take_part().await?;
        }
        let number = self.parts.len();
        self.parts.push(None);
        let (remote, to) = (self.remote.clone(), self.to.clone());
        self.in_flight.spawn(async move {
            remote.rate.take(content.len()).await;
            let part = remote.sender.put_part(&to, &id, number, PutPayload::from(content));
            within(&remote, part).await.map(|part| (number, part))
        });
        Ok(())
    }

    /// Waits for one part.
    async fn take_part(&mut self) -> Result<(), ColdTrouble> {
        if let Some(sent) = self.in_flight.join_next().await {
            let (number, part) = sent.map_err(|error| ColdTrouble::Failed { cause: error.to_string() })??;
            self.parts[number] = Some(part);
        }
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), ColdTrouble> {
        let last = std::mem::take(&mut self.rest).freeze();
        let (remote, to) = (self.remote, self.to);
        if self.id.is_none() {
            remote.rate.take(last.len()).await;
            within(remote, remote.sender.put(to, PutPayload::from(last))).await?;
            return Ok(());
        }
        self.send_part(last).await?;
        while !self.in_flight.is_empty() {
            self.take_part().await?;
        }
        let parts = std::mem::take(&mut self.parts).into_iter().flatten().collect();
        if let Some(id) = &self.id {
            within(remote, remote.sender.complete_multipart(to, id, parts)).await?;
            self.journal.ended();
        }
        Ok(())
    }

    async fn abort(&mut self) {
        self.in_flight.shutdown().await;
        let Some(id) = self.id.take() else { return };
        match abort(self.remote, self.to, &id).await {
            Ok(()) => self.journal.ended(),
            Err(error) => {
                tracing::warn!(object = %self.to, %error, "an upload is left in the cold tier until the next start")
            }
        }
    }
}

fn open(path: &Path) -> Result<(Arc<File>, u64, Vec<u32>), LayerError> {
    let failed = |e| LayerError::io("read", path, e);
    let file = File::open(path).map_err(failed)?;
    let image_bytes = file.metadata().map_err(failed)?.len();
    let spans = data_spans(&file, image_bytes).map_err(failed)?;
    Ok((Arc::new(file), image_bytes, spans))
}

async fn within<T>(remote: &Remote, request: impl Future<Output = object_store::Result<T>>) -> Result<T, ColdTrouble> {
    let wait = remote.bounds.part_wait;
    match tokio::time::timeout(wait, request).await {
        Ok(answer) => answer.map_err(ColdTrouble::of_request),
        Err(_) => Err(ColdTrouble::NoAnswer { wait }),
    }
}

fn lost(_: tokio::sync::oneshot::error::RecvError) -> ColdTrouble {
    ColdTrouble::Failed { cause: "the work on a part of the layer was lost".to_owned() }
}
