//! Both tiers as one: a layer is hot, or cold and fetched on demand, or not there.
//!
//! Guarantees: a layer appears in the hot tier whole and checked, or not at all; one fetch however many ask, in this process and
//! in others on the same directory; whatever the cold tier does, asking for a layer ends in bounded time and never fails a build.

mod archiver;
mod fetch;
mod journal;

use crate::cold::remote::Remote;
use crate::cold::trouble::ColdTrouble;
use crate::cold::{ColdBounds, ColdConfig, ColdError};
use crate::error::LayerError;
use crate::key::is_valid_key;
use crate::lock::LayerLock;
use crate::store::{LOCKS, LayerStore};
use slipway_types::LayerRef;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// What came of asking for a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ensured {
    /// It was there already.
    Hot,
    /// It came from the cold tier: bytes that were transferred.
    Fetched { bytes: u64, took: Duration },
    /// Neither tier has it.
    Missing,
    /// It is not hot, and the cold tier could not give it. One sentence for a build's log.
    Trouble(String),
}

/// Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Tiers {
    store: LayerStore,
    bounds: ColdBounds,
    cold: Option<Arc<Cold>>,
}

#[derive(Debug)]
struct Cold {
    remote: Arc<Remote>,
    state: Mutex<State>,
}

/// Of this process alone. Losing it costs a request.
#[derive(Debug, Default)]
struct State {
    /// Fetches that somebody waits for.
    fetching: HashMap<LayerRef, Weak<OnceCell<Ensured>>>,
    /// Until then nobody asks the store again, and this is why.
    trouble: Option<(Instant, String)>,
    /// Layers whose copy turned out to be damaged: the archiver replaces it. At most one entry for each layer that was asked for.
    damaged: HashSet<LayerRef>,
}

/// More are not remembered; their copies are replaced when they are next found to be damaged.
const DAMAGED_MAX: usize = 1000;

impl Tiers {
    /// Asks the store nothing yet.
    pub fn new(store: LayerStore, cold: Option<ColdConfig>) -> Result<Self, ColdError> {
        Self::with_bounds(store, cold, ColdBounds::default())
    }

    pub fn with_bounds(store: LayerStore, cold: Option<ColdConfig>, bounds: ColdBounds) -> Result<Self, ColdError> {
        let cold = cold.map(|config| Cold::new(&config, bounds).map(Arc::new)).transpose()?;
        Ok(Self { store, bounds, cold })
    }

    /// The hot tier.
    pub fn store(&self) -> &LayerStore {
        &self.store
    }

    pub fn has_cold(&self) -> bool {
        self.cold.is_some()
    }

    /// Makes the layer hot if any tier has it. Lease it before, so that it is not evicted right after.
    pub async fn ensure(&self, layer: &LayerRef) -> Ensured {
        let (store, wanted) = (self.store.clone(), layer.clone());
        let hot = blocking(move || {
            let hot = store.contains(&wanted);
            if hot {
                store.touch(&wanted);
            }
            Ok(hot)
        });
        match (hot.await, &self.cold) {
            (Ok(true), _) => Ensured::Hot,
            (Ok(false), Some(cold)) if is_valid_key(&layer.key) => cold.fetch_once(&self.store, layer).await,
            (Ok(false), _) => Ensured::Missing,
            (Err(trouble), _) => Ensured::Trouble(format!("could not look for layer `{layer}`: {trouble}")),
        }
    }

    /// Removes the cold copy of a layer, if there is one. `Err`: one sentence for a person.
    pub async fn remove_cold(&self, layer: &LayerRef) -> Result<(), String> {
        let Some(cold) = &self.cold else { return Ok(()) };
        let removed = self.try_remove_cold(cold, layer).await;
        removed.map_err(|trouble| cold.note(layer, &trouble))
    }

    async fn try_remove_cold(&self, cold: &Cold, layer: &LayerRef) -> Result<(), ColdTrouble> {
        let (store, known) = (self.store.clone(), layer.clone());
        let record = blocking(move || Ok(store.record(&known))).await?;
        cold.remote.remove(&cold.remote.path(layer)).await?;
        if let Some(digest) = record.digest {
            cold.remote.remove(&cold.remote.other_path(layer, &digest)).await?;
        }
        set_cold(&self.store, layer, false).await
    }
}

impl Cold {
    fn new(config: &ColdConfig, bounds: ColdBounds) -> Result<Self, ColdError> {
        Ok(Self { remote: Arc::new(Remote::new(config, bounds)?), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One sentence for a log.
    fn note(&self, layer: &LayerRef, trouble: &ColdTrouble) -> String {
        format!("layer `{layer}` did not come from {}: {trouble}", self.remote.name())
    }

    /// What the store failed with a moment ago.
    fn recent_trouble(&self) -> Option<String> {
        let state = self.state();
        state.trouble.as_ref().filter(|(until, _)| Instant::now() < *until).map(|(_, note)| note.clone())
    }

    fn remember(&self, trouble: &ColdTrouble, layer: &LayerRef, note: &str) {
        let mut state = self.state();
        if trouble.is_of_the_store() {
            let until = Instant::now() + self.remote.bounds.trouble_kept;
            state.trouble = Some((until, note.to_owned()));
        } else if trouble.is_of_the_object() && state.damaged.len() < DAMAGED_MAX {
            state.damaged.insert(layer.clone());
        }
    }
}

/// Another lock than the layer's own, which a build that asks for the layer may hold. No kind of layer is called like a purpose.
fn lock_for(purpose: &str, store: &LayerStore, layer: &LayerRef) -> Result<Option<LayerLock>, LayerError> {
    LayerLock::acquire(&store.directory().join(LOCKS).join(format!("{purpose}-{layer}")), Duration::ZERO)
}

/// Notes whether there is a cold copy. A layer that is in no tier any more is forgotten.
async fn set_cold(store: &LayerStore, layer: &LayerRef, cold: bool) -> Result<(), ColdTrouble> {
    let (store, layer) = (store.clone(), layer.clone());
    blocking(move || {
        store.update_record(&layer, |record| record.cold = cold)?;
        forget_if_gone(&store, &layer)
    })
    .await
}

fn forget_if_gone(store: &LayerStore, layer: &LayerRef) -> Result<(), LayerError> {
    if store.contains(layer) { Ok(()) } else { store.forget_record(layer) }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LayerError> + Send + 'static,
) -> Result<T, ColdTrouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(ColdTrouble::from),
        Err(error) => Err(ColdTrouble::Failed { cause: error.to_string() }),
    }
}
