//! A cold layer becomes hot.

use crate::cold::download;
use crate::cold::remote::Found;
use crate::cold::trouble::{ColdTrouble, blocking};
use crate::leftover::WorkArea;
use crate::lock::LayerLock;
use crate::record::LayerRecord;
use crate::store::LayerStore;
use crate::tiers::{Cold, Ensured, lock_for, note_useless};
use slipway_types::LayerRef;
use std::path::PathBuf;
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
        if let Some(note) = self.recent_trouble(layer) {
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
                self.remember(&trouble);
                Ensured::Trouble(note)
            }
        }
    }

    /// Bytes that were transferred; 0 when another process brought it meanwhile. `None`: there is no copy.
    async fn fetch_locked(&self, store: &LayerStore, layer: &LayerRef) -> Result<Option<u64>, ColdTrouble> {
        let Some(_lock) = lock(store, layer).await? else { return Ok(Some(0)) };
        let (known, wanted) = (store.clone(), layer.clone());
        let record = blocking(move || Ok(known.record(&wanted))).await?;
        let found = match self.find(layer, &record).await {
            Ok(found) => found,
            Err(ColdTrouble::NoObject) if !record.cold => return Ok(None),
            Err(ColdTrouble::NoObject) => {
                note_useless(store, layer, false).await?;
                return Err(ColdTrouble::Gone);
            }
            Err(trouble) => {
                // An index that cannot be read the archiver finds by itself.
                if record.cold && trouble.is_of_the_object() {
                    note_useless(store, layer, false).await?;
                }
                return Err(trouble);
            }
        };
        match self.bring(store, layer, &found).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(trouble) => {
                if trouble.is_of_the_object() {
                    // Whoever makes the layer anew replaces it, whatever its bytes are then.
                    note_useless(store, layer, found.path == self.remote.path(layer)).await?;
                }
                Err(trouble)
            }
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
        let bytes = found.index.data_bytes();
        let _coming = self.make_room(store, bytes).await?;
        let target = store.clone();
        let area = Area::new(blocking(move || WorkArea::new(target.directory())).await?);
        let received = match download::download(&self.remote, found, &area.image).await {
            Ok(received) => received,
            Err(trouble) => {
                area.clear().await;
                return Err(trouble);
            }
        };
        let (store, layer) = (store.clone(), layer.clone());
        let (digest, image_bytes) = (found.index.digest, found.index.image_bytes);
        let is_first = found.path == self.remote.path(&layer);
        blocking(move || {
            let mut area = area;
            // Before the layer is there, so that it never stands there as one that nobody used for long.
            store.touch(&layer);
            let published = store.publish_with(&area.image, &layer, |record| {
                (record.digest, record.image_bytes, record.cold) = (Some(digest), image_bytes, true);
                record.damaged &= !is_first;
            });
            drop(area.area.take());
            published
        })
        .await?;
        Ok(received.max(1))
    }

    /// Fails where the disk has no room for so much beside what other fetches will write.
    async fn make_room(&self, store: &LayerStore, bytes: u64) -> Result<Coming<'_>, ColdTrouble> {
        let target = store.clone();
        let free = blocking(move || target.free_bytes()).await?;
        let mut state = self.state();
        let needed = state.coming_bytes.saturating_add(bytes).saturating_add(ROOM_LEFT_BYTES);
        if free < needed {
            return Err(ColdTrouble::NoRoom { bytes });
        }
        state.coming_bytes += bytes;
        Ok(Coming { cold: self, bytes })
    }
}

/// Bytes of a fetch that runs, until it ends.
struct Coming<'a> {
    cold: &'a Cold,
    bytes: u64,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.cold.state().coming_bytes -= self.bytes;
    }
}

/// A work area that is removed away from the threads that serve connections, also when its fetch is given up.
struct Area {
    image: PathBuf,
    area: Option<WorkArea>,
}

impl Area {
    fn new(area: WorkArea) -> Self {
        Self { image: area.image(), area: Some(area) }
    }

    async fn clear(mut self) {
        let area = self.area.take();
        let cleared = blocking(move || {
            drop(area);
            Ok(())
        });
        let _ = cleared.await;
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let Some(area) = self.area.take() else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || drop(area))),
            Err(_) => drop(area),
        }
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
