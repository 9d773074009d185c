//! One replica, from its first start to its last stop.
//!
//! ```text
//!            healthy and stable            exit, failed probes, no life
//! Starting ───────────────────────▶ Ready ───────────────────────────▶ Unready ──┐
//!    │ exit, time-out                 ▲                                          │ a probe succeeds; or after a
//!    ▼                                └──────────────────────────────────────────┘ pause, in a fresh sandbox
//!  Failed                any of them, not wanted any more ─▶ Stopped
//! ```
//! `Unready` with a restart in its evidence has ended, or is being ended; without one it runs and only fails its probes.
//! Each state is reported once it holds: a replica that is `Failed` or `Stopped` has no sandbox. One that is a site has a
//! mount instead of a sandbox, and nothing in it can end by itself.

mod backoff;
mod health;
mod output;
mod run;
mod site;
mod values;

use crate::blocking;
use crate::custodian::Notice;
use crate::environment;
use crate::fleet::Taken;
use crate::host::{Host, replica_sandbox_id};
use crate::phase::command::{OPEN_FILES_MAX, TASK};
use crate::phase::{limit_facts, with_causes};
use crate::tier::{self, Brought};
use crate::tree::{APP_GID, APP_UID};
use backoff::Backoff;
use output::{Ended, Observed};
use slipway_layers::Lease;
use slipway_sandbox::{Sandbox, SandboxError, SandboxSpec, WritableSpec};
use slipway_types::Phase;
use slipway_types::RunId;
use slipway_types::agent::TaskSpec;
use slipway_types::host::{
    Evidence, HealthFacts, HostError, HostReport, ProbeResult, ReplicaSpec, ReplicaState, Restart,
};
use slipway_types::image::ImageStart;
use slipway_types::log::RunChange;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
pub(crate) use values::Variables;

/// For a replica that shows no life to end in order: it may have more to say, and most likely has not.
const LIFELESS_GRACE: Duration = Duration::from_secs(5);

/// How a life ended. Either way there is no sandbox any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Stopped,
    Failed,
}

/// Why a sandbox of the replica is over.
#[derive(Debug, Clone)]
enum End {
    NotWanted,
    Exited(Ended),
    /// Never healthy, or healthy and then not any more.
    Unhealthy {
        last_probe: Option<ProbeResult>,
        waited: Duration,
    },
}

/// Between a replica and the rest of the host.
pub(crate) struct Link {
    pub(crate) reports: mpsc::Sender<HostReport>,
    pub(crate) stop: CancellationToken,
    /// What control has written of its output.
    pub(crate) written: watch::Receiver<Taken>,
    /// What its app is to have.
    pub(crate) variables: watch::Receiver<Variables>,
}

pub(crate) struct Replica {
    host: Arc<Host>,
    spec: ReplicaSpec,
    reports: mpsc::Sender<HostReport>,
    stop: CancellationToken,
    written: watch::Receiver<Taken>,
    /// Its present life.
    run: Mutex<RunId>,
    /// Those of `spec` are the ones that it began with.
    variables: watch::Receiver<Variables>,
    /// Whether traffic may have come: then an end is no failure of the deployment, and the replica is restarted.
    was_ready: AtomicBool,
    /// Since when its present sandbox is.
    ready_since: watch::Sender<Option<Instant>>,
}

impl Replica {
    pub(crate) fn new(host: Arc<Host>, spec: ReplicaSpec, link: Link) -> Self {
        let Link { reports, stop, written, variables } = link;
        let run = Mutex::new(run::new_id(&spec.replica));
        let (was_ready, ready_since) = (AtomicBool::new(false), watch::Sender::new(None));
        Self { host, spec, reports, stop, written, run, variables, was_ready, ready_since }
    }

    /// Runs the replica until it is not wanted or fails; `adopted` is its sandbox of a former run of the server.
    pub(crate) async fn live(self, adopted: Option<Sandbox>) -> Life {
        let life = self.until_over(adopted).await;
        self.forget_run().await;
        life
    }

    async fn until_over(&self, adopted: Option<Sandbox>) -> Life {
        let mut backoff = Backoff::new(self.spec.replica.clone());
        self.was_ready.store(self.spec.served, Ordering::Relaxed);
        let mut sandbox = self.still_running(adopted).await;
        if sandbox.is_none() && self.stop.is_cancelled() {
            self.report(ReplicaState::Stopped).await;
            return Life::Stopped;
        }
        loop {
            let mut evidence = match self.once(sandbox.take(), &mut backoff).await {
                Ok(()) => {
                    self.report(ReplicaState::Stopped).await;
                    return Life::Stopped;
                }
                Err(evidence) => evidence,
            };
            if !self.was_ready.load(Ordering::Relaxed) {
                self.report(ReplicaState::Failed { evidence }).await;
                return Life::Failed;
            }
            // Reported again after each failed restart: its evidence is the newest.
            let restart = match evidence.restart {
                Some(reported) => reported,
                None => {
                    let restart = backoff.ended(self.take_ready_time());
                    evidence.restart = Some(restart);
                    self.report(ReplicaState::Unready { evidence }).await;
                    restart
                }
            };
            tokio::select! {
                () = self.stop.cancelled() => {
                    self.report(ReplicaState::Stopped).await;
                    return Life::Stopped;
                }
                () = tokio::time::sleep(Duration::from_millis(restart.pause_ms)) => {}
            }
        }
    }

