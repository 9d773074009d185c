//! In the background: digests of layers that are on the disk, then their cold copies, oldest first.
//!
//! One layer at a time, its parts in parallel. Several processes on one directory share the work: each layer is done under a
//! lock. A record says "cold" only after the whole copy was found in the store.

use crate::cold::crew::Crew;
use crate::cold::trouble::{ColdTrouble, blocking};
use crate::cold::upload::{self, Outgoing};
use crate::digest::LayerDigest;
use crate::error::LayerError;
use crate::record::LayerRecord;
use crate::store::{ImageId, LayerEntry};
use crate::tiers::journal::{self, Journal};
use crate::tiers::{Cold, Tiers, lock_for};
use slipway_types::LayerRef;
use slipway_types::cache::is_of_one_deployment;
use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between two attempts, however many failed.
const BACKOFF_MAX: Duration = Duration::from_secs(5 * 60);
/// Threads that pack where there are as many cores: an upload is bound by the network.
const THREADS_MAX: usize = 8;

/// Failures in a row.
#[derive(Debug, Default, Clone, Copy)]
struct Failures {
    count: u32,
    until: Option<Instant>,
}

impl Failures {
    fn add(&mut self, first: Duration) -> Duration {
        let wait = first.saturating_mul(1 << self.count.min(16)).min(BACKOFF_MAX);
        *self = Self { count: self.count.saturating_add(1), until: Some(Instant::now() + wait) };
        wait
    }

    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() >= until)
    }
}

/// What one archiver knows of its work. Losing it costs a look at each layer.
#[derive(Default)]
struct Progress {
    /// Of which image: another one under the same name is to be done again.
    done: HashMap<LayerRef, ImageId>,
    failed: HashMap<LayerRef, Failures>,
    store: Failures,
}

/// What is to be archived.
struct Work<'a> {
    layer: &'a LayerRef,
    image: ImageId,
    crew: &'a Crew,
    shutdown: &'a CancellationToken,
}

impl Work<'_> {
    /// A request, or the server's end.
    async fn ask<T>(&self, request: impl Future<Output = Result<T, ColdTrouble>>) -> Result<T, ColdTrouble> {
        until(self.shutdown, request).await
    }
}

async fn until<T>(
    shutdown: &CancellationToken,
    request: impl Future<Output = Result<T, ColdTrouble>>,
) -> Result<T, ColdTrouble> {
    tokio::select! {
        outcome = request => outcome,
        () = shutdown.cancelled() => Err(ColdTrouble::Stopped),
    }
}

