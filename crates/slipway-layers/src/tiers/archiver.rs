//! In the background: digests of layers that are on the disk, then their cold copies, oldest first.
//!
//! One layer at a time, its parts in parallel. Several processes on one directory share the work: each layer is done under a
//! lock. A record says "cold" only after the whole copy was found in the store.

use crate::cold::crew::Crew;
use crate::cold::trouble::ColdTrouble;
use crate::cold::upload::{self, Outgoing};
use crate::digest::LayerDigest;
use crate::error::LayerError;
use crate::record::LayerRecord;
use crate::store::LayerEntry;
use crate::tiers::journal::{self, Entry};
use crate::tiers::{Cold, Tiers, blocking, forget_if_gone, lock_for};
use slipway_types::LayerRef;
use std::collections::{HashMap, HashSet};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// After the first failure, and at most. Of the store: all wait; of one layer: that one.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
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
    fn add(&mut self) -> Duration {
        let wait = BACKOFF_FIRST.saturating_mul(1 << self.count.min(16)).min(BACKOFF_MAX);
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
    done: HashSet<LayerRef>,
    failed: HashMap<LayerRef, Failures>,
    store: Failures,
    swept: bool,
}

impl Tiers {
    /// Computes digests and makes cold copies, until it is told to stop; then it ends within about a second.
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
            && !progress.swept
            && progress.store.is_over()
        {
            match journal::sweep(cold, &self.store).await {
                Ok(()) => progress.swept = true,
                Err(error) => self.note_failure(&error, progress, None),
            }
        }
        let list = match self.oldest_first().await {
            Ok(list) => list,
            Err(error) => return tracing::warn!(%error, "could not list the layers that have no cold copy yet"),
        };
        progress.done.retain(|layer| list.contains(layer));
        progress.failed.retain(|layer, _| list.contains(layer));
        for layer in list {
            if shutdown.is_cancelled() || !progress.store.is_over() {
                return;
            }
            if self.is_to_do(&layer, progress) {
                self.step(&layer, crew, progress, shutdown).await;
            }
        }
    }

    /// Layers that would survive a power cut.
    async fn oldest_first(&self) -> Result<Vec<LayerRef>, ColdTrouble> {
        let store = self.store.clone();
        let mut entries = blocking(move || store.list()).await?;
        entries.retain(|entry| entry.synced);
        entries.sort_by_key(|entry: &LayerEntry| entry.published_at);
        Ok(entries.into_iter().map(|entry| entry.layer).collect())
    }

    fn is_to_do(&self, layer: &LayerRef, progress: &Progress) -> bool {
        let damaged = self.cold.as_ref().is_some_and(|cold| cold.state().damaged.contains(layer));
        let waits = progress.failed.get(layer).is_some_and(|failures| !failures.is_over());
        (damaged || !progress.done.contains(layer)) && !waits
    }

    async fn step(&self, layer: &LayerRef, crew: &Crew, progress: &mut Progress, shutdown: &CancellationToken) {
        match self.process(layer, crew, shutdown).await {
            Ok(true) => {
                progress.done.insert(layer.clone());
                progress.failed.remove(layer);
                progress.store = Failures::default();
            }
            // Another process is at it.
            Ok(false) => {}
            Err(ColdTrouble::Stopped) => {}
            // Removed meanwhile.
            Err(_) if !self.store.contains(layer) => {}
            Err(error) => self.note_failure(&error, progress, Some(layer)),
        }
    }

    fn note_failure(&self, error: &ColdTrouble, progress: &mut Progress, layer: Option<&LayerRef>) {
        let wait = match layer.filter(|_| !error.is_of_the_store()) {
            Some(layer) => progress.failed.entry(layer.clone()).or_default().add(),
            None => progress.store.add(),
        };
        let tier = self.cold.as_ref().map_or("the digest", |cold| cold.remote.name());
        let layer = layer.map(ToString::to_string).unwrap_or_default();
        tracing::warn!(%layer, ?wait, "no cold copy of a layer yet, it is tried again: {tier}: {error}");
    }

    /// `false`: another process is at it.
    async fn process(&self, layer: &LayerRef, crew: &Crew, shutdown: &CancellationToken) -> Result<bool, ColdTrouble> {
        let (store, wanted) = (self.store.clone(), layer.clone());
        let Some(_lock) = blocking(move || lock_for("archive", &store, &wanted)).await? else { return Ok(false) };
        let (store, wanted) = (self.store.clone(), layer.clone());
        let record = blocking(move || Ok(store.record(&wanted))).await?;
        let Some(cold) = &self.cold else {
            if record.digest.is_none() {
                let digest = self.digest(layer, crew, shutdown).await?;
                self.note(layer, digest, None).await?;
            }
            return Ok(true);
        };
        let damaged = cold.state().damaged.contains(layer);
        if !record.cold || record.digest.is_none() || damaged {
            let digest = self.archive(cold, layer, &record, damaged, crew, shutdown).await?;
            self.note(layer, digest, Some(true)).await?;
            cold.state().damaged.remove(layer);
            tracing::info!(%layer, "layer has a cold copy");
        }
        Ok(true)
    }

    async fn archive(
        &self,
        cold: &Arc<Cold>,
        layer: &LayerRef,
        record: &LayerRecord,
        damaged: bool,
        crew: &Crew,
        shutdown: &CancellationToken,
    ) -> Result<LayerDigest, ColdTrouble> {
        journal::abort_left(cold, &self.store, layer).await?;
        let mut to = cold.remote.path(layer);
        let mut known = record.digest;
        match cold.remote.find(&to, layer).await {
            Err(ColdTrouble::NoObject) => {}
            // It is of no use to anybody.
            Err(trouble) if trouble.is_of_the_object() => {}
            Err(trouble) => return Err(trouble),
            Ok(found) => {
                let digest = match known {
                    Some(digest) => digest,
                    None => self.digest(layer, crew, shutdown).await?,
                };
                if found.index.digest == digest && !damaged {
                    return Ok(digest);
                }
                if found.index.digest != digest {
                    // Another host made the same layer, from the same inputs but not byte for byte, and was first.
                    to = cold.remote.other_path(layer, &digest);
                }
                known = Some(digest);
            }
        }
        let entry = Entry::new(cold, &self.store, layer);
        let image = self.store.path(layer);
        let outgoing = Outgoing { image: &image, layer, to: &to, known };
        let digest = upload::upload(&cold.remote, crew, outgoing, &entry, shutdown.cancelled()).await?;
        match cold.remote.find(&to, layer).await? {
            found if found.index.digest == digest => Ok(digest),
            // Overwritten in this moment; the next round gives this one a name of its own.
            _ => Err(ColdTrouble::WrongDigest),
        }
    }

    async fn digest(
        &self,
        layer: &LayerRef,
        crew: &Crew,
        shutdown: &CancellationToken,
    ) -> Result<LayerDigest, ColdTrouble> {
        let path = self.store.path(layer);
        tokio::select! {
            digest = upload::digest(crew, &path) => digest,
            () = shutdown.cancelled() => Err(ColdTrouble::Stopped),
        }
    }

    async fn note(&self, layer: &LayerRef, digest: LayerDigest, cold: Option<bool>) -> Result<(), ColdTrouble> {
        let (store, layer) = (self.store.clone(), layer.clone());
        blocking(move || {
            let path = store.path(&layer);
            let image_bytes = match std::fs::metadata(&path) {
                Ok(found) => Some(found.len()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(LayerError::io("measure", &path, error)),
            };
            store.update_record(&layer, |record| {
                record.digest = Some(digest);
                record.image_bytes = image_bytes.unwrap_or(record.image_bytes);
                record.cold = cold.unwrap_or(record.cold);
            })?;
            forget_if_gone(&store, &layer)
        })
        .await
    }
}