    /// From a start to the end that follows. Ok: it is gone because it is not wanted any more.
    async fn once(&self, adopted: Option<Sandbox>, backoff: &mut Backoff) -> Result<(), Box<Evidence>> {
        match self.spec.image.start {
            ImageStart::Process(_) => self.one_sandbox(adopted, backoff).await,
            ImageStart::Site => self.one_mount().await,
        }
    }

    /// The sandbox, when its app runs. One whose app ended while the server was away makes room for a fresh one.
    async fn still_running(&self, adopted: Option<Sandbox>) -> Option<Sandbox> {
        let sandbox = adopted?;
        if sandbox.tasks().iter().any(|task| task.exit.is_none()) {
            return Some(sandbox);
        }
        // What it said before its end, which nobody was there to read.
        self.adopt_run().await;
        let exit = sandbox.tasks().iter().find_map(|task| task.exit);
        let observed = Observed::new(sandbox.listening());
        let mut output = self.reader(&sandbox, &observed);
        let (stopped, ()) = tokio::join!(sandbox.stop(Duration::ZERO), output.until_gone());
        if let Err(error) = stopped {
            tracing::warn!(replica = %self.spec.replica, %error, "cannot stop a replica's sandbox");
        }
        let why = "it ended while the server was away".to_owned();
        self.tell_run(RunChange::Ended { asked: false, exit, why }).await;
        None
    }

    /// Boots (or takes) a sandbox and watches it to its end. Ok: it is gone because it is not wanted any more. Evidence with a
    /// restart is reported already.
    async fn one_sandbox(&self, adopted: Option<Sandbox>, backoff: &mut Backoff) -> Result<(), Box<Evidence>> {
        let is_adopted = adopted.is_some();
        let sandbox = match adopted {
            Some(sandbox) => {
                self.adopt_run().await;
                sandbox
            }
            None => {
                self.begin_run().await;
                let lease = self.bring_back().await?;
                let booted = self.boot().await;
                self.hand_over(lease);
                booted.map_err(|error| self.host_failure(&error))?
            }
        };
        let observed = Observed::new(sandbox.listening());
        let mut output = self.reader(&sandbox, &observed);
        if !is_adopted {
            self.tell_run(RunChange::Started).await;
        }
        let started = if is_adopted { Ok(sandbox.values()) } else { self.start(&sandbox).await.map(Some) };
        if started.is_ok() && !self.was_ready.load(Ordering::Relaxed) {
            self.report(ReplicaState::Starting).await;
        }
        let end = match started {
            Err(error) => Err(error),
            Ok(has) => Ok(tokio::select! {
                () = self.stop.cancelled() => End::NotWanted,
                ended = output.until_exit() => End::Exited(ended),
                unhealthy = self.watch_health(&sandbox, &observed, is_adopted && self.spec.served) => unhealthy,
                () = self.keep_told(&sandbox, &observed, has) => End::NotWanted,
            }),
        };
        let stop_grace = self.spec.stop_grace.as_duration();
        let grace = match &end {
            Ok(End::NotWanted) => stop_grace,
            Ok(End::Unhealthy { .. }) if self.was_ready.load(Ordering::Relaxed) => stop_grace.min(LIFELESS_GRACE),
            _ => Duration::ZERO,
        };
        let mut restart = None;
        if self.was_ready.load(Ordering::Relaxed)
            && let Ok(end) = &end
            && !matches!(end, End::NotWanted)
        {
            restart = Some(backoff.ended(self.take_ready_time()));
            self.report_ended(end, restart, &observed).await;
        }
        observed.note_end();
        // What the app says on its way out is part of its log.
        let (stopped, ()) = tokio::join!(sandbox.stop(grace), output.until_gone());
        if let Err(error) = stopped {
            tracing::warn!(replica = %self.spec.replica, %error, "cannot stop a replica's sandbox");
        }
        self.tell_run(run::ended(&end)).await;
        match end {
            Ok(End::NotWanted) => Ok(()),
            Ok(end) => Err(Box::new(Evidence { restart, ..self.evidence(end, &observed) })),
            Err(error) => Err(self.host_failure(&error)),
        }
    }

    fn note_ready(&self) {
        self.ready_since.send_if_modified(|since| since.is_none() && since.replace(Instant::now()).is_none());
    }

