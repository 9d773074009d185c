//! Both tiers as one: a layer is hot, or cold and fetched on demand, or not there.
//!
//! Guarantees: a layer appears in the hot tier whole and checked, or not at all; one fetch however many ask, in this process and
//! in others on the same directory; whatever the cold tier does, asking for a layer ends in bounded time and never fails a build.

mod archiver;
mod fetch;
mod journal;

use crate::cold::remote::Remote;
use crate::cold::trouble::{ColdTrouble, blocking};
use crate::cold::{ColdBounds, ColdConfig, ColdError};
use crate::error::LayerError;
use crate::key::is_valid_key;
use crate::lock::LayerLock;
use crate::store::{LOCKS, LayerStore};
use slipway_types::LayerRef;
use std::collections::HashMap;
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
    /// Of all fetches that run: what they will yet write to the disk.
    coming_bytes: u64,
}

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
}

impl Cold {
    fn new(config: &ColdConfig, bounds: ColdBounds) -> Result<Self, ColdError> {
        Ok(Self { remote: Arc::new(Remote::new(config, bounds)?), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One sentence for a log.
    fn note(&self, layer: &LayerRef, trouble: &impl std::fmt::Display) -> String {
        format!("layer `{layer}` did not come from {}: {trouble}", self.remote.name())
    }

    /// What the store failed with a moment ago.
    fn recent_trouble(&self, layer: &LayerRef) -> Option<String> {
        let state = self.state();
        let recent = state.trouble.as_ref().filter(|(until, _)| Instant::now() < *until);
        recent.map(|(_, trouble)| format!("{} (as a moment ago)", self.note(layer, trouble)))
    }

    fn remember(&self, trouble: &ColdTrouble) {
        if trouble.is_of_the_store() {
            let until = Instant::now() + self.remote.bounds.trouble_kept;
            self.state().trouble = Some((until, trouble.to_string()));
        }
    }
}

/// Another lock than the layer's own, which a build that asks for the layer may hold. No kind of layer is called like a purpose.
fn lock_for(purpose: &str, store: &LayerStore, layer: &LayerRef) -> Result<Option<LayerLock>, LayerError> {
    LayerLock::acquire(&store.directory().join(LOCKS).join(format!("{purpose}-{layer}")), Duration::ZERO)
}

/// Changes what is known of a layer whose cold copy turned out to be of no use. Of a layer that is in no tier the digest is kept
/// for a while: it tells whether what is found later is the same.
async fn note_useless(store: &LayerStore, layer: &LayerRef, damaged: bool) -> Result<(), ColdTrouble> {
    let (store, layer) = (store.clone(), layer.clone());
    blocking(move || {
        store.update_record(&layer, |record| (record.cold, record.damaged) = (false, record.damaged || damaged))?;
        match store.contains(&layer) {
            true => Ok(()),
            false => store.forget_record_unless(&layer, |record| record.digest.is_some() || record.damaged),
        }
    })
    .await
}
