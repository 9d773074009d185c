//! What happens to what is live: it crashes and comes back, or its owner wants it restarted, scaled, stopped, started.
//!
//! Each change of the replicas is stored before the host hears of it; a server that comes back goes on with it. A restart goes
//! from step to step with the reports of replicas, and gives up when a new one does not become ready.

use super::Executor;
use super::fleet::Trouble;
use crate::refusal::{Refusal, cause_chain};
use slipway_pipeline::Roster;
use slipway_store::{OfReplica, RosterChange};
use slipway_types::host::{Evidence, ExitFacts, ReplicaState, Restart};
use slipway_types::{DeploymentId, Diagnosis, ReplicaId, RunId, ServiceId};

/// What an owner wants of what is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Restart,
    /// So many replicas; 1 at least.
    Scale(u32),
    Stop,
    Start,
}

impl Executor {
    pub(super) async fn supervise(&mut self, service: &ServiceId, order: Order) -> Result<(), Refusal> {
        let live = self.shared.store.service(service).await?.live;
        let rostered = live.and_then(|live| {
            let roster = self.shared.fleet().roster(&live)?.clone();
            Some((live, roster))
        });
        let Some((live, roster)) = rostered else {
            return Err(Refusal::conflict("nothing-live", "nothing of the service is live")
                .hint("`slipway up` deploys a directory, `slipway rollback` takes an earlier release back"));
        };
        let (is_site, asleep) = {
            let fleet = self.shared.fleet();
            (fleet.is_site(&live), fleet.is_asleep(&live))
        };
        if is_site && matches!(order, Order::Restart | Order::Scale(_)) {
            return Err(Refusal::conflict("no-process", "the service is a site of files: it has no process"));
        }
        let changed = match order {
            Order::Restart if roster.is_stopped() => {
                return Err(
                    Refusal::conflict("service-stopped", "the service is stopped").hint("`slipway start` starts it")
                );
            }
            // Its next request starts it afresh.
            Order::Restart if asleep => return Ok(()),
            Order::Restart => {
                let restarted = roster.restarted();
                restarted.step(|_| false).unwrap_or(restarted)
            }
            Order::Scale(count) => roster.scaled(count),
            Order::Stop => roster.stopped(),
            Order::Start => roster.started(),
        };
        let replicas = match order {
            Order::Scale(count) => Some(count),
            _ => None,
        };
        if changed == roster && replicas.is_none() {
            return Ok(());
        }
        let event = Some(told(order, &roster));
        let change = RosterChange { roster: changed, replicas, event, gives_up: false };
        if !self.shared.store.put_roster(self.shared.now(), service, &live, &change).await? {
            return Err(Refusal::conflict("nothing-live", "something else went live just now").hint("try it again"));
        }
        self.enroll(&live, change.roster);
        if order == Order::Restart {
            self.shared.fleet().restart_begins(&live);
        }
        Ok(())
    }

    /// It is stored that these run.
    pub(super) fn enroll(&mut self, deployment: &DeploymentId, roster: Roster) {
        let now = self.shared.now();
        let leave = i64::try_from(self.shared.drain_timeout.as_millis()).unwrap_or(i64::MAX);
        let enrolled = self.shared.fleet().enroll((now, now.saturating_add(leave)), deployment, roster);
        if let Err(error) = enrolled {
            tracing::error!(%deployment, %error, "a replica has no id");
        }
        self.replicas_changed = true;
        self.routes_changed = true;
        // One that goes makes room for the next at once, also when it was the one that a restart waited for.
        self.restarts_due = true;
    }

    /// Those that leave and have nothing in flight any more.
    pub(super) fn let_go(&mut self) {
        let now = self.shared.now();
        let given = &self.given;
        if self.shared.fleet().let_go(now, |replica| given.is_drained(replica)) {
            self.replicas_changed = true;
        }
    }

