//! Who may work on what: builds that want the same tool fetch it once, those that want different ones do not wait.

use super::{ToolchainError, Toolchains, Work};
use crate::blocking;
use crate::process::LineSink;
use crate::tier::{Brought, bring_back};
use slipway_layers::LayerLock;
use slipway_types::LayerRef;
use slipway_types::agent::Stream;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// How long one try for the lock of a layer lasts; between two, a cancel is noticed.
const LOCK_TRY: Duration = Duration::from_millis(200);

/// One lock for the list of versions of each tool. As many as there are tools.
#[derive(Debug, Default)]
pub(super) struct CatalogLocks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl CatalogLocks {
    pub(super) async fn lock(&self, tool: &str) -> OwnedMutexGuard<()> {
        let lock =
            Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(tool.to_owned()).or_default());
        lock.lock_owned().await
    }
}

impl Toolchains {
    /// Waits until this is the one to make the layer. None: it is there, and nothing is to be made.
    pub(super) async fn to_make(
        &self,
        layer: &LayerRef,
        work: &Work<'_, impl LineSink>,
    ) -> Result<Option<LayerLock>, ToolchainError> {
        // Before the lock, which whoever fetches it takes.
        match bring_back(&self.tiers, layer).await {
            Brought::Hot => return Ok(None),
            Brought::Back(line) => {
                work.sink.line(Stream::Stdout, line).await;
                return Ok(None);
            }
            Brought::Missing => {}
            Brought::Trouble(note) => work.sink.line(Stream::Stderr, format!("{note}; it is fetched anew")).await,
        }
        let mut said = false;
        while !self.store.contains(layer) {
            let (store, wanted) = (self.store.clone(), layer.clone());
            if let Some(lock) = blocking(move || store.lock_within(&wanted, LOCK_TRY)).await? {
                return Ok((!self.store.contains(layer)).then_some(lock));
            }
            if work.cancel.is_cancelled() {
                return Err(ToolchainError::Canceled);
            }
            if !std::mem::replace(&mut said, true) {
                work.sink.line(Stream::Stdout, format!("another build fetches `{}`; waiting for it", layer.key)).await;
            }
        }
        Ok(None)
    }
}
