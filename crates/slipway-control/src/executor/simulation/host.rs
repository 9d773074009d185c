//! A host as the executor can tell it from a real one: it keeps to what `slipway_host` promises (`worker.rs`, `fleet.rs`,
//! `replica.rs`), in an order and at a pace that the seed decides. It is also a witness: what no executor may ask of a host is
//! a violation here.

mod worker;

use super::Planted;
use slipway_testing::phases;
use slipway_types::host::{
    Evidence, ExitFacts, HostCommand, HostReport, PhaseOutcome, PhaseOutput, PhaseSpec, PhaseWork, ReplicaSet,
    ReplicaSpec, ReplicaState, Restart,
};
use slipway_types::route::Endpoint;
use slipway_types::settings::ReloadMode;
use slipway_types::source::SourceFacts;
use slipway_types::{DeploymentId, ReplicaId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tokio::sync::mpsc;

#[derive(Debug)]
pub(super) struct HostEnd {
    pub(super) commands: mpsc::Receiver<HostCommand>,
    pub(super) reports: mpsc::Sender<HostReport>,
}

#[derive(Debug, Default)]
struct Worker {
    /// Claimed, and was given nothing yet.
    claims: bool,
    bound: Option<DeploymentId>,
    running: Option<Box<PhaseSpec>>,
    /// What runs never ends by itself.
    hangs: bool,
    /// It stands still, and hears nothing; as one whose disk does not answer.
    stuck: bool,
    /// Orders that came meanwhile.
    unheard: VecDeque<HostCommand>,
    /// Of its deployment, the newest.
    attempt: u64,
}

/// On its way to control.
#[derive(Debug)]
struct Sent {
    report: HostReport,
    /// Of a phase that ended: the attempt that it truly was, whatever the report says.
    attempt: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Booting,
    Starting,
    Ready,
    Pausing,
    Failed,
    Stopping,
    Asleep,
}

#[derive(Debug)]
struct Member {
    spec: ReplicaSpec,
    life: Life,
    was_ready: bool,
    /// The revision of the variables that its app has.
    has: u64,
    /// How often it ended.
    crashes: u32,
    port: u16,
}

impl Member {
    fn is_to_be_told(&self) -> bool {
        self.life == Life::Ready && self.spec.reload == ReloadMode::Signal && self.has != self.spec.env_revision
    }
}

/// How an app is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum App {
    Good,
    Exits,
    /// It never answers, and the host says nothing of it.
    Silent,
}

/// Something that goes on at the host.
#[derive(Debug, Clone)]
pub(super) enum Doing {
    PhaseEnds(usize),
    PhaseFails(usize),
    PhaseHangs(usize),
    WorkerSticks(usize),
    /// It hears what it missed.
    WorkerWakes(usize),
    /// It ends its phase first.
    WorkerWakesLate(usize),
    Replica(ReplicaId),
    Crashes(ReplicaId),
    /// Of its new variables.
    Told(ReplicaId),
    CannotBeTold(ReplicaId),
}

#[derive(Debug, Default)]
pub(super) struct Host {
    link: Option<HostEnd>,
    planted: Option<Planted>,
    workers: Vec<Worker>,
    members: BTreeMap<ReplicaId, Member>,
    wanted: Option<ReplicaSet>,
    /// Sandboxes of a former run, until the first set says what is wanted; with what its app runs, where it does.
    adopted: BTreeMap<ReplicaId, Option<u64>>,
    /// The next set is the first of its link: the state of each replica is said again.
    link_is_new: bool,
    /// Of the link, for what an executor promises.
    last_generation: u64,
    /// Some apps are bad.
    bad_apps: bool,
    reports: VecDeque<Sent>,
    /// The newest that was given out.
    attempts: BTreeMap<DeploymentId, u64>,
    /// When workers spoke last.
    beaten_ms: i64,
    /// How often each was begun.
    migrations: BTreeMap<DeploymentId, u32>,
    /// Sets that lost their way with an earlier link.
    late: Vec<ReplicaSet>,
    boots: u16,
}

pub(super) const WORKERS: usize = 2;
/// Rarer than in earnest, to save steps, and still within a lease.
const BEAT_MS: i64 = 8_000;

impl Host {
    pub(super) fn new(planted: Option<Planted>, bad_apps: bool) -> Self {
        Self { planted, bad_apps, ..Self::default() }
    }

    /// What broke is made again: builds have ended, every worker claims, and what runs is said after the first set.
    pub(super) fn connect(&mut self, link: HostEnd) {
        self.disconnect();
        self.link = Some(link);
        self.link_is_new = true;
        for worker in 0..WORKERS {
            self.claim(worker);
        }
    }