    pub(super) async fn go_on_with_restarts(&mut self) {
        let restarting = self.shared.fleet().restarting();
        for deployment in restarting {
            let next = self.shared.fleet().next_step(&deployment);
            let Some(next) = next else { continue };
            let event =
                (next.left_to_replace() == 0).then(|| ("service-restarted", "every replica was replaced".to_owned()));
            let change = RosterChange { roster: next, replicas: None, event, gives_up: false };
            self.take_step(&deployment, change).await;
        }
    }

    /// False: it could not be stored, and is tried again, or is not to be.
    async fn take_step(&mut self, deployment: &DeploymentId, change: RosterChange) -> bool {
        let Some(service) = self.shared.fleet().service_of(deployment).cloned() else { return false };
        match self.shared.store.put_roster(self.shared.now(), &service, deployment, &change).await {
            Ok(true) => {
                self.enroll(deployment, change.roster);
                self.shared.fleet().restart_goes_on(deployment);
                true
            }
            // Something else is live, and takes its place as a whole.
            Ok(false) => false,
            Err(error) => {
                tracing::error!(%deployment, error = cause_chain(&error), "a restart could not be stored");
                self.decide_again();
                false
            }
        }
    }

    /// A replica is not ready any more, or never was: its owner sees it, and what must follow does.
    pub(super) async fn note_trouble(
        &mut self,
        deployment: &DeploymentId,
        replica: &ReplicaId,
        (state, evidence): (&ReplicaState, &Evidence),
        diagnosis: &Diagnosis,
    ) {
        let Evidence { exit, restart, .. } = *evidence;
        let trouble = Trouble { at: self.shared.now(), diagnosis: diagnosis.clone(), exit, restart };
        self.shared.fleet().note_trouble(replica, trouble);
        let has_failed = matches!(state, ReplicaState::Failed { .. });
        let kind = match (has_failed, exit, restart, &evidence.health) {
            (true, ..) => "replica-failed",
            (false, Some(_), Some(_), _) => "replica-exited",
            (false, None, Some(_), Some(_)) => "replica-hung",
            (false, ..) => "replica-unready",
        };
        self.tell_of_replica(deployment, replica, kind, &sentence(replica, evidence, diagnosis)).await;
        if restart.is_some_and(|restart| restart.crashes == slipway_types::host::CRASH_LOOP_FROM) {
            let message = format!("replica {replica} crashes again and again ({})", diagnosis.code);
            self.tell_of_replica(deployment, replica, "replica-crash-looping", &message).await;
        }
        let ended = has_failed || restart.is_some();
        if restart.is_some() {
            self.shared.metrics.replica_ended();
        }
        if ended && self.shared.fleet().is_replacement(deployment, replica) {
            self.give_up_restart(deployment, diagnosis).await;
        } else if restart.is_some() && is_the_apps_own(evidence) {
            self.take_back(deployment, diagnosis).await;
        }
    }

    pub(super) async fn note_ready(&mut self, deployment: &DeploymentId, replica: &ReplicaId, words: &str) {
        self.tell_of_replica(deployment, replica, "replica-ready", &format!("replica {replica} {words}")).await;
    }

    /// Into the past of its service: what `slipway events` shows of it.
    pub(super) async fn tell_of_replica(
        &self,
        deployment: &DeploymentId,
        replica: &ReplicaId,
        kind: &str,
        message: &str,
    ) {
        let (service, run) = {
            let fleet = self.shared.fleet();
            (fleet.service_of(deployment).cloned(), fleet.run_of(replica))
        };
        let Some(service) = service else { return };
        self.tell_of_run((&service, deployment), (replica, run.as_ref()), kind, message).await;
    }

