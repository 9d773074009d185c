//! Puts to sleep what the edge calls idle, and wakes what it has a request for. What sleeps is stored before the host is told,
//! so a server that comes back knows it.

use super::Executor;
use super::fleet::{SleepTimes, Turn};
use crate::refusal::cause_chain;
use slipway_types::host::{Evidence, ReplicaState};
use slipway_types::{DeploymentId, Image, Phase, ServiceKind, ServiceSettings};

/// Only a request wakes, so only what answers requests sleeps; files need no process.
pub(super) fn times(settings: &ServiceSettings, image: &Image) -> Option<SleepTimes> {
    let may = settings.kind == ServiceKind::Web && image.process().is_some();
    let after = settings.sleep_after.filter(|_| may)?;
    Some(SleepTimes { after, wait_max: settings.health.start_timeout })
}

impl Executor {
    /// Only what is live and settled sleeps: all else is on its way somewhere. The edge says it again.
    pub(super) fn idle(&mut self, deployment: &DeploymentId) {
        let service = self.shared.fleet().service_of(deployment).cloned();
        let live = service.and_then(|service| self.services.get(&service)?.live.clone());
        if live.as_ref() != Some(deployment) || self.active.contains_key(deployment) {
            return;
        }
        if self.shared.fleet().begin_sleep(deployment) {
            self.routes_changed = true;
            self.sleep_due = true;
        }
    }

    /// What is to sleep does so once nothing is in flight to it: a WebSocket that was opened at the last moment goes on.
    pub(super) async fn put_to_sleep(&mut self) {
        let falling = self.shared.fleet().falling();
        for deployment in falling {
            let replicas = self.shared.fleet().replicas(&deployment);
            if !replicas.iter().all(|replica| self.given.is_drained(replica)) {
                continue;
            }
            let Some(service) = self.shared.fleet().service_of(&deployment).cloned() else { continue };
            match self.shared.store.fall_asleep(self.shared.now(), &service, &deployment).await {
                Ok(true) => {
                    tracing::info!(%deployment, "falls asleep");
                    self.shared.fleet().fell_asleep(&deployment);
                    self.replicas_changed = true;
                }
                // Something else has gone live.
                Ok(false) => {
                    self.shared.fleet().stay_awake(&deployment);
                }
                Err(error) => {
                    tracing::error!(%deployment, error = cause_chain(&error), "a sleep could not be stored");
                    self.shared.fleet().stay_awake(&deployment);
                }
            }
            self.routes_changed = true;
        }
    }

    pub(super) async fn wake(&mut self, deployment: &DeploymentId) {
        if self.shared.fleet().stay_awake(deployment) {
            self.routes_changed = true;
            return;
        }
        let service = self.shared.fleet().service_of(deployment).cloned();
        let Some(service) = service.filter(|_| self.shared.fleet().is_asleep(deployment)) else { return };
        let now = self.shared.now();
        match self.shared.store.wake(now, &service, deployment).await {
            Ok(_) => {
                tracing::info!(%deployment, "is woken");
                self.shared.fleet().woken(now, deployment);
                self.replicas_changed = true;
                self.routes_changed = true;
            }
            // The edge asks again for a later request.
            Err(error) => tracing::error!(%deployment, error = cause_chain(&error), "a wake could not be stored"),
        }
    }

    /// A replica of it is in another state.
    pub(super) fn after_turn(&mut self, deployment: &DeploymentId, turn: Turn, state: &ReplicaState) {
        match turn {
            Turn::Nothing => return,
            Turn::Routes => {}
            Turn::Replicas => self.replicas_changed = true,
            Turn::WakeFailed => {
                let (ReplicaState::Unready { evidence } | ReplicaState::Failed { evidence }) = state else { return };
                self.wake_failed(deployment, evidence);
            }
        }
        self.routes_changed = true;
    }

    fn wake_failed(&mut self, deployment: &DeploymentId, evidence: &Evidence) {
        let Some(service) = self.shared.fleet().service_of(deployment).cloned() else { return };
        let masker = self.masker(&service);
        let mut evidence = evidence.clone();
        masker.mask_evidence(&mut evidence);
        evidence.phase.get_or_insert(Phase::Start);
        let mut diagnosis = slipway_build::diagnose(&evidence, None, &[]);
        masker.mask_diagnosis(&mut diagnosis);
        self.shared.fleet().wake_failed(deployment, diagnosis);
    }
}
