//! What a server that comes back does before it hears anybody: replicas that are live are wanted again, asleep or not, under the same
//! ids, so that the host adopts those that run; every deployment on which something is to be done hears that the server
//! restarted. Nothing is sent to the host before all of it is known: a set that lacked a live replica would stop it.

use super::route::Routed;
use super::{Executor, ExecutorError, FIRST_TABLE_WAIT_MAX_MS, Fault};
use slipway_pipeline::Event;
use slipway_store::Generation;
use slipway_types::DeploymentStatus;
use std::collections::BTreeSet;

impl Executor {
    pub(super) async fn restore(&mut self) -> Result<(), ExecutorError> {
        self.restore_all().await.map_err(ExecutorError::Restore)
    }

    async fn restore_all(&mut self) -> Result<(), Fault> {
        self.begin_run().await?;
        let mut asleep = BTreeSet::new();
        for overview in self.shared.store.overviews().await? {
            asleep.extend(overview.service.asleep);
            let routed = Routed {
                project: overview.service.project,
                service: overview.service.service,
                kind: overview.kind,
                live: overview.service.live,
            };
            self.services.insert(overview.service.service_id, routed);
        }
        let mut awaited = BTreeSet::new();
        for row in self.shared.store.serving_deployments().await? {
            let deployment = &row.summary.deployment;
            match self.start_replicas(deployment).await {
                Ok(()) if asleep.contains(deployment) => self.shared.fleet().fell_asleep(deployment),
                Ok(()) if row.summary.status == DeploymentStatus::Live => {
                    self.shared.fleet().starts_again(deployment);
                    awaited.insert(deployment.clone());
                }
                Ok(()) => {}
                // Not live yet: it hears `Restarted` below and is ended for the same fault.
                Err(fault) if row.summary.status != DeploymentStatus::Live => {
                    tracing::warn!(%deployment, error = crate::refusal::cause_chain(&fault), "replicas can't start");
                }
                Err(fault) => return Err(fault),
            }
        }
        self.awaited = (!awaited.is_empty()).then(|| (self.shared.now() + FIRST_TABLE_WAIT_MAX_MS, awaited));
        for row in self.shared.store.active_deployments().await? {
            let opened = self.activate(&row);
            opened.map_err(|source| Fault::Log { deployment: row.summary.deployment.clone(), source })?;
            self.push(&row.summary.deployment, Event::Restarted { scratch_kept: false });
        }
        Ok(())
    }

    /// A disk that is full must not keep a server from starting: then the clock alone says which of two starts is newer.
    async fn begin_run(&self) -> Result<(), Fault> {
        let store = &self.shared.store;
        let run = match store.next_generation(Generation::Replicas).await {
            Ok(run) => run,
            Err(error) => {
                tracing::error!(error = crate::refusal::cause_chain(&error), "the start could not be counted");
                store.generation(Generation::Replicas).await? + 1
            }
        };
        self.shared.fleet().begin_run(self.shared.now(), run);
        Ok(())
    }
}