    /// How long its sandbox, which is gone, was ready.
    fn take_ready_time(&self) -> Duration {
        let since = self.ready_since.send_replace(None);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Traffic must go elsewhere before the sandbox goes, not after, which takes its time.
    async fn report_ended(&self, end: &End, restart: Option<Restart>, observed: &Observed) {
        let evidence = Box::new(Evidence { restart, ..self.evidence(end.clone(), observed) });
        self.report(ReplicaState::Unready { evidence }).await;
    }

    /// The layers of the image on the disk, whichever tier has them. They are pinned as long as the replica is wanted; until
    /// that is so, and control may have been asked a moment before, they are held.
    async fn bring_back(&self) -> Result<Option<Lease>, Box<Evidence>> {
        let (store, layers) = (self.host.store.clone(), self.spec.image.layers.clone());
        let lease = blocking(move || store.lease(&layers)).await;
        if let Err(error) = &lease {
            tracing::warn!(%error, replica = %self.spec.replica, "the layers of a replica can't be held");
        }
        let host_error = |code: &str, message| {
            let host_error = Some(HostError { code: code.to_owned(), message });
            Err(Box::new(Evidence { host_error, ..self.bare_evidence() }))
        };
        for layer in &self.spec.image.layers {
            if let Some(why) = self.host.objection(layer) {
                return host_error("driver-changed", why);
            }
            let why = match tier::bring_back(&self.host.tiers, layer).await {
                Brought::Hot => continue,
                Brought::Back(line) => {
                    self.say(line).await;
                    continue;
                }
                Brought::Missing => tier::missing(layer, self.host.config.layers.cold.is_some()),
                Brought::Trouble(note) => note,
            };
            return host_error("release-gone", why);
        }
        Ok(lease.ok())
    }

    /// To the custodian, who keeps it until the layers are pinned.
    fn hand_over(&self, lease: Option<Lease>) {
        if let Some(lease) = lease {
            self.host.custodian.tell(Notice::Ended(vec![lease]));
        }
    }

    async fn boot(&self) -> Result<Sandbox, SandboxError> {
        let id = replica_sandbox_id(&self.spec.replica);
        let image = self.host.replica_images().join(format!("{id}.img"));
        // A leftover of the sandbox before would not be fresh.
        let _ = tokio::fs::remove_file(&image).await;
        let spec = SandboxSpec {
            layers: self.spec.image.layers.iter().map(|layer| self.host.store.path(layer)).collect(),
            writable: WritableSpec::scratch(image, self.spec.limits.disk.0),
            cache: None,
            limits: self.spec.limits,
            hostname: self.spec.service.to_string(),
            id,
        };
        self.host.sandboxes.boot(spec).await
    }

    /// Gives the revision of the variables that it was started with.
    async fn start(&self, sandbox: &Sandbox) -> Result<u64, SandboxError> {
        let variables = self.variables.borrow().clone();
        let revision = variables.revision;
        let Some(start) = self.spec.image.process() else { return Ok(revision) };
        self.write_first(sandbox, &variables).await?;
        let spec = ReplicaSpec { env: variables.env, ..self.spec.clone() };
        let task = TaskSpec {
            task: TASK,
            argv: ["/bin/sh", "-c", &start.command].map(str::to_owned).into(),
            env: environment::of_replica(self.host.config.sandbox.ca_env(), &spec),
            cwd: start.cwd.clone(),
            uid: APP_UID,
            gid: APP_GID,
            open_files_max: OPEN_FILES_MAX,
            output_rate: Some(self.host.config.replica_rate),
        };
        sandbox.start_task(task).await.map(|()| revision)
    }

    fn evidence(&self, end: End, observed: &Observed) -> Evidence {
        let mut evidence = self.bare_evidence();
        evidence.tail = observed.tail();
        evidence.was_signaled = observed.was_signaled();
        match end {
            End::NotWanted => {}
            End::Exited(Ended::Exit { facts, disk_full }) => {
                evidence.exit = Some(facts);
                evidence.disk_full = disk_full;
            }
            End::Exited(Ended::Lost(message)) => {
                evidence.host_error = Some(HostError { code: "sandbox-failed".to_owned(), message });
            }
            End::Unhealthy { last_probe, waited } => {
                evidence.phase = Some(Phase::Health);
                evidence.health = Some(HealthFacts {
                    port: self.spec.port,
                    path: self.spec.health.as_ref().and_then(|health| health.path.clone()),
                    last_probe,
                    listening: observed.listening(),
                    waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
        evidence
    }

    fn host_failure(&self, error: &SandboxError) -> Box<Evidence> {
        let host_error = HostError { code: "sandbox-failed".to_owned(), message: with_causes(error) };
        Box::new(Evidence { host_error: Some(host_error), ..self.bare_evidence() })
    }

    fn bare_evidence(&self) -> Evidence {
        Evidence {
            phase: Some(Phase::Start),
            command: self.spec.image.process().map(|start| start.command.clone()),
            limits: Some(limit_facts(&self.spec.limits)),
            ..Evidence::default()
        }
    }

    async fn report(&self, state: ReplicaState) {
        tracing::info!(replica = %self.spec.replica, deployment = %self.spec.deployment, state = state.as_str(), "replica");
        let _ = self.reports.send(HostReport::Replica { replica: self.spec.replica.clone(), state }).await;
    }
}