impl Tiers {
    /// Computes digests and makes cold copies, until it is told to stop; then it ends as soon as the store
    /// has answered its aborts, which is waited for some seconds at most.
    pub async fn run_archiver(&self, shutdown: CancellationToken) {
        let crew = match Crew::start(self.threads()) {
            Ok(crew) => crew,
            Err(error) => return tracing::error!(%error, "no layer gets a digest or a cold copy until the next start"),
        };
        let mut progress = Progress::default();
        while !shutdown.is_cancelled() {
            self.round(&crew, &mut progress, &shutdown).await;
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(self.bounds.archive_every) => {}
            }
        }
    }

    fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let bound = self.cold.as_ref().map_or(1, |cold| cold.remote.concurrency);
        cores.min(bound).min(THREADS_MAX)
    }

    /// One look at all layers.
    async fn round(&self, crew: &Crew, progress: &mut Progress, shutdown: &CancellationToken) {
        if let Some(cold) = &self.cold
            && progress.store.is_over()
        {
            match until(shutdown, journal::sweep(cold, &self.store)).await {
                Ok(()) | Err(ColdTrouble::Stopped) => {}
                Err(error) => self.note_failure(&error, progress, None),
            }
        }
        let entries = match self.oldest_first().await {
            Ok(entries) => entries,
            Err(error) => return tracing::warn!(%error, "could not list the layers that have no cold copy yet"),
        };
        let known: HashSet<&LayerRef> = entries.iter().map(|entry| &entry.layer).collect();
        progress.done.retain(|layer, _| known.contains(layer));
        progress.failed.retain(|layer, _| known.contains(layer));
        let mut left: Vec<&LayerEntry> = entries.iter().filter(|entry| progress.is_to_do(entry)).collect();
        // One that fails again and again does not stand before the others.
        left.sort_by_key(|entry| progress.failed.get(&entry.layer).map_or(0, |failures| failures.count));
        for entry in left {
            if shutdown.is_cancelled() || !progress.store.is_over() {
                return;
            }
            let work = Work { layer: &entry.layer, image: entry.image, crew, shutdown };
            self.step(&work, progress).await;
        }
    }

    /// Layers that would survive a power cut.
    async fn oldest_first(&self) -> Result<Vec<LayerEntry>, ColdTrouble> {
        let store = self.store.clone();
        let mut entries = blocking(move || store.list()).await?;
        entries.retain(|entry| entry.synced);
        entries.sort_by_key(|entry: &LayerEntry| entry.published_at);
        Ok(entries)
    }

    async fn step(&self, work: &Work<'_>, progress: &mut Progress) {
        match self.process(work).await {
            Ok(true) => {
                progress.done.insert(work.layer.clone(), work.image);
                progress.failed.remove(work.layer);
                progress.store = Failures::default();
            }
            // Another process is at it.
            Ok(false) => {}
            Err(ColdTrouble::Stopped) => {}
            // Removed or replaced meanwhile.
            Err(_) if !self.is_still_there(work).await => {}
            Err(error) if error.is_final() => {
                tracing::error!(layer = %work.layer, "a layer gets no cold copy: {error}");
                progress.done.insert(work.layer.clone(), work.image);
            }
            Err(error) => self.note_failure(&error, progress, Some(work.layer)),
        }
    }

    async fn is_still_there(&self, work: &Work<'_>) -> bool {
        let (path, image) = (self.store.path(work.layer), work.image);
        let same = move || Ok(std::fs::metadata(&path).is_ok_and(|found| ImageId::of(&found) == image));
        blocking(same).await.unwrap_or(true)
    }

    /// Of the store: all wait. Of one layer: that one; and for what a store may say to one layer alone, both.
    fn note_failure(&self, error: &ColdTrouble, progress: &mut Progress, layer: Option<&LayerRef>) {
        let first = self.bounds.retry_after;
        let mut wait = Duration::ZERO;
        if let Some(layer) = layer {
            wait = progress.failed.entry(layer.clone()).or_default().add(first);
        }
        if error.is_of_the_store() || layer.is_none() {
            wait = wait.max(progress.store.add(first));
        }
        let tier = self.cold.as_ref().map_or("the digest", |cold| cold.remote.name());
        let layer = layer.map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%layer, ?wait, "no cold copy of a layer yet, it is tried again: {tier}: {error}");
    }

    /// `false`: another process is at it.
    async fn process(&self, work: &Work<'_>) -> Result<bool, ColdTrouble> {
        let (store, wanted) = (self.store.clone(), work.layer.clone());
        let Some(_lock) = blocking(move || lock_for("archive", &store, &wanted)).await? else { return Ok(false) };
        let (store, wanted) = (self.store.clone(), work.layer.clone());
        let record = blocking(move || Ok(store.record(&wanted))).await?;
        let Some(cold) = &self.cold else {
            if record.digest.is_none() {
                let digest = self.digest(work).await?;
                self.note(work, digest, false).await?;
            }
            return Ok(true);
        };
        if !record.cold || record.digest.is_none() {
            let digest = self.archive(cold, work, &record).await?;
            self.note(work, digest, true).await?;
            tracing::info!(layer = %work.layer, "layer has a cold copy");
        }
        Ok(true)
    }

    async fn archive(
        &self,
        cold: &Arc<Cold>,
        work: &Work<'_>,
        record: &LayerRecord,
    ) -> Result<LayerDigest, ColdTrouble> {
        let layer = work.layer;
        let mut to = cold.remote.path(layer);
        let mut known = record.digest;
        match work.ask(cold.remote.find(&to, layer)).await {
            Err(ColdTrouble::NoObject) => {}
            // It is of no use to anybody.
            Err(trouble) if trouble.is_of_the_object() => {}
            Err(trouble) => return Err(trouble),
            Ok(_) if record.damaged => {}
            Ok(found) => {
                let digest = match known {
                    Some(digest) => digest,
                    None => self.digest(work).await?,
                };
                if found.index.digest == digest {
                    return Ok(digest);
                }
                // Of what one deployment made for itself the newest is the right one, also for hosts that never heard of it. Of
                // others another host made the same layer, from the same inputs but not byte for byte, and was first.
                if !is_of_one_deployment(layer.kind) {
                    to = cold.remote.other_path(layer, &digest);
                }
                known = Some(digest);
            }
        }
        let journal = Journal::new(cold, &self.store, layer);
        let image = self.store.path(layer);
        let outgoing = Outgoing { image: &image, layer, to: &to, known };
        let stop = work.shutdown.cancelled();
        let digest = upload::upload(&cold.remote, work.crew, outgoing, &journal, stop).await?;
        match work.ask(cold.remote.find(&to, layer)).await? {
            found if found.index.digest == digest => Ok(digest),
            // Overwritten in this moment; the next round gives this one a name of its own.
            _ => Err(ColdTrouble::WrongDigest),
        }
    }

    async fn digest(&self, work: &Work<'_>) -> Result<LayerDigest, ColdTrouble> {
        let path = self.store.path(work.layer);
        work.ask(upload::digest(work.crew, &path)).await
    }

    /// Writes down what was found, unless another image has taken the layer's name since.
    async fn note(&self, work: &Work<'_>, digest: LayerDigest, cold: bool) -> Result<(), ColdTrouble> {
        let (store, layer, image) = (self.store.clone(), work.layer.clone(), work.image);
        blocking(move || {
            let path = store.path(&layer);
            // No image takes the name meanwhile: that needs the record's lock.
            let _record = store.lock_record(&layer)?;
            let found = match std::fs::metadata(&path) {
                Ok(found) => Some(found),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(LayerError::io("measure", &path, error)),
            };
            if found.is_none() && !cold || found.as_ref().is_some_and(|found| ImageId::of(found) != image) {
                return Ok(());
            }
            store.rewrite_record(&layer, |record| {
                record.digest = Some(digest);
                record.image_bytes = found.map_or(record.image_bytes, |found| found.len());
                (record.cold, record.damaged) = (record.cold || cold, record.damaged && !cold);
            })
        })
        .await
    }
}

impl Progress {
    fn is_to_do(&self, entry: &LayerEntry) -> bool {
        let waits = self.failed.get(&entry.layer).is_some_and(|failures| !failures.is_over());
        self.done.get(&entry.layer) != Some(&entry.image) && !waits
    }
}
