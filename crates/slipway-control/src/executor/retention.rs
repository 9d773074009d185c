//! What the host may not remove, told when it asks, and what it says of its layers.

use super::Executor;
use crate::cache::Keepers;
use crate::refusal::{Refusal, cause_chain};
use crate::shared::Shared;
use slipway_store::StoreError;
use slipway_types::cache::{Keeper, Retention, ServiceTitle, SweepOrder};
use slipway_types::host::{HostCommand, PhaseOutput};
use slipway_types::{LayerRef, ServiceId};
use std::collections::BTreeSet;
use std::time::Instant;

impl Executor {
    /// No answer when the database fails: the host then removes nothing, and asks again later.
    pub(super) async fn retain(&mut self, request: u64) {
        let answer = match self.shared.keepers().await {
            Ok(keepers) => Retention {
                request,
                layers: keepers.of.into_keys().collect(),
                services: keepers.names.into_keys().collect(),
            },
            Err(error) => {
                let error = cause_chain(&error);
                return tracing::error!(error, "the host can't be told what to keep, and removes nothing");
            }
        };
        self.shared.cache().told(answer.layers.clone());
        // One that still waits is older than this question.
        self.outbox.retain(|command| !matches!(command, HostCommand::Retain(_)));
        self.outbox.push_back(HostCommand::Retain(answer));
    }

    /// Its id. What comes of it is in [`crate::cache`].
    pub(super) fn sweep(&mut self, order: SweepOrder) -> Result<String, Refusal> {
        let sweep = self.shared.random_id("swp")?;
        if !self.shared.cache().begin(&sweep, Instant::now()) {
            return Err(Refusal::unavailable("busy", "too many sweeps wait already"));
        }
        self.outbox.push_back(HostCommand::Sweep { sweep: sweep.clone(), order });
        Ok(sweep)
    }

    /// What a service that is gone had for itself. Nobody waits for it, so it has no report.
    pub(super) fn sweep_destroyed(&mut self, service: &ServiceId) {
        let order = SweepOrder::Destroyed { service: service.clone() };
        self.outbox.push_back(HostCommand::Sweep { sweep: format!("destroyed-{service}"), order });
    }

    /// There since the last inventory.
    pub(super) fn note_made(&self, output: &PhaseOutput) {
        let layers: Vec<LayerRef> = match output {
            PhaseOutput::Environment { layers, .. } | PhaseOutput::Build { layers, .. } => layers.clone(),
            PhaseOutput::Install { layer, .. } => vec![layer.clone()],
            PhaseOutput::Source(_) | PhaseOutput::PreDeploy => return,
        };
        self.shared.cache().made(layers);
    }
}

impl Shared {
    /// Everything that must stay, and for whom: what the database says and what runs.
    pub(crate) async fn keepers(&self) -> Result<Keepers, StoreError> {
        let mut keepers = Keepers::default();
        for overview in self.store.overviews().await? {
            let (project, service) = (overview.service.project, overview.service.service);
            keepers.names.insert(overview.service.service_id, ServiceTitle { project, service });
        }
        let mut keep = |layer: LayerRef, keeper: &Keeper| {
            keepers.of.entry(layer).or_insert_with(BTreeSet::new).insert(keeper.clone());
        };
        // First what runs: a replica that is gone from there after this is in no need of its layers.
        for (keeper, layers) in self.fleet().kept() {
            layers.into_iter().for_each(|layer| keep(layer, &keeper));
        }
        for retained in self.store.retained(self.keep_releases).await? {
            retained.layers.into_iter().for_each(|layer| keep(layer, &retained.keeper));
        }
        Ok(keepers)
    }
}
