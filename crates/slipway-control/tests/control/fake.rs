//! A host and an edge that do at once what they are told, unless a test says otherwise.

use slipway_testing::phases;
use slipway_types::agent::Stream;
use slipway_types::api::DeploymentView;
use slipway_types::cache::{Retention, SweepOrder};
use slipway_types::host::{
    Evidence, ExitFacts, HEARTBEAT_INTERVAL, HostCommand, HostReport, PhaseOutcome, PhaseOutput, PhaseWork, ReplicaSet,
    ReplicaState,
};
use slipway_types::log::{LogStream, ReplicaLine, ReplicaLines};
use slipway_types::route::{EdgeReport, Endpoint, RouteTable};
use slipway_types::settings::ReloadMode;
use slipway_types::source::SourceFacts;
use slipway_types::{DeploymentId, Phase, ReplicaId, RunId, ServiceId, SourceSpec, TreeListing};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tokio::sync::{mpsc, watch};

/// What a test wants of the host.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// The phase does not end by itself.
    pub(crate) hold: Option<Phase>,
    /// The phase's command fails with this output.
    pub(crate) fail: Option<(Phase, Vec<String>)>,
    /// Replicas of new deployments stay in `Starting`.
    pub(crate) hold_replicas: bool,
    /// Replicas of new deployments exit at once.
    pub(crate) fail_replicas: bool,
    /// `slipway.toml` of the source.
    pub(crate) manifest: Option<String>,
    /// `netlify.toml` of the source.
    pub(crate) netlify: Option<String>,
    /// Where every branch of a git source is.
    pub(crate) commit: Option<String>,
    /// Ignore commands end with 0.
    pub(crate) ignores: bool,
    /// A line that every phase and every replica prints.
    pub(crate) prints: Option<String>,
    /// The edge reports no drained replicas.
    pub(crate) hold_drain: bool,
    /// What is to sleep takes its time to stop.
    pub(crate) hold_stop: bool,
    /// Replicas are not told of new variables, and stay as they are.
    pub(crate) hold_values: bool,
    /// Why they can't be.
    pub(crate) values_trouble: Option<String>,
}

/// What the host was told and what it runs.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) tables: Vec<RouteTable>,
    pub(crate) work: Vec<(DeploymentId, PhaseWork)>,
    /// Of each phase.
    pub(crate) attempts: Vec<(DeploymentId, u64)>,
    pub(crate) canceled: Vec<DeploymentId>,
    pub(crate) released: Vec<DeploymentId>,
    pub(crate) sets: Vec<ReplicaSet>,
    pub(crate) retained: Vec<Retention>,
    pub(crate) lines_taken: Vec<(ReplicaId, RunId, u64)>,
    pub(crate) sweeps: Vec<(String, SweepOrder)>,
    /// As their sandboxes would be: they outlive the server.
    pub(crate) running: BTreeMap<ReplicaId, ServiceId>,
    asleep: BTreeSet<ReplicaId>,
    /// Revision of the variables that the app of each has.
    pub(crate) values: BTreeMap<ReplicaId, u64>,
}

