//! A cold layer becomes hot.

use crate::cold::download;
use crate::cold::remote::Found;
use crate::cold::trouble::ColdTrouble;
use crate::leftover::WorkArea;
use crate::lock::LayerLock;
use crate::record::LayerRecord;
use crate::store::LayerStore;
use crate::tiers::{Cold, Ensured, blocking, lock_for, set_cold};
use slipway_types::LayerRef;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Between two looks whether another process is done with the layer.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Room that a fetch leaves on the disk: builds write there too.
const ROOM_LEFT_BYTES: u64 = 64 * 1024 * 1024;

impl Cold {
    /// One fetch in this process; all who ask meanwhile get its outcome. When the one who fetches goes away (its build was canceled),
    /// the next one begins anew.
    pub(super) async fn fetch_once(&self, store: &LayerStore, layer: &LayerRef) -> Ensured {
        let cell = self.fetching(layer);
        cell.get_or_init(|| self.fetch(store, layer)).await.clone()
    }

    fn fetching(&self, layer: &LayerRef) -> Arc<OnceCell<Ensured>> {
        let mut state = self.state();
        state.fetching.retain(|_, cell| cell.strong_count() > 0);
        match state.fetching.get(layer).and_then(std::sync::Weak::upgrade) {
            Some(cell) => cell,
            None => {
                let cell = Arc::new(OnceCell::new());
                state.fetching.insert(layer.clone(), Arc::downgrade(&cell));
                cell
            }
        }
    }

    async fn fetch(&self, store: &LayerStore, layer: &LayerRef) -> Ensured {
        if let Some(note) = self.recent_trouble() {
            return Ensured::Trouble(note);
        }
        let (started, wait) = (Instant::now(), self.remote.bounds.fetch_wait);
        let fetched = tokio::time::timeout(wait, self.fetch_locked(store, layer));
        let outcome = fetched.await.unwrap_or(Err(ColdTrouble::TooLate { wait }));
        match outcome {
            Ok(Some(0)) => Ensured::Hot,
            Ok(Some(bytes)) => {
                let took = started.elapsed();
                tracing::info!(%layer, bytes, ?took, "layer fetched from the cold tier");
                Ensured::Fetched { bytes, took }
            }
            Ok(None) => Ensured::Missing,
            Err(trouble) => {
                let note = self.note(layer, &trouble);
                tracing::warn!("{note}");
                self.remember(&trouble, layer, &note);
                Ensured::Trouble(note)
            }
        }
    }

    /// Bytes that were transferred; 0 when another process brought it meanwhile. `None`: there is no copy.
    async fn fetch_locked(&self, store: &LayerStore, layer: &LayerRef) -> Result<Option<u64>, ColdTrouble> {
        let Some(_lock) = lock(store, layer).await? else { return Ok(Some(0)) };
        let (known, wanted) = (store.clone(), layer.clone());
        let record = blocking(move || Ok(known.record(&wanted))).await?;
        let fetched = match self.find(layer, &record).await {
            Ok(found) => self.bring(store, layer, &found).await,
            Err(trouble) => Err(trouble),
        };
        match fetched {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ColdTrouble::NoObject) if !record.cold => Ok(None),
            Err(ColdTrouble::NoObject) => {
                set_cold(store, layer, false).await?;
                Err(ColdTrouble::Gone)
            }
            Err(trouble) if record.cold && trouble.is_of_the_object() => {
                set_cold(store, layer, false).await?;
                Err(trouble)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// The copy of the very layer that is known here, else of any that has its key.
    async fn find(&self, layer: &LayerRef, record: &LayerRecord) -> Result<Found, ColdTrouble> {
        let first = self.remote.find(&self.remote.path(layer), layer).await;
        let Some(digest) = record.digest else { return first };
        match first {
            Ok(found) if found.index.digest == digest => Ok(found),
            Err(trouble) if trouble.is_of_the_store() => Err(trouble),
            first => match self.remote.find(&self.remote.other_path(layer, &digest), layer).await {
                Ok(found) if found.index.digest == digest => Ok(found),
                Ok(_) => Err(ColdTrouble::WrongDigest),
                Err(ColdTrouble::NoObject) => Err(first.err().unwrap_or(ColdTrouble::WrongDigest)),
                Err(trouble) => Err(trouble),
            },
        }
    }

    async fn bring(&self, store: &LayerStore, layer: &LayerRef, found: &Found) -> Result<u64, ColdTrouble> {
        let (target, bytes) = (store.clone(), found.index.data_bytes());
        let area = blocking(move || {
            let room = target.free_bytes()?;
            Ok(if room < bytes + ROOM_LEFT_BYTES { None } else { Some(WorkArea::new(target.directory())?) })
        });
        let area = area.await?.ok_or(ColdTrouble::NoRoom { bytes })?;
        let received = download::download(&self.remote, found, &area.image()).await?;
        let (store, layer) = (store.clone(), layer.clone());
        let (digest, image_bytes) = (found.index.digest, found.index.image_bytes);
        blocking(move || {
            // Before the layer is there, so that it never stands there as one that nobody used for long.
            store.update_record(&layer, |record| {
                (record.digest, record.image_bytes, record.cold) = (Some(digest), image_bytes, true);
            })?;
            store.touch(&layer);
            store.publish(&area.image(), &layer)
        })
        .await?;
        Ok(received.max(1))
    }
}

/// Waits until this is the one to fetch the layer. `None`: it is hot by now. Bounded by the whole fetch's bound.
async fn lock(store: &LayerStore, layer: &LayerRef) -> Result<Option<LayerLock>, ColdTrouble> {
    loop {
        let (wanted, by) = (layer.clone(), store.clone());
        let (lock, hot) = blocking(move || Ok((lock_for("fetch", &by, &wanted)?, by.contains(&wanted)))).await?;
        if hot {
            return Ok(None);
        }
        if lock.is_some() {
            return Ok(lock);
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}
