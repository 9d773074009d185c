//! Layers that a phase stands on: held, and brought back when the disk no longer has them.

use super::{PhaseContext, PhaseEnd};
use crate::blocking;
use crate::tier::{Brought, bring_back, missing};
use slipway_types::{LayerRef, Phase};
use std::sync::Arc;

impl PhaseContext<'_> {
    /// Whether the layer is there to be used; it stays until the deployment ends. `false`: it has to be made. A fetch takes a
    /// lock of its own, so this may be called with the layer's. `otherwise`: what is done where the cold tier can't give it.
    pub(super) async fn bring_back(&self, layer: &LayerRef, otherwise: &str) -> bool {
        self.hold(std::slice::from_ref(layer)).await;
        match bring_back(&self.host.tiers, layer).await {
            Brought::Hot => true,
            Brought::Back(line) => {
                self.log.say(line).await;
                true
            }
            Brought::Missing => false,
            Brought::Trouble(note) => {
                self.log.say(format!("{note}; {otherwise}")).await;
                false
            }
        }
    }

    /// All of them, for a sandbox.
    pub(super) async fn bring_back_all(&self, layers: &[LayerRef]) -> Result<(), PhaseEnd> {
        self.hold(layers).await;
        // A release's layers can't be made again here; those of a build are, when it is started again.
        let code = if self.log.phase == Phase::PreDeploy { "release-gone" } else { "layer-failed" };
        if let Some(why) = layers.iter().find_map(|layer| self.host.objection(layer)) {
            return Err(PhaseEnd::host_error("driver-changed", why));
        }
        for layer in layers {
            match bring_back(&self.host.tiers, layer).await {
                Brought::Hot => {}
                Brought::Back(line) => self.log.say(line).await,
                Brought::Missing => {
                    return Err(PhaseEnd::host_error(code, missing(layer, self.host.config.layers.cold.is_some())));
                }
                Brought::Trouble(note) => return Err(PhaseEnd::host_error(code, note)),
            }
        }
        Ok(())
    }

    /// Before they are looked for: what is there now stays.
    pub(super) async fn hold(&self, layers: &[LayerRef]) {
        let (store, hold, layers) = (self.host.store.clone(), Arc::clone(&self.hold), layers.to_vec());
        blocking(move || hold.add(&store, &layers)).await;
    }
}
