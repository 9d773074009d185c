//! One event to one deployment: the store decides and writes, then what was decided is logged and done.

use super::{Active, Executor, Fault, Happening};
use crate::executor::journal::{Journal, outcome_event};
use crate::refusal::cause_chain;
use crate::view;
use slipway_pipeline::{Deadline, DeploymentState, Event, deadline};
use slipway_store::{Applied, DeploymentRow, StoreError};
use slipway_types::api::DeploymentEvent;
use slipway_types::settings::ServiceSettings;
use slipway_types::{DeploymentId, Phase};
use std::collections::BTreeMap;
use std::io;

/// After a failed write: a full disk or a locked database may be over soon.
const DECIDE_AGAIN_MS: i64 = 1000;
/// A deadline that has passed without a change of state (a route that is given again) is due again after this.
const DEADLINE_AGAIN_MS: i64 = 5000;

/// A deployment as it is stored now.
struct Stored {
    row: DeploymentRow,
    /// Whom the live pointer of its service names.
    live: Option<DeploymentId>,
}

impl Executor {
    pub(super) async fn advance(&mut self, deployment: &DeploymentId, happening: Happening) {
        // In the order in which it happened: a restart that is heard of twice, or late, would take a deployment from a worker that
        // was given it since.
        if self.again.iter().any(|(waiting, _)| waiting == deployment) {
            return self.keep(deployment, happening);
        }
        let Happening { event, change } = happening;
        match self.shared.store.apply(self.shared.now(), deployment, &event, &change).await {
            Ok(applied) => self.absorb(applied).await,
            // Destroyed meanwhile: nothing is left to decide about.
            Err(StoreError::Missing { .. }) => {
                self.active.remove(deployment);
            }
            Err(error) => {
                tracing::error!(%deployment, ?event, error = cause_chain(&error), "a decision could not be stored");
                self.rearm(deployment);
                self.keep(deployment, Happening { event, change });
            }
        }
    }

    /// To be decided on again. A deadline comes again by itself.
    fn keep(&mut self, deployment: &DeploymentId, happening: Happening) {
        let same = |(other, kept): &(DeploymentId, Happening)| other == deployment && kept.event == happening.event;
        if !matches!(happening.event, Event::TimedOut { .. }) && !self.again.iter().any(same) {
            self.again.push((deployment.clone(), happening));
            self.decide_again();
        }
    }

    /// An absolute time: one that counted from now would be put off by each report that comes in between.
    pub(super) fn decide_again(&mut self) {
        let at = self.shared.now() + DECIDE_AGAIN_MS;
        self.again_at.get_or_insert(at);
    }

    /// Logs what the store has decided and does what is left to do, also for other deployments of the service.
    pub(super) async fn absorb(&mut self, applied: Applied) {
        self.assign_due |= applied.changed;
        self.unread.push_back(applied);
        self.read_unread().await;
    }

    /// What is decided is read again before anything of it is done: what is held in memory must not stay behind, or all that
    /// follows would be decided on the state before. A database that can't be read is asked again later.
    pub(super) async fn read_unread(&mut self) {
        while let Some(applied) = self.unread.front() {
            match self.stored_of(applied).await {
                Ok(stored) => {
                    if let Some(applied) = self.unread.pop_front() {
                        Box::pin(self.carry_out(applied, stored)).await;
                    }
                }
                Err(error) => {
                    tracing::error!(error = cause_chain(&error), "what was decided could not be read");
                    return self.decide_again();
                }
            }
        }
    }

