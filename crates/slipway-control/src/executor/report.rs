//! What the host and the edge say, turned into events of deployments. Reports come late, twice and about what is no more;
//! each is held against what is wanted now.

use super::fleet::Reported;
use super::work::Taken;
use super::{Executor, Happening};
use crate::log::mask::{Masker, NO_SECRETS};
use slipway_pipeline::Event;
use slipway_store::Change;
use slipway_types::agent::Stream;
use slipway_types::host::{Evidence, HostReport, PhaseOutcome, ReplicaState};
use slipway_types::route::EdgeReport;
use slipway_types::{DeploymentId, Diagnosis, Phase, ReplicaId, ServiceId};

impl Executor {
    pub(super) async fn host_report(&mut self, report: HostReport) {
        self.shared.metrics.host_said(&report);
        match report {
            HostReport::Claim { worker } => self.claim(worker),
            HostReport::Heartbeat { deployment, attempt, .. } => drop(self.hear_of(&deployment, attempt)),
            HostReport::Log { deployment, attempt, phase, stream, line } => {
                if self.hear_of(&deployment, attempt) {
                    self.phase_line(&deployment, phase, stream, &line);
                }
            }
            HostReport::PhaseFinished { deployment, attempt, phase, outcome } => {
                self.phase_finished(&deployment, phase, attempt, outcome).await;
            }
            HostReport::Replica { replica, state } => self.replica_report(&replica, state).await,
            HostReport::ReplicaLines(lines) => self.replica_lines(*lines),
            HostReport::Run(report) => self.run_report(*report).await,
            HostReport::ValuesTaken { replica, revision, trouble } => {
                Box::pin(self.variables_taken(&replica, revision, trouble)).await;
            }
            HostReport::RetentionWanted { request } => self.retain(request).await,
            HostReport::Swept(ended) => self.shared.cache().end(ended),
            HostReport::Inventory(inventory) => self.shared.cache().take_inventory(*inventory),
        }
    }

    /// A worker that claims while it is bound was lost and came back with nothing.
    fn claim(&mut self, worker: u32) {
        self.idle_workers.insert(worker);
        self.bound_workers.remove(&worker);
        self.assign_due = true;
        let bound = |active: &super::Active| active.state.worker() == Some(worker);
        let lost: Vec<_> =
            self.active.iter().filter(|(_, active)| bound(active)).map(|(deployment, _)| deployment.clone()).collect();
        for deployment in lost {
            self.push(&deployment, Event::Restarted { scratch_kept: false });
        }
    }

    fn phase_line(&self, deployment: &DeploymentId, phase: Phase, stream: Stream, line: &str) {
        if let Some(active) = self.active.get(deployment) {
            active.journal.line(self.shared.now(), phase, stream, line, self.masker(&active.service));
        }
    }

    pub(super) fn masker(&self, service: &ServiceId) -> &Masker {
        self.maskers.get(service).unwrap_or(&NO_SECRETS)
    }

    async fn phase_finished(&mut self, deployment: &DeploymentId, phase: Phase, attempt: u64, outcome: PhaseOutcome) {
        if let PhaseOutcome::Done(output) = &outcome {
            self.note_made(output);
        }
        if !self.hear_of(deployment, attempt) {
            // Whoever canceled it has settled the deployment already.
            if outcome != PhaseOutcome::Canceled {
                self.refuse_result(deployment, phase, attempt, outcome.as_str());
            }
            return;
        }
        if outcome != PhaseOutcome::Canceled {
            self.end_lease(deployment);
        }
        let Some(work) = self.active.get_mut(deployment).and_then(|active| active.work.as_mut()) else { return };
        match outcome {
            PhaseOutcome::Done(output) => match work.take(phase, output) {
                Taken::Done { skipped, lines, change } => {
                    if phase == Phase::Source {
                        self.log_plan(deployment);
                    }
                    for line in lines {
                        self.phase_line(deployment, phase, Stream::Stdout, &line);
                    }
                    let done = Event::PhaseDone { phase, attempt, skipped };
                    let happening = self.or_wants_memory(deployment, Happening { event: done, change: *change }).await;
                    self.push(deployment, happening);
                }
                Taken::NoPlan(diagnosis) => self.fail_phase(deployment, phase, Some(attempt), *diagnosis),
                Taken::Other => tracing::error!(%deployment, %phase, "the host answered with another phase's output"),
            },
            PhaseOutcome::Failed(evidence) => {
                let diagnosis = self.diagnose(deployment, phase, *evidence);
                self.fail_phase(deployment, phase, Some(attempt), diagnosis);
            }
            PhaseOutcome::Ignored => {
                let change = Change { note: Some(work.ignored()), ignored: true, ..Change::default() };
                self.push(deployment, Happening { event: Event::CancelRequested, change });
            }
            PhaseOutcome::Canceled => {}
        }
    }

    /// The decisions of the plan are the output of the source phase.
    fn log_plan(&self, deployment: &DeploymentId) {
        let Some(active) = self.active.get(deployment) else { return };
        let Some(planned) = active.work.as_ref().and_then(|work| work.planned()) else { return };
        for line in slipway_build::explain(&planned.plan) {
            self.phase_line(deployment, Phase::Source, Stream::Stdout, &line);
        }
    }

