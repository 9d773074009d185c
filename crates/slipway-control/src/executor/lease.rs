//! A worker has its deployment on lease: as long as it is heard of. One that is silent for [`LEASE`] has lost it; the deployment
//! goes on with another worker, and whatever the former one still says comes under the number of an attempt that is over.
//!
//! Nobody is judged by a server that was away itself, nor before it has heard what was said already.

use super::{Executor, Happening};
use slipway_pipeline::{Event, LEASE};
use slipway_store::Change;
use slipway_types::{DeploymentId, Phase};
use std::time::Duration;

/// Who looks so late was stopped, or starved: then so was whoever should have spoken.
const AWAY_FROM: Duration = Duration::from_secs(1);
/// What has come and was not heard yet is heard first. That takes well below a second, where the database answers.
const HEARING: Duration = Duration::from_secs(1);
/// …but a queue that is never empty, as of an app that prints without end, proves nothing for long.
const HEARINGS_MAX: u32 = 5;

/// Of the worker that runs a phase, from the moment that it is told to until it says how the phase ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    attempt: u64,
    /// By the clock that nobody sets.
    until: Duration,
    hearings: u32,
}

impl Executor {
    pub(super) fn grant_lease(&mut self, deployment: &DeploymentId, attempt: u64) {
        let until = self.shared.outside.elapsed() + LEASE;
        if let Some(active) = self.active.get_mut(deployment) {
            active.lease = Some(Lease { attempt, until, hearings: 0 });
        }
    }

    /// The worker was heard of. False: it speaks of an attempt that is over.
    pub(super) fn hear_of(&mut self, deployment: &DeploymentId, attempt: u64) -> bool {
        let until = self.shared.outside.elapsed() + LEASE;
        let Some(active) = self.active.get_mut(deployment) else { return false };
        if active.state.attempt() != Some(attempt) {
            return false;
        }
        if let Some(lease) = active.lease.as_mut().filter(|lease| lease.attempt == attempt) {
            (lease.until, lease.hearings) = (until, 0);
        }
        true
    }

    /// The phase has ended: what follows is for control to do.
    pub(super) fn end_lease(&mut self, deployment: &DeploymentId) {
        if let Some(active) = self.active.get_mut(deployment) {
            active.lease = None;
        }
    }

    /// A result of an attempt that is over: somebody else has the deployment now, or nobody.
    pub(super) fn refuse_result(&self, deployment: &DeploymentId, phase: Phase, attempt: u64, said: &str) {
        let now = self.active.get(deployment).and_then(|active| active.state.attempt());
        tracing::warn!(%deployment, %phase, attempt, ?now, said, "what an earlier attempt says is refused");
    }

    pub(super) fn until_next_lease(&self) -> Option<Duration> {
        let now = self.shared.outside.elapsed();
        let leases = self.active.values().filter_map(|active| active.lease.as_ref());
        leases.map(|lease| lease.until.saturating_sub(now)).min()
    }

    /// Takes the deployment from each worker that was silent for too long.
    pub(super) fn expire_leases(&mut self) {
        let now = self.shared.outside.elapsed();
        let unheard = !self.host.reports.is_empty();
        let mut expired = Vec::new();
        for (deployment, active) in &mut self.active {
            let Some(lease) = active.lease.as_mut().filter(|lease| lease.until <= now) else { continue };
            if now - lease.until > AWAY_FROM {
                (lease.until, lease.hearings) = (now + LEASE, 0);
            } else if unheard && lease.hearings < HEARINGS_MAX {
                lease.hearings += 1;
                lease.until = now + HEARING;
            } else {
                expired.push((deployment.clone(), lease.attempt, active.state.worker()));
                active.lease = None;
            }
        }
        for (deployment, attempt, worker) in expired {
            let seconds = LEASE.as_secs();
            let worker = worker.map_or_else(String::new, |worker| format!(" {worker}"));
            tracing::warn!(%deployment, attempt, worker, "a build worker was silent and has lost its deployment");
            let note =
                Some(format!("nothing was heard of build worker{worker} for {seconds} s: it has lost the deployment"));
            let change = Change { note, ..Change::default() };
            self.push(&deployment, Happening { event: Event::LeaseExpired { attempt }, change });
        }
    }
}