    /// The other end is gone, and with it all that was on its way; but a set may turn up later.
    pub(super) fn disconnect(&mut self) {
        if let Some(mut link) = self.link.take() {
            while let Ok(command) = link.commands.try_recv() {
                if let HostCommand::Replicas(set) = command {
                    self.late.push(set);
                }
            }
            // One that was taken may come once more.
            self.late.extend(self.wanted.clone());
        }
        self.reports.clear();
        self.workers = (0..WORKERS).map(|_| Worker::default()).collect();
    }

    /// The process of the host is over. `sandboxes`: they live on in their shims.
    pub(super) fn end(&mut self, sandboxes: bool) {
        self.disconnect();
        self.late.clear();
        self.wanted = None;
        let running = |member: &Member| matches!(member.life, Life::Starting | Life::Ready | Life::Stopping);
        let booted = |member: &Member| running(member) || member.life == Life::Booting;
        let members = std::mem::take(&mut self.members);
        let adopted = members
            .into_iter()
            .filter(|(_, member)| booted(member))
            .map(|(id, member)| (id, running(&member).then_some(member.has)));
        let adopted: BTreeMap<_, _> = adopted.collect();
        self.adopted.extend(adopted);
        if !sandboxes {
            self.adopted.clear();
        }
    }

    /// Takes the next command. None: there is none.
    pub(super) fn take(&mut self) -> Option<Result<String, String>> {
        let command = self.link.as_mut()?.commands.try_recv().ok()?;
        Some(self.obey(command))
    }

    fn obey(&mut self, command: HostCommand) -> Result<String, String> {
        if let Some(stuck) = self.stuck_one(&command) {
            stuck.unheard.push_back(command);
            return Ok("host: a worker that is stuck does not hear".to_owned());
        }
        match command {
            HostCommand::RunPhase { worker, spec } => self.run(worker as usize, spec),
            HostCommand::CancelPhase { deployment } => {
                let its = |worker: &Worker| worker.bound.as_ref() == Some(&deployment);
                if let Some(worker) = self.workers.iter().position(its) {
                    self.cancel(worker);
                }
                Ok(format!("host: cancel {deployment}"))
            }
            HostCommand::ReleaseWorker { worker, deployment } => self.release(worker as usize, &deployment),
            HostCommand::Replicas(set) => {
                if set.generation <= self.last_generation {
                    return Err(format!("set {} came after set {}", set.generation, self.last_generation));
                }
                self.last_generation = set.generation;
                let said = said(&set);
                self.want(set);
                Ok(said)
            }
            HostCommand::LinesTaken { run, .. } => Ok(format!("host: lines of {run} are written")),
            HostCommand::Retain(_) => Ok("host: told what to keep".to_owned()),
            HostCommand::Sweep { sweep, .. } => Ok(format!("host: sweep {sweep}")),
        }
    }

    fn tell(&mut self, report: HostReport) {
        self.reports.push_back(Sent { report, attempt: None });
    }

