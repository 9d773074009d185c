//! What a build stands on, held in the store from its first phase until its server has pinned what it made.

use slipway_layers::{LayerStore, Lease};
use slipway_types::LayerRef;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The leases of one worker's deployment.
#[derive(Debug, Default)]
pub(crate) struct Hold(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    layers: BTreeSet<LayerRef>,
    leases: Vec<Lease>,
}

impl Hold {
    /// Keeps layers, there or not yet. Blocks. Never fails a build: at worst a layer has to be made again.
    pub(crate) fn add(&self, store: &LayerStore, layers: &[LayerRef]) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let news: Vec<LayerRef> = layers.iter().filter(|layer| !held.layers.contains(layer)).cloned().collect();
        if news.is_empty() {
            return;
        }
        match store.lease(&news) {
            Ok(lease) => {
                held.leases.push(lease);
                held.layers.extend(news);
            }
            Err(error) => tracing::warn!(%error, "layers of a build can't be held"),
        }
    }

    /// All of it, for whoever holds it from here on.
    pub(crate) fn take(&self) -> Vec<Lease> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).leases
    }
}