    pub(super) async fn tell_of_run(
        &self,
        (service, deployment): (&ServiceId, &DeploymentId),
        (replica, run): (&ReplicaId, Option<&RunId>),
        kind: &str,
        message: &str,
    ) {
        let message = self.masker(service).mask(message);
        let (now, of) = (self.shared.now(), OfReplica { replica, run });
        let added = self.shared.store.add_replica_event(now, service, deployment, of, (kind, &message)).await;
        if let Err(error) = added {
            tracing::error!(%deployment, error = cause_chain(&error), "an event could not be stored");
        }
    }

    async fn give_up_restart(&mut self, deployment: &DeploymentId, diagnosis: &Diagnosis) {
        let Some(before) = self.shared.fleet().roster(deployment).cloned() else { return };
        let message = format!("the restart was given up, and the other replicas stay: {}", diagnosis.what);
        let event = Some(("service-restart-failed", message));
        // With some of them in force, variables that came with the restart are.
        let gives_up = before.has_replaced_none();
        let change = RosterChange { roster: before.given_up(), replicas: None, event, gives_up };
        if self.take_step(deployment, change).await {
            self.shared.fleet().restart_fails(deployment, diagnosis.clone());
            if gives_up {
                self.read_variables(deployment).await;
            }
        }
    }

    /// A crash soon after it went live brings back what was live before. Which one, and whether, the store decides.
    async fn take_back(&mut self, deployment: &DeploymentId, diagnosis: &Diagnosis) {
        let service = self.shared.fleet().service_of(deployment).cloned();
        let live = service.and_then(|service| self.services.get(&service)?.live.clone());
        if live.as_ref() != Some(deployment) {
            return;
        }
        let Ok(back) = self.new_deployment_id() else { return };
        let diagnosis = diagnosis.clone().hint(
            "it crashed soon after it went live, and what was live before is brought back: mend it, then deploy again",
        );
        match self.shared.store.take_back(self.shared.now(), deployment, &diagnosis, &back).await {
            Ok(Some(applied)) => {
                tracing::warn!(%deployment, code = diagnosis.code, %back, "crashed soon after it went live, and is taken back");
                self.absorb(applied).await;
            }
            Ok(None) => {}
            // The next crash asks again.
            Err(error) => tracing::error!(%deployment, error = cause_chain(&error), "a crash could not be stored"),
        }
    }
}

/// Not of the host, nor of somebody who killed its process: an app is ended by SIGKILL from outside alone, or for memory.
fn is_the_apps_own(evidence: &Evidence) -> bool {
    const KILLED: i32 = 9;
    let killed = |exit: ExitFacts| exit.signal == Some(KILLED) || exit.code == Some(128 + KILLED);
    let from_outside = evidence.exit.is_some_and(|exit| killed(exit) && !exit.out_of_memory);
    evidence.host_error.is_none() && !from_outside
}

/// Kind and message of the event.
fn told(order: Order, before: &Roster) -> (&'static str, String) {
    match order {
        Order::Restart => ("service-restarting", format!("{} replicas are replaced one by one", before.count())),
        Order::Scale(count) => ("service-scaled", format!("from {} replicas to {count}", before.count())),
        Order::Stop => ("service-stopped", "its owner has stopped it".to_owned()),
        Order::Start => ("service-started", "its owner has started it".to_owned()),
    }
}

fn sentence(replica: &ReplicaId, evidence: &Evidence, diagnosis: &Diagnosis) -> String {
    let mut text = format!("replica {replica}: {}", diagnosis.what);
    if let Some(exit) = evidence.exit {
        let words = slipway_build::exit_words(exit);
        if !diagnosis.what.contains(&words) {
            text.push_str(&format!("; it {words}"));
        }
    }
    if let Some(Restart { crashes, pause_ms }) = evidence.restart {
        let seconds = seconds(pause_ms);
        text.push_str(&format!("; it starts again in {seconds} s (end number {crashes} since it last ran well)"));
    }
    text
}

/// With one digit.
fn seconds(ms: u64) -> String {
    format!("{}.{}", ms / 1000, ms % 1000 / 100)
}