    /// A set that went astray arrives after all.
    pub(super) fn take_late(&mut self) -> Option<String> {
        let set = self.late.pop()?;
        let said = format!("{}, late", said(&set));
        self.want(set);
        Some(said)
    }

    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty() && self.link.is_some()
    }

    fn want(&mut self, set: ReplicaSet) {
        let newest = self.wanted.as_ref().map(|wanted| wanted.generation);
        if newest > Some(set.generation) && self.planted != Some(Planted::HostTakesOlderSets) {
            return;
        }
        self.wanted = Some(set);
        self.reconcile();
        self.adopted.clear();
        if std::mem::take(&mut self.link_is_new) {
            let states: Vec<_> = self.members.keys().cloned().collect();
            states.iter().for_each(|replica| self.say(replica));
        }
    }

    fn reconcile(&mut self) {
        let wanted = self.wanted.as_ref().map(|set| set.replicas.clone()).unwrap_or_default();
        let named: BTreeMap<ReplicaId, ReplicaSpec> =
            wanted.into_iter().map(|spec| (spec.replica.clone(), spec)).collect();
        self.members.retain(|id, member| match member.life {
            Life::Failed => named.get(id).is_some_and(|spec| !spec.asleep),
            Life::Asleep => named.get(id).is_some_and(|spec| spec.asleep),
            Life::Booting | Life::Starting | Life::Ready | Life::Pausing | Life::Stopping => true,
        });
        for (id, member) in &mut self.members {
            let runs = matches!(member.life, Life::Booting | Life::Starting | Life::Ready | Life::Pausing);
            if runs && named.get(id).is_none_or(|spec| spec.asleep) {
                member.life = Life::Stopping;
            }
        }
        for (id, spec) in named {
            if let Some(member) = self.members.get_mut(&id) {
                (member.spec.env, member.spec.env_revision) = (spec.env, spec.env_revision);
                continue;
            }
            let runs_with = self.adopted.remove(&id).flatten();
            let life = match (spec.asleep, runs_with.is_some()) {
                (true, _) => Life::Stopping,
                (false, true) => Life::Starting,
                (false, false) => Life::Booting,
            };
            let was_ready = spec.served;
            self.boots += 1;
            let has = runs_with.unwrap_or(spec.env_revision);
            self.members.insert(id.clone(), Member { spec, life, was_ready, has, crashes: 0, port: self.boots });
            if life == Life::Starting {
                self.say(&id);
            }
        }
    }

    /// The state of a replica, where it is one that is reported.
    fn say(&mut self, replica: &ReplicaId) {
        let Some(member) = self.members.get(replica) else { return };
        let state = match member.life {
            Life::Starting if !member.was_ready => ReplicaState::Starting,
            Life::Ready => ReplicaState::Ready { at: Endpoint::Address(([10, 0, 0, 1], member.port).into()) },
            Life::Pausing => {
                let restart = Some(Restart { crashes: member.crashes, pause_ms: 1_000 });
                ReplicaState::Unready { evidence: Box::new(Evidence { restart, ..exited() }) }
            }
            Life::Failed => ReplicaState::Failed { evidence: Box::new(exited()) },
            Life::Asleep => ReplicaState::Stopped,
            Life::Booting | Life::Starting | Life::Stopping => return,
        };
        self.tell(HostReport::Replica { replica: replica.clone(), state });
    }

    fn app(&self, member: &Member) -> App {
        let lot: u32 = member.spec.deployment.as_str().bytes().map(u32::from).sum();
        match lot % 10 {
            0 if self.bad_apps => App::Exits,
            1 if self.bad_apps => App::Silent,
            _ => App::Good,
        }
    }

    /// What may happen next. `faults`: also what nobody hopes for.
    pub(super) fn doings(&self, faults: bool) -> Vec<(usize, Doing)> {
        let mut doings = Vec::new();
        // Not before somebody wants something of it: in the end that it lets go.
        let wanted = |worker: &Worker| worker.stuck && !worker.unheard.is_empty();
        let stuck = self.workers.iter().enumerate().filter(|(_, worker)| wanted(worker));
        doings.extend(
            stuck.flat_map(|(number, _)| [(1, Doing::WorkerWakes(number)), (1, Doing::WorkerWakesLate(number))]),
        );
        let runs = |worker: &Worker| worker.running.is_some() && !worker.stuck;
        for (number, worker) in self.workers.iter().enumerate().filter(|(_, worker)| runs(worker)) {
            if !worker.hangs {
                doings.push((20, Doing::PhaseEnds(number)));
            }
            if faults && !worker.hangs {
                doings.extend([(1, Doing::PhaseFails(number)), (1, Doing::PhaseHangs(number))]);
            }
            if faults {
                let often = self.planted == Some(Planted::HostForgetsAttempts);
                doings.push((if often { 20 } else { 3 }, Doing::WorkerSticks(number)));
            }
        }
        for (id, member) in &self.members {
            let progresses = match member.life {
                Life::Booting | Life::Stopping => true,
                Life::Starting => self.app(member) != App::Silent,
                Life::Pausing => faults || self.app(member) == App::Good,
                Life::Ready | Life::Failed | Life::Asleep => false,
            };
            if progresses {
                doings.push((20, Doing::Replica(id.clone())));
            }
            if member.is_to_be_told() {
                doings.push((20, Doing::Told(id.clone())));
            }
            if faults && member.life == Life::Ready {
                doings.push((1, Doing::Crashes(id.clone())));
                if member.is_to_be_told() {
                    doings.push((2, Doing::CannotBeTold(id.clone())));
                }
            }
        }
        doings
    }

    pub(super) fn go_on(&mut self, doing: &Doing) -> String {
        match doing {
            Doing::PhaseEnds(worker) => self.end_phase(*worker, |spec| PhaseOutcome::Done(output(&spec.work))),
            Doing::PhaseFails(worker) => self.end_phase(*worker, |_| PhaseOutcome::Failed(Box::new(exited()))),
            Doing::PhaseHangs(worker) => {
                self.workers[*worker].hangs = true;
                format!("host: worker {worker} hangs")
            }
            Doing::WorkerSticks(worker) => {
                self.workers[*worker].stuck = true;
                format!("host: worker {worker} is stuck")
            }
            Doing::WorkerWakes(worker) => self.wake(*worker),
            Doing::WorkerWakesLate(worker) => {
                let ended = self.end_phase(*worker, |spec| PhaseOutcome::Done(output(&spec.work)));
                format!("{ended}; {}", self.wake(*worker))
            }
            Doing::Crashes(replica) => self.turn(replica, Life::Pausing),
            Doing::Told(replica) => self.told(replica, None),
            Doing::CannotBeTold(replica) => self.told(replica, Some("its disk is full".to_owned())),
            Doing::Replica(replica) => {
                let Some(member) = self.members.get(replica) else { return String::new() };
                let exits = self.app(member) == App::Exits;
                let gone = if member.was_ready { Life::Pausing } else { Life::Failed };
                match member.life {
                    Life::Booting => self.turn(replica, Life::Starting),
                    Life::Starting => self.turn(replica, if exits { gone } else { Life::Ready }),
                    Life::Pausing => self.turn(replica, Life::Booting),
                    _ => self.stopped(replica),
                }
            }
        }
    }

    fn turn(&mut self, replica: &ReplicaId, life: Life) -> String {
        if let Some(member) = self.members.get_mut(replica) {
            member.life = life;
            member.was_ready |= life == Life::Ready;
            match life {
                Life::Booting => {
                    self.boots += 1;
                    member.port = self.boots;
                }
                Life::Starting => member.has = member.spec.env_revision,
                Life::Pausing => member.crashes += 1,
                _ => {}
            }
        }
        self.say(replica);
        format!("host: {replica} is {life:?}")
    }

    fn told(&mut self, replica: &ReplicaId, trouble: Option<String>) -> String {
        let Some(member) = self.members.get_mut(replica) else { return String::new() };
        let revision = member.spec.env_revision;
        // Whatever came of it: it is asked once.
        member.has = revision;
        let said = format!("host: {replica} is told of variables {revision}: {trouble:?}");
        self.tell(HostReport::ValuesTaken { replica: replica.clone(), revision, trouble });
        said
    }

    fn stopped(&mut self, replica: &ReplicaId) -> String {
        let mut wanted = self.wanted.iter().flat_map(|set| &set.replicas);
        let sleeps = wanted.any(|spec| spec.asleep && spec.replica == *replica);
        self.tell(HostReport::Replica { replica: replica.clone(), state: ReplicaState::Stopped });
        match self.members.get_mut(replica).filter(|_| sleeps) {
            Some(member) => member.life = Life::Asleep,
            None => drop(self.members.remove(replica)),
        }
        self.reconcile();
        format!("host: {replica} has stopped")
    }

    /// Sends the oldest report. None: there is none, or no room for it. With it the deployment of which it says something under an
    /// attempt that is over.
    pub(super) fn report(&mut self) -> Option<(HostReport, Option<DeploymentId>)> {
        let link = self.link.as_ref()?;
        let permit = link.reports.try_reserve().ok()?;
        let Sent { report, attempt } = self.reports.pop_front()?;
        let late = match &report {
            HostReport::PhaseFinished { deployment, .. } if attempt != self.attempts.get(deployment).copied() => {
                Some(deployment.clone())
            }
            _ => None,
        };
        permit.send(report.clone());
        Some((report, late))
    }

    pub(super) fn has_reports(&self) -> bool {
        !self.reports.is_empty() && self.link.as_ref().is_some_and(|link| link.reports.capacity() > 0)
    }

    pub(super) fn has_commands(&self) -> bool {
        self.link.as_ref().is_some_and(|link| !link.commands.is_empty())
    }

    /// The revision of the variables that each app has that runs.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&ReplicaId, u64)> {
        let ready = self.members.iter().filter(|(_, member)| member.life == Life::Ready);
        ready.map(|(id, member)| (id, member.has))
    }

    /// Replicas of which something runs, or is to run.
    pub(super) fn running(&self) -> BTreeSet<ReplicaId> {
        let runs = |member: &Member| !matches!(member.life, Life::Asleep | Life::Failed);
        self.members.iter().filter(|(_, member)| runs(member)).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn ready(&self) -> BTreeSet<ReplicaId> {
        let ready = self.members.iter().filter(|(_, member)| member.life == Life::Ready);
        ready.map(|(id, _)| id.clone()).collect()
    }
}

fn said(set: &ReplicaSet) -> String {
    let name = |spec: &ReplicaSpec| format!("{}{}", spec.replica, if spec.asleep { " (asleep)" } else { "" });
    let names: Vec<_> = set.replicas.iter().map(name).collect();
    format!("host: set {}: {}", set.generation, names.join(", "))
}

fn exited() -> Evidence {
    let exit = Some(ExitFacts { code: Some(1), signal: None, out_of_memory: false });
    Evidence { exit, command: Some("node server.js".to_owned()), ..Evidence::default() }
}

fn output(work: &PhaseWork) -> PhaseOutput {
    match work {
        PhaseWork::Source { .. } => PhaseOutput::Source(SourceFacts {
            commit: Some("1234567890123456789012345678901234567890".to_owned()),
            branch: Some("main".to_owned()),
            default_branch: Some("main".to_owned()),
            tree: phases::tree([]),
        }),
        other => phases::output(other.phase()),
    }
}
