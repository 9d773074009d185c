//! All replicas of a host: brings what runs in line with what should run.
//!
//! Each wanted replica has one task from its start until it is stopped or has failed. A set with an older generation
//! is ignored. A replica that failed before it was ready is not tried again: control decides.
//!
//! One that is to sleep is stopped, with a sandbox of a former run too, and reported as stopped once nothing of it runs, also
//! when nothing did. Woken, it boots a fresh sandbox. Other ways to sleep would be this module's and the replica's alone.

use crate::host::{Host, replica_sandbox_id};
use crate::replica::{Life, Link, Replica, Variables};
use slipway_sandbox::Sandbox;
use slipway_types::host::{HostReport, ReplicaSet, ReplicaSpec};
use slipway_types::{ReplicaId, RunId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// For sandboxes that survived a restart and that nobody wants any more: their own grace time is not known.
const UNKNOWN_GRACE: Duration = Duration::from_secs(30);

pub(crate) struct Fleet {
    host: Arc<Host>,
    reports: mpsc::Sender<HostReport>,
    wanted: Option<ReplicaSet>,
    members: HashMap<ReplicaId, Member>,
    /// From a former run, by the sandbox's id, until the first set says what is wanted.
    adopted: HashMap<String, Sandbox>,
    /// One per running member; answers how its life ended.
    lives: JoinSet<(ReplicaId, Life)>,
    /// Sandboxes of nobody that are on their way out.
    leaving: JoinSet<()>,
}

/// A run, and what of it is written.
pub(crate) type Taken = Option<(RunId, u64)>;

enum Member {
    Runs {
        stop: CancellationToken,
        /// How much of which run's output control has written.
        taken: watch::Sender<Taken>,
        /// What its app is to have, also from its next start on.
        variables: watch::Sender<Variables>,
    },
    /// It never became ready and stays so until it is not wanted any more.
    Failed,
    /// Nothing of it runs, as wanted, and control was told so.
    Asleep,
}

impl Fleet {
    pub(crate) fn new(host: Arc<Host>, reports: mpsc::Sender<HostReport>, adopted: HashMap<String, Sandbox>) -> Self {
        let (members, lives, leaving) = (HashMap::new(), JoinSet::new(), JoinSet::new());
        Self { host, reports, wanted: None, members, adopted, lives, leaving }
    }

    /// Takes the newest desired state.
    pub(crate) fn want(&mut self, set: ReplicaSet) {
        let newest = self.wanted.as_ref().map(|wanted| wanted.generation);
        if newest > Some(set.generation) {
            tracing::info!(generation = set.generation, ?newest, "an older set of replicas is ignored");
            return;
        }
        self.wanted = Some(set);
        self.reconcile();
        for (id, sandbox) in self.adopted.drain() {
            tracing::info!(sandbox = id, "stopping a replica that is not wanted any more");
            let run = self.host.run_path(&id);
            self.leaving.spawn(async move {
                match sandbox.stop(UNKNOWN_GRACE).await {
                    // A leftover is removed at the next start.
                    Ok(_) => drop(tokio::fs::remove_file(run).await),
                    Err(error) => tracing::warn!(%error, "cannot stop a replica that is not wanted any more"),
                }
            });
        }
    }

    /// Control has written what a replica said.
    pub(crate) fn lines_taken(&self, replica: &ReplicaId, run: RunId, through: u64) {
        if let Some(Member::Runs { taken, .. }) = self.members.get(replica) {
            taken.send_replace(Some((run, through)));
        }
    }

    /// Waits until a life has ended and acts on it. Cancel safe.
    pub(crate) async fn progress(&mut self) {
        let ended = tokio::select! {
            Some(ended) = self.lives.join_next() => ended,
            Some(_) = self.leaving.join_next() => return,
            else => std::future::pending().await,
        };
        match ended {
            Ok((replica, Life::Stopped)) if self.is_to_sleep(&replica) => {
                self.members.insert(replica, Member::Asleep);
            }
            Ok((replica, Life::Stopped)) => {
                self.members.remove(&replica);
            }
            Ok((replica, Life::Failed)) => {
                self.members.insert(replica, Member::Failed);
            }
            Err(error) => tracing::error!(%error, "the task of a replica ended abnormally"),
        }
        self.reconcile();
    }

    /// Waits until everything that was told to stop has stopped: the host ends, and who was taken away must not stay. What is
    /// wanted runs on.
    pub(crate) async fn finish_leaving(&mut self) {
        let is_leaving = |member: &Member| matches!(member, Member::Runs { stop, .. } if stop.is_cancelled());
        while !self.leaving.is_empty() || self.members.values().any(is_leaving) {
            self.progress().await;
        }
    }

    fn is_to_sleep(&self, replica: &ReplicaId) -> bool {
        let mut wanted = self.wanted.iter().flat_map(|set| &set.replicas);
        wanted.any(|spec| spec.asleep && spec.replica == *replica)
    }

    fn reconcile(&mut self) {
        let Some(wanted) = &self.wanted else { return };
        let named: HashMap<&ReplicaId, &ReplicaSpec> =
            wanted.replicas.iter().map(|spec| (&spec.replica, spec)).collect();
        self.members.retain(|id, member| match member {
            Member::Runs { stop, variables, .. } => {
                let spec = named.get(id);
                if spec.is_none_or(|spec| spec.asleep) {
                    stop.cancel();
                }
                if let Some(spec) = spec {
                    give(variables, spec);
                }
                true
            }
            Member::Failed => named.get(id).is_some_and(|spec| !spec.asleep),
            Member::Asleep => named.get(id).is_some_and(|spec| spec.asleep),
        });
        for (id, spec) in named {
            // One that is on its way out is started again when it is gone.
            if self.members.contains_key(id) {
                continue;
            }
            let stop = CancellationToken::new();
            if spec.asleep {
                stop.cancel();
            }
            let adopted = self.adopted.remove(&replica_sandbox_id(id));
            let (taken, written) = watch::channel(None);
            let (variables, wanted) = watch::channel(of(spec));
            let link = Link { reports: self.reports.clone(), stop: stop.clone(), written, variables: wanted };
            let replica = Replica::new(Arc::clone(&self.host), spec.clone(), link);
            let id = id.clone();
            self.members.insert(id.clone(), Member::Runs { stop, taken, variables });
            self.lives.spawn(async move { (id, replica.live(adopted).await) });
        }
    }
}

fn of(spec: &ReplicaSpec) -> Variables {
    Variables { env: spec.env.clone(), revision: spec.env_revision }
}

fn give(variables: &watch::Sender<Variables>, spec: &ReplicaSpec) {
    variables.send_if_modified(|known| {
        let is_new = known.revision != spec.env_revision;
        if is_new {
            *known = of(spec);
        }
        is_new
    });
}