impl Seen {
    /// How often the phase was given to a worker.
    pub(crate) fn runs(&self, view: &DeploymentView, phase: Phase) -> usize {
        let its =
            |(deployment, work): &&(DeploymentId, PhaseWork)| *deployment == view.deployment && work.phase() == phase;
        self.work.iter().filter(its).count()
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Fake {
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) seen: Arc<Mutex<Seen>>,
    reports: Arc<Mutex<Option<mpsc::Sender<HostReport>>>>,
    edge_reports: Arc<Mutex<Option<mpsc::Sender<EdgeReport>>>>,
}

impl Fake {
    pub(crate) fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    pub(crate) fn seen<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.lock().unwrap())
    }

    /// Says something to control that nobody asked for. Right after a restart that is the new one, once there is a way to it.
    pub(crate) async fn report(&self, report: HostReport) {
        let open = || self.reports.lock().unwrap().clone().filter(|sender| !sender.is_closed());
        crate::world::wait(|| open().is_some()).await;
        open().expect("a host that runs").send(report).await.unwrap();
    }

    pub(crate) async fn report_of_edge(&self, report: EdgeReport) {
        let open = || self.edge_reports.lock().unwrap().clone().filter(|sender| !sender.is_closed());
        crate::world::wait(|| open().is_some()).await;
        open().expect("an edge that runs").send(report).await.unwrap();
    }

    /// One worker, and as many replicas as wanted.
    pub(crate) async fn host(self, mut commands: mpsc::Receiver<HostCommand>, reports: mpsc::Sender<HostReport>) {
        *self.reports.lock().unwrap() = Some(reports.clone());
        let say = |report| async { drop(reports.send(report).await) };
        say(HostReport::Claim { worker: 0 }).await;
        let mut adopting = true;
        let mut bound = BTreeMap::new();
        let mut beats = tokio::time::interval(HEARTBEAT_INTERVAL);
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                _ = beats.tick() => {
                    for (worker, (deployment, attempt)) in bound.clone() {
                        say(HostReport::Heartbeat { worker, deployment, attempt }).await;
                    }
                    continue;
                }
            };
            let Some(command) = command else { return };
            match command {
                HostCommand::RunPhase { spec, worker } => {
                    let (phase, attempt) = (spec.work.phase(), spec.attempt);
                    bound.insert(worker, (spec.deployment.clone(), attempt));
                    self.seen.lock().unwrap().attempts.push((spec.deployment.clone(), attempt));
                    self.seen.lock().unwrap().work.push((spec.deployment.clone(), spec.work.clone()));
                    let deployment = spec.deployment.clone();
                    let prints = self.script.lock().unwrap().prints.clone();
                    if let Some(line) = prints {
                        let (deployment, stream) = (deployment.clone(), Stream::Stdout);
                        say(HostReport::Log { deployment, attempt, phase, stream, line }).await;
                    }
                    if let Some(outcome) = self.outcome(&spec.work) {
                        say(HostReport::PhaseFinished { deployment, attempt, phase, outcome }).await;
                    }
                }
                HostCommand::CancelPhase { deployment } => {
                    self.seen.lock().unwrap().canceled.push(deployment.clone());
                    let outcome = PhaseOutcome::Canceled;
                    let its = bound.values().find(|(bound, _)| *bound == deployment);
                    let (phase, attempt) = (Phase::Build, its.map_or(0, |(_, attempt)| *attempt));
                    say(HostReport::PhaseFinished { deployment, attempt, phase, outcome }).await;
                }
                HostCommand::ReleaseWorker { worker, deployment } => {
                    self.seen.lock().unwrap().released.push(deployment);
                    bound.remove(&worker);
                    say(HostReport::Claim { worker }).await;
                }
                HostCommand::LinesTaken { replica, run, through } => {
                    self.seen.lock().unwrap().lines_taken.push((replica, run, through));
                }
                HostCommand::Retain(retention) => self.seen.lock().unwrap().retained.push(retention),
                HostCommand::Sweep { sweep, order } => self.seen.lock().unwrap().sweeps.push((sweep, order)),
                HostCommand::Replicas(set) => {
                    for report in self.replicas(set, std::mem::take(&mut adopting)) {
                        say(report).await;
                    }
                }
            }
        }
    }

    fn outcome(&self, work: &PhaseWork) -> Option<PhaseOutcome> {
        let script = self.script.lock().unwrap();
        let phase = work.phase();
        if script.hold == Some(phase) {
            return None;
        }
        if let Some((failing, tail)) = &script.fail
            && *failing == phase
        {
            return Some(PhaseOutcome::Failed(Box::new(exited(Some(phase), tail.clone()))));
        }
        Some(match work {
            PhaseWork::Environment { ignore: Some(_), .. } if script.ignores => PhaseOutcome::Ignored,
            PhaseWork::Source { source, .. } => PhaseOutcome::Done(PhaseOutput::Source(SourceFacts {
                commit: commit(source, &script),
                branch: None,
                default_branch: None,
                tree: tree(&script),
            })),
            _ => PhaseOutcome::Done(phases::output(phase)),
        })
    }

    /// `adopting`: the first set of a run; replicas that run already are reported as they are.
    fn replicas(&self, set: ReplicaSet, adopting: bool) -> Vec<HostReport> {
        let script = self.script.lock().unwrap();
        let mut seen = self.seen.lock().unwrap();
        if seen.sets.last().is_some_and(|last| last.generation >= set.generation) {
            return Vec::new();
        }
        let mut reports = Vec::new();
        let (asleep, awake): (Vec<_>, Vec<_>) = set.replicas.iter().partition(|spec| spec.asleep);
        let wanted: BTreeSet<_> = awake.iter().map(|spec| spec.replica.clone()).collect();
        let asleep: BTreeSet<_> = asleep.into_iter().map(|spec| spec.replica.clone()).collect();
        // Also of one of which nothing runs.
        let new = |replica: &&ReplicaId| adopting || !seen.asleep.contains(*replica);
        let new: Vec<_> =
            asleep.iter().filter(|replica| !seen.running.contains_key(*replica)).filter(new).cloned().collect();
        reports.extend(new.into_iter().map(|replica| HostReport::Replica { replica, state: ReplicaState::Stopped }));
        let gone: Vec<_> = seen.running.keys().filter(|replica| !wanted.contains(replica)).cloned().collect();
        for replica in gone {
            seen.running.remove(&replica);
            if script.hold_stop && asleep.contains(&replica) {
                continue;
            }
            reports.push(HostReport::Replica { replica, state: ReplicaState::Stopped });
        }
        seen.asleep = asleep;
        for spec in awake {
            let replica = spec.replica.clone();
            let runs = seen.running.insert(replica.clone(), spec.service_id.clone()).is_some();
            let known = seen.values.get(&replica).copied();
            if runs && spec.reload == ReloadMode::Signal && known < Some(spec.env_revision) && !script.hold_values {
                seen.values.insert(replica.clone(), spec.env_revision);
                let (revision, trouble) = (spec.env_revision, script.values_trouble.clone());
                reports.push(HostReport::ValuesTaken { replica: replica.clone(), revision, trouble });
            }
            if !runs {
                seen.values.insert(replica.clone(), spec.env_revision);
            }
            if runs && !adopting {
                continue;
            }
            reports.push(HostReport::Replica { replica: replica.clone(), state: ReplicaState::Starting });
            if let Some(line) = script.prints.clone() {
                let line = ReplicaLine { at: 1, stream: LogStream::Stdout, number: Some(1), line };
                let run = RunId::of_digest([1; 5]);
                reports.push(HostReport::ReplicaLines(Box::new(ReplicaLines {
                    replica: replica.clone(),
                    deployment: spec.deployment.clone(),
                    service_id: spec.service_id.clone(),
                    run,
                    lines: vec![line],
                    through: 1,
                })));
            }
            if script.fail_replicas {
                let tail = script.prints.iter().cloned().collect();
                let state = ReplicaState::Failed { evidence: Box::new(exited(Some(Phase::Start), tail)) };
                reports.push(HostReport::Replica { replica, state });
            } else if !script.hold_replicas {
                reports.push(HostReport::Replica { replica: replica.clone(), state: ready(&replica) });
            }
        }
        seen.sets.push(set);
        reports
    }

    /// An edge that routes at once.
    pub(crate) async fn edge(self, mut tables: watch::Receiver<RouteTable>, reports: mpsc::Sender<EdgeReport>) {
        *self.edge_reports.lock().unwrap() = Some(reports.clone());
        let (mut targets, mut undrained) = (BTreeSet::new(), BTreeSet::<ReplicaId>::new());
        while tables.changed().await.is_ok() {
            let table = tables.borrow_and_update().clone();
            self.seen.lock().unwrap().tables.push(table.clone());
            let now: BTreeSet<_> =
                table.routes.iter().flat_map(|route| &route.targets).map(|target| target.replica.clone()).collect();
            undrained.extend(targets.difference(&now).cloned());
            let closing = undrained.iter().cloned().collect();
            if reports.send(EdgeReport::Applied { generation: table.generation, closing }).await.is_err() {
                return;
            }
            if !self.script.lock().unwrap().hold_drain {
                for replica in std::mem::take(&mut undrained) {
                    let _ = reports.send(EdgeReport::Drained { replica }).await;
                }
            }
            targets = now;
        }
    }
}

pub(crate) fn ready(replica: &ReplicaId) -> ReplicaState {
    let port = 20_000 + replica.as_str().bytes().map(u16::from).sum::<u16>();
    ReplicaState::Ready { at: Endpoint::Address(([10, 201, 0, 2], port).into()) }
}

pub(crate) fn exited(phase: Option<Phase>, tail: Vec<String>) -> Evidence {
    let exit = Some(ExitFacts { code: Some(1), signal: None, out_of_memory: false });
    Evidence { phase, exit, tail, command: Some("npm run build".to_owned()), ..Default::default() }
}

/// A commit that is asked for by its name, or where the branch is.
fn commit(source: &SourceSpec, script: &Script) -> Option<String> {
    let SourceSpec::Git(git) = source else { return None };
    git.reference.clone().filter(|name| name.len() == 40).or(script.commit.clone())
}

pub(crate) fn done(phase: Phase) -> PhaseOutcome {
    PhaseOutcome::Done(phases::output(phase))
}

fn tree(script: &Script) -> TreeListing {
    let files = [("slipway.toml", &script.manifest), ("netlify.toml", &script.netlify)];
    phases::tree(files.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?))))
}