    /// `attempt`: of the worker whose phase it is.
    pub(super) fn fail_phase(
        &mut self,
        deployment: &DeploymentId,
        phase: Phase,
        attempt: Option<u64>,
        mut diagnosis: Diagnosis,
    ) {
        // Of a source without a plan too: it may quote a file that has a secret in it.
        if let Some(active) = self.active.get(deployment) {
            self.masker(&active.service).mask_diagnosis(&mut diagnosis);
        }
        let event = Event::PhaseFailed { phase, attempt, code: diagnosis.code.clone() };
        let change = Change { diagnosis: Some(diagnosis), ..Change::default() };
        self.push(deployment, Happening { event, change });
    }

    /// Masked before and after: a diagnosis quotes evidence, and may quote settings too.
    fn diagnose(&self, deployment: &DeploymentId, phase: Phase, mut evidence: Evidence) -> Diagnosis {
        evidence.phase.get_or_insert(phase);
        let active = self.active.get(deployment);
        let service = self.shared.fleet().service_of(deployment).cloned();
        let service = active.map(|active| &active.service).or(service.as_ref());
        let masker = service.map_or(&NO_SECRETS, |service| self.masker(service));
        masker.mask_evidence(&mut evidence);
        let planned = active.and_then(|active| active.work.as_ref()).and_then(|work| work.planned());
        let paths = active.and_then(|active| active.work.as_ref()).map_or(&[][..], |work| work.paths());
        let mut diagnosis = slipway_build::diagnose(&evidence, planned.map(|planned| &planned.plan), paths);
        masker.mask_diagnosis(&mut diagnosis);
        diagnosis
    }

    async fn replica_report(&mut self, replica: &ReplicaId, state: ReplicaState) {
        if matches!(state, ReplicaState::Stopped | ReplicaState::Failed { .. }) {
            // Its sandbox is gone: nothing can be in flight to it.
            self.given.forget(replica);
            self.check_drains();
            self.sleep_due = true;
        }
        let now = self.shared.now();
        let reported = self.shared.fleet().report(now, replica, state.clone());
        let Some(Reported { deployment, turn, turned_ready }) = reported else { return };
        self.after_turn(&deployment, turn, &state);
        self.routes_changed = true;
        self.restarts_due = true;
        if let Some(words) = turned_ready {
            self.note_ready(&deployment, replica, words).await;
        }
        if let ReplicaState::Unready { evidence } | ReplicaState::Failed { evidence } = &state {
            let phase = self.active_phase(&deployment).unwrap_or(Phase::Health);
            let diagnosis = self.diagnose(&deployment, phase, (**evidence).clone());
            self.note_trouble(&deployment, replica, (&state, evidence), &diagnosis).await;
            // Before it is live, one that crashes is as bad as one that never was ready.
            let ended = matches!(state, ReplicaState::Failed { .. }) || evidence.restart.is_some();
            if ended && self.active.contains_key(&deployment) {
                let event = Event::ReplicaFailed { code: diagnosis.code.clone() };
                let change = Change { diagnosis: Some(diagnosis), ..Change::default() };
                self.push(&deployment, Happening { event, change });
                return;
            }
        }
        if !self.active.contains_key(&deployment) {
            return;
        }
        let (started, ready) = {
            let fleet = self.shared.fleet();
            (fleet.all_started(&deployment), fleet.all_ready(&deployment))
        };
        if started {
            self.push(&deployment, Event::ReplicasStarted);
        }
        if ready {
            self.push(&deployment, Event::ReplicasReady);
        }
    }

    pub(super) async fn edge_report(&mut self, report: EdgeReport) {
        self.shared.metrics.edge_said(&report);
        match report {
            EdgeReport::Applied { generation, closing } => {
                self.given.applied(generation, closing);
                self.check_drains();
                self.sleep_due = true;
                let routing: Vec<_> = self.active.keys().cloned().collect();
                for deployment in routing {
                    if self.active_phase(&deployment) == Some(Phase::Route) {
                        self.push(&deployment, Event::Routed { generation });
                    }
                }
            }
            EdgeReport::Drained { replica } => {
                self.given.drained(&replica);
                self.check_drains();
                self.sleep_due = true;
            }
            EdgeReport::Idle { deployment } => self.idle(&deployment),
            EdgeReport::WakeWanted { deployment } => self.wake(&deployment).await,
        }
    }

    /// Every deployment that waits for former replicas hears when nothing is in flight to them any more.
    pub(super) fn check_drains(&mut self) {
        let draining = |active: &super::Active| active.state.phase() == Some(Phase::Drain);
        let waiting: Vec<_> = self
            .active
            .iter()
            .filter(|(_, active)| draining(active))
            .map(|(deployment, _)| deployment.clone())
            .collect();
        for deployment in waiting {
            let fleet = self.shared.fleet();
            let older = fleet.older(&deployment);
            let drained =
                older.iter().flat_map(|former| fleet.replicas(former)).all(|replica| self.given.is_drained(&replica));
            drop(fleet);
            if drained {
                self.push(&deployment, Event::Drained);
            }
        }
    }

    pub(super) fn active_phase(&self, deployment: &DeploymentId) -> Option<Phase> {
        self.active.get(deployment)?.state.phase()
    }
}