    /// The deployments that it is about, and their services. Those that are destroyed meanwhile are left out.
    async fn stored_of(&self, applied: &Applied) -> Result<BTreeMap<DeploymentId, Stored>, StoreError> {
        let touched = applied.news.iter().map(|(id, _)| id).chain(applied.actions.iter().map(|(id, _)| id));
        let mut stored = BTreeMap::new();
        for deployment in touched {
            if stored.contains_key(deployment) {
                continue;
            }
            let read = async {
                let row = self.shared.store.deployment(deployment).await?;
                let live = self.shared.store.service(&row.summary.service_id).await?.live;
                Ok(Stored { row, live })
            };
            match read.await {
                Ok(both) => drop(stored.insert(deployment.clone(), both)),
                Err(StoreError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(stored)
    }

    async fn carry_out(&mut self, applied: Applied, stored: BTreeMap<DeploymentId, Stored>) {
        for Stored { row, .. } in stored.values() {
            if let Err(error) = self.activate(row) {
                tracing::error!(deployment = %row.summary.deployment, %error, "could not open a deployment's log");
            }
        }
        for (deployment, event) in &applied.news {
            self.tell(deployment, event);
        }
        for one in stored.values() {
            self.update(one);
        }
        for (deployment, action) in applied.actions {
            if let Err(fault) = self.perform(&deployment, &action).await {
                self.fail_for(&deployment, &fault);
            }
        }
        for (deployment, Stored { row, .. }) in stored {
            if !row.state.is_active() {
                self.active.remove(&deployment);
            }
        }
    }

    /// A fault of ours ends the deployment rather than leave it where it is for ever.
    fn fail_for(&mut self, deployment: &DeploymentId, fault: &Fault) {
        tracing::error!(%deployment, error = cause_chain(fault), "what was decided could not be done");
        let phase = self.active_phase(deployment).unwrap_or(Phase::Source);
        self.fail_phase(deployment, phase, None, fault.diagnosis(phase));
    }

    /// Something is still to be done on the deployment: it is kept at hand.
    pub(super) fn activate(&mut self, row: &DeploymentRow) -> io::Result<()> {
        let id = &row.summary.deployment;
        if !row.state.is_active() || self.active.contains_key(id) {
            return Ok(());
        }
        let journal = Journal::new(self.shared.logs.deployment(id)?, row.summary.status.is_settled());
        let active = Active {
            service: row.summary.service_id.clone(),
            journal,
            work: None,
            state: row.state.clone(),
            settings: row.settings.clone().unwrap_or_default(),
            deadline: None,
            lease: None,
        };
        self.active.insert(id.clone(), active);
        Ok(())
    }

    /// Into the deployment's log, whether or not anything is still to be done on it.
    fn tell(&mut self, deployment: &DeploymentId, event: &DeploymentEvent) {
        self.shared.metrics.deployment_said(event);
        if let DeploymentEvent::Status { status, .. } = event {
            tracing::info!(%deployment, %status, "deployment");
        }
        match self.active.get(deployment) {
            Some(active) => active.journal.write(event),
            None => match self.shared.logs.deployment(deployment) {
                Ok(log) => Journal::new(log, true).write(event),
                Err(error) => tracing::error!(%deployment, %error, "could not open a deployment's log"),
            },
        }
    }

    /// Takes over what is stored now: state, deadline, live pointer; and ends the log when the outcome is known.
    fn update(&mut self, stored: &Stored) {
        let now = self.shared.now();
        self.update_service(stored);
        let row = &stored.row;
        let drain_timeout_ms = i64::try_from(self.shared.drain_timeout.as_millis()).unwrap_or(i64::MAX);
        let Some(active) = self.active.get_mut(&row.summary.deployment) else { return };
        let former = due(&active.state, &active.settings, drain_timeout_ms);
        active.state = row.state.clone();
        if let Some(settings) = &row.settings {
            active.settings = settings.clone();
        }
        let wanted = due(&row.state, &active.settings, drain_timeout_ms);
        active.deadline = wanted.map(|wanted| armed(now, wanted, former, active.deadline));
        if row.summary.status.is_settled() && !active.journal.ended {
            active.journal.ended = true;
            let view = view::deployment(&self.shared.server, row.summary.clone());
            if let Some(event) = outcome_event(now, view) {
                active.journal.write(&event);
            }
        }
    }

    /// The live pointer is the database's: an older deployment that finishes its clean-up must not move it back.
    fn update_service(&mut self, Stored { row, live }: &Stored) {
        let summary = &row.summary;
        let routed = self.services.entry(summary.service_id.clone()).or_insert_with(|| super::route::Routed {
            project: summary.project.clone(),
            service: summary.service.clone(),
            kind: summary.kind,
            live: None,
        });
        routed.live.clone_from(live);
        if routed.live.as_ref().is_none_or(|live| *live == summary.deployment) {
            routed.kind = summary.kind;
        }
        self.routes_changed = true;
    }

    /// After a failure of ours the deadline, which was taken, comes again.
    fn rearm(&mut self, deployment: &DeploymentId) {
        let now = self.shared.now();
        if let Some(active) = self.active.get_mut(deployment)
            && let Some(phase) = active.state.phase()
            && active.deadline.is_none()
        {
            active.deadline = Some(Deadline { phase, at: now + DEADLINE_AGAIN_MS });
        }
    }

    /// After [`Event::TimedOut`] that changed nothing.
    pub(super) fn timed_out(&mut self, deployment: &DeploymentId, phase: Phase) {
        self.push(deployment, Event::TimedOut { phase });
        let now = self.shared.now();
        if let Some(active) = self.active.get_mut(deployment) {
            active.deadline = Some(Deadline { phase, at: now + DEADLINE_AGAIN_MS });
        }
    }
}

fn due(state: &DeploymentState, settings: &ServiceSettings, drain_timeout_ms: i64) -> Option<Deadline> {
    let mut deadline = deadline(state, settings)?;
    if let DeploymentState::Draining { since, .. } = state {
        deadline.at = since.saturating_add(drain_timeout_ms);
    }
    Some(deadline)
}

/// When the `wanted` deadline is due. That of a new state may have passed while the state was stored and read: it is due at once.
/// `present`, for the same deadline as the `former` one, may be its return, which no other event puts off.
fn armed(now: i64, wanted: Deadline, former: Option<Deadline>, present: Option<Deadline>) -> Deadline {
    match present {
        _ if former != Some(wanted) => wanted,
        Some(present) => present,
        // Passed while there was no server: others may have something to say first.
        None if wanted.at <= now => Deadline { at: now + DEADLINE_AGAIN_MS, ..wanted },
        None => wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_passed_unseen_is_due_at_once_and_one_that_was_due_comes_again_later() {
        let drain = |at| Deadline { phase: Phase::Drain, at };
        let route = Some(Deadline { phase: Phase::Route, at: 9_000 });
        for (what, former, present, expected) in [
            ("of a new state", route, route, 1_000),
            ("of the first state", None, None, 1_000),
            ("armed, and not seen yet", Some(drain(1_000)), Some(drain(1_000)), 1_000),
            ("on its way back", Some(drain(1_000)), Some(drain(5_500)), 5_500),
            ("of a state before a restart", Some(drain(1_000)), None, 1_050 + DEADLINE_AGAIN_MS),
        ] {
            assert_eq!(armed(1_050, drain(1_000), former, present), drain(expected), "{what}");
        }
        assert_eq!(armed(900, drain(1_000), Some(drain(1_000)), None), drain(1_000), "to come");
    }
}
