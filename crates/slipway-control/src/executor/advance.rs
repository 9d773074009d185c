//! One decision: load, step, store, log, do.

use super::{Executor, Happening};
use crate::executor::fleet::replica_id;
use crate::executor::journal::outcome_event;
use crate::refusal::cause_chain;
use slipway_pipeline::{Action, DeploymentState, Event, PhaseChange, Transition, deadline, step};
use slipway_types::host::{HostCommand, PhaseSpec};
use slipway_types::{Blame, DeploymentId, Diagnosis, Phase};

/// How often a decision is made afresh because the row had changed meanwhile. Only this task changes states, so even
/// one such case is a surprise.
const ATTEMPTS_MAX: u32 = 5;

impl Executor {
    /// Gives a waiting deployment to each idle worker, the oldest first.
    pub(super) async fn assign(&mut self) {
        if self.idle_workers.is_empty() {
            return;
        }
        let waiting = match self.shared.store.waiting().await {
            Ok(waiting) => waiting,
            Err(error) => return tracing::error!(error = cause_chain(&error), "could not look for waiting deployments"),
        };
        let mut building = self.building_services();
        for worker in std::mem::take(&mut self.idle_workers) {
            let Some(next) = slipway_pipeline::next_build(&waiting, &building) else {
                self.idle_workers.insert(worker);
                continue;
            };
            building.push(next.service.clone());
            self.push(&next.deployment.clone(), Event::WorkerClaimed { worker });
        }
    }
}
