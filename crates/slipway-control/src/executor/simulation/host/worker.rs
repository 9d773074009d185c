//! The workers of a simulated host: what they are told, what they say, and that one may be stuck.

use super::{BEAT_MS, Host, Sent, Worker};
use crate::executor::simulation::Planted;
use slipway_types::host::{HostCommand, HostReport, PhaseOutcome, PhaseSpec};
use slipway_types::{DeploymentId, Phase};

impl Host {
    pub(super) fn claim(&mut self, worker: usize) {
        self.workers[worker] = Worker { claims: true, ..Worker::default() };
        self.tell(HostReport::Claim { worker: u32::try_from(worker).unwrap() });
    }

    pub(super) fn run(&mut self, worker: usize, spec: Box<PhaseSpec>) -> Result<String, String> {
        let phase = spec.work.phase();
        let said = format!("host: worker {worker} runs {phase} of {}", spec.deployment);
        // One that lost its deployment and does not know it stands still.
        let twice = |other: &Worker| {
            let same = other.running.as_ref().is_some_and(|other| other.service_id == spec.service_id);
            same && !(other.stuck
                && other.unheard.iter().any(|order| matches!(order, HostCommand::ReleaseWorker { .. })))
        };
        if self.workers.iter().enumerate().any(|(number, other)| number != worker && twice(other)) {
            return Err(format!("{said}, while another worker builds the service"));
        }
        let bound = &self.workers[worker].bound;
        match bound {
            Some(bound) if *bound != spec.deployment => {
                return Err(format!("{said}, but was not released from {bound}"));
            }
            None if !self.workers[worker].claims => return Err(format!("{said}, but has not claimed")),
            _ => {}
        }
        if let Some(running) = &self.workers[worker].running {
            return Err(format!("{said}, which has not ended {} yet", running.work.phase()));
        }
        let newest = self.attempts.insert(spec.deployment.clone(), spec.attempt).unwrap_or(0);
        if spec.attempt <= newest {
            return Err(format!("{said} as attempt {}, after attempt {newest}", spec.attempt));
        }
        if phase == Phase::PreDeploy {
            let count = self.migrations.entry(spec.deployment.clone()).or_default();
            *count += 1;
            if *count > 1 {
                return Err(format!("{said} for the {count}. time"));
            }
        }
        let (bound, attempt) = (Some(spec.deployment.clone()), spec.attempt);
        self.workers[worker] = Worker { bound, attempt, running: Some(spec), ..Worker::default() };
        Ok(said)
    }

    pub(super) fn cancel(&mut self, worker: usize) {
        if let Some(spec) = self.workers[worker].running.take() {
            self.finished(&spec, PhaseOutcome::Canceled);
        }
    }

    pub(super) fn finished(&mut self, spec: &PhaseSpec, outcome: PhaseOutcome) {
        let (deployment, phase) = (spec.deployment.clone(), spec.work.phase());
        let attempt = match self.planted {
            Some(Planted::HostForgetsAttempts) => self.attempts[&deployment],
            _ => spec.attempt,
        };
        let report = HostReport::PhaseFinished { deployment, attempt, phase, outcome };
        self.reports.push_back(Sent { report, attempt: Some(spec.attempt) });
    }

    /// Whom the command is for, when that one is stuck.
    pub(super) fn stuck_one(&mut self, command: &HostCommand) -> Option<&mut Worker> {
        let worker = match command {
            HostCommand::RunPhase { worker, .. } | HostCommand::ReleaseWorker { worker, .. } => {
                self.workers.get_mut(*worker as usize)
            }
            HostCommand::CancelPhase { deployment } => {
                self.workers.iter_mut().find(|worker| worker.bound.as_ref() == Some(deployment))
            }
            _ => None,
        };
        worker.filter(|worker| worker.stuck)
    }

    /// It goes on where it stood, and then hears what it missed.
    pub(super) fn wake(&mut self, worker: usize) -> String {
        self.workers[worker].stuck = false;
        let unheard = std::mem::take(&mut self.workers[worker].unheard);
        let mut said = format!("host: worker {worker} wakes");
        for command in unheard {
            // What is wrong with it was wrong when it was sent, and would have been said then.
            said.push_str(&format!("; {}", self.obey(command).unwrap_or_else(|wrong| wrong)));
        }
        said
    }

    /// Whoever is bound and not stuck says that it lives, once in a while.
    pub(in crate::executor::simulation) fn beat(&mut self, now_ms: i64) {
        if self.link.is_none() || now_ms < self.beaten_ms + BEAT_MS {
            return;
        }
        self.beaten_ms = now_ms;
        for number in 0..self.workers.len() {
            let worker = &self.workers[number];
            if let Some(deployment) = worker.bound.clone().filter(|_| !worker.stuck) {
                let (worker, attempt) = (u32::try_from(number).unwrap(), worker.attempt);
                self.tell(HostReport::Heartbeat { worker, deployment, attempt });
            }
        }
    }

    /// Until somebody speaks. None: nobody has anything to do.
    pub(in crate::executor::simulation) fn until_beat_ms(&self, now_ms: i64) -> Option<i64> {
        let speaks = |worker: &Worker| worker.bound.is_some() && !worker.stuck;
        let any = self.link.is_some() && self.workers.iter().any(speaks);
        any.then(|| (self.beaten_ms + BEAT_MS - now_ms).max(0))
    }

    pub(super) fn release(&mut self, worker: usize, deployment: &DeploymentId) -> Result<String, String> {
        let said = format!("host: worker {worker} is released from {deployment}");
        // Without any: the server could not do its part before the first phase was sent.
        if self.workers[worker].bound.as_ref().is_some_and(|bound| bound != deployment) {
            return Err(format!("{said}, but has {:?}", self.workers[worker].bound));
        }
        self.cancel(worker);
        self.claim(worker);
        Ok(said)
    }

    pub(super) fn end_phase(&mut self, worker: usize, outcome: impl Fn(&PhaseSpec) -> PhaseOutcome) -> String {
        let Some(spec) = self.workers[worker].running.take() else { return String::new() };
        let outcome = outcome(&spec);
        let word = if matches!(outcome, PhaseOutcome::Done(_)) { "is done" } else { "failed" };
        let said = format!("host: {} of {} {word}", spec.work.phase(), spec.deployment);
        self.finished(&spec, outcome);
        said
    }

    /// Workers that are bound to a deployment.
    pub(in crate::executor::simulation) fn bound(&self) -> Vec<&DeploymentId> {
        self.workers.iter().filter_map(|worker| worker.bound.as_ref()).collect()
    }
}
