//! The supervisor: takes commands, hands them to workers and replicas, and never waits for either.

use crate::cache::{self, Caches};
use crate::config::HostConfig;
use crate::custodian::{Custodian, CustodianHandle, Notice};
use crate::fleet::Fleet;
use crate::head::Heads;
use crate::host::{self, Host, is_replica_sandbox};
use crate::toolchain::{ToolSources, Toolchains};
use crate::turn::Turns;
use crate::worker::WorkerHandle;
use crate::{base_layer, blocking, leftover, server_id};
use slipway_layers::{ColdError, LayerError, LayerStore, Tiers};
use slipway_sandbox::{Sandbox, SandboxError, Sandboxes};
use slipway_types::LayerRef;
use slipway_types::host::{HostCommand, HostReport};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// For builds, and for replicas that are being stopped, to end after a shutdown was asked for. Killing a sandbox and
/// unmounting takes well under a second; an app that uses its grace time takes longer.
const SHUTDOWN_TIME_MAX: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum HostRunError {
    #[error("the base layer `{0}` is missing: it must be prepared first")]
    NotPrepared(LayerRef),
    #[error("cannot make or clear `{}`", path.display())]
    Disk {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error("the cold tier of layers can't be used")]
    Cold(#[from] ColdError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// Runs the host until `shutdown` or until control goes away. Then builds are ended and apps keep running; the next
/// run adopts them.
///
/// # Errors
/// When the host cannot begin: no base layer, no sandboxes, no disk.
pub async fn run(
    config: HostConfig,
    commands: mpsc::Receiver<HostCommand>,
    reports: mpsc::Sender<HostReport>,
    shutdown: CancellationToken,
) -> Result<(), HostRunError> {
    let (custodian, notices) = CustodianHandle::new();
    let (host, replicas) = Box::pin(open(config, custodian)).await?;
    let host = Arc::new(host);
    host.config.up.cancel();
    let mut tasks = JoinSet::new();
    let stop_builds = shutdown.child_token();
    let workers = (0..host.config.workers.max(1)).map(|number| {
        let (handle, task) = WorkerHandle::new(number, Arc::clone(&host), reports.clone(), stop_builds.clone());
        tasks.spawn(task);
        handle
    });
    let workers = workers.collect();
    tasks.spawn(Custodian::new(Arc::clone(&host), notices, reports.clone()).work(stop_builds.clone()));
    let (tiers, stop_archiver) = (host.tiers.clone(), stop_builds.clone());
    tasks.spawn(async move { tiers.run_archiver(stop_archiver).await });
    let custodian = host.custodian.clone();
    let fleet = Fleet::new(Arc::clone(&host), reports, replicas);
    let mut supervisor = Supervisor { workers, fleet, custodian, stop_builds: stop_builds.clone() };
    supervisor.serve(commands, &shutdown).await;
    stop_builds.cancel();
    let builds = async { while tasks.join_next().await.is_some() {} };
    let ends = async { tokio::join!(builds, supervisor.fleet.finish_leaving()) };
    if tokio::time::timeout(SHUTDOWN_TIME_MAX, ends).await.is_err() {
        tracing::warn!("builds or stopping replicas did not end in time");
    }
    drop(supervisor);
    host.sandboxes.close().await;
    Ok(())
}

/// Unmounts the sites of a host that has ended. They have no shim to hold them, and whoever serves them ends after the host:
/// call it then. A start does it too.
pub async fn release_sites(config: &HostConfig) {
    let sites = host::sites_in(&config.data_dir);
    blocking(move || leftover::release_mounts(&sites)).await;
}

struct Supervisor {
    workers: Vec<WorkerHandle>,
    fleet: Fleet,
    custodian: CustodianHandle,
    stop_builds: CancellationToken,
}

impl Supervisor {
    async fn serve(&mut self, mut commands: mpsc::Receiver<HostCommand>, shutdown: &CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    self.take_last_set(&mut commands);
                    return;
                }
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = self.fleet.progress() => {}
            }
        }
    }

    /// What was said before the shutdown still counts for replicas: one that was taken away must not run on.
    fn take_last_set(&mut self, commands: &mut mpsc::Receiver<HostCommand>) {
        while let Ok(command) = commands.try_recv() {
            if let HostCommand::Replicas(set) = command {
                self.fleet.want(set);
            }
        }
    }

    fn obey(&mut self, command: HostCommand) {
        match command {
            HostCommand::RunPhase { worker, spec } => {
                let stop = self.stop_builds.clone();
                self.with_worker(worker, |handle| handle.run(spec, &stop));
            }
            HostCommand::CancelPhase { deployment } => {
                self.workers.iter_mut().for_each(|worker| worker.cancel(&deployment));
            }
            HostCommand::ReleaseWorker { worker, deployment } => {
                self.with_worker(worker, |handle| handle.release(deployment));
            }
            HostCommand::Replicas(set) => {
                self.fleet.want(set);
                // A deployment is live, or has ended: something else must stay than before.
                self.custodian.tell(Notice::Ended(Vec::new()));
            }
            HostCommand::LinesTaken { replica, run, through } => self.fleet.lines_taken(&replica, run, through),
            HostCommand::Retain(retention) => self.custodian.tell(Notice::Retention(retention)),
            HostCommand::Sweep { sweep, order } => self.custodian.tell(Notice::Order { sweep, order }),
        }
    }

    fn with_worker(&mut self, number: u32, act: impl FnOnce(&mut WorkerHandle)) {
        match self.workers.get_mut(number as usize) {
            Some(handle) => act(handle),
            None => tracing::error!(worker = number, "there is no such worker"),
        }
    }
}

/// Brings up everything that workers and replicas stand on, and clears what a former run left of its builds.
async fn open(
    config: HostConfig,
    custodian: CustodianHandle,
) -> Result<(Host, HashMap<String, Sandbox>), HostRunError> {
    let (layers_dir, data_dir) = (config.layers_dir.clone(), config.data_dir.clone());
    let store = blocking(move || LayerStore::open(layers_dir)).await?;
    let base = base_layer(&config.base);
    if !store.contains(&base) {
        return Err(HostRunError::NotPrepared(base));
    }
    let sandboxes = Sandboxes::open(config.sandbox.clone()).await?;
    let replicas = adopt(&sandboxes).await?;
    let caches_dir = data_dir.join("caches");
    let versions = caches_dir.join("versions");
    let sources = ToolSources {
        node: config.node.clone(),
        npm_program: config.npm_program.clone(),
        python: config.python.clone(),
        base: base.clone(),
    };
    let tiers = Tiers::new(store.clone(), config.layers.cold.clone())?;
    let toolchains = Toolchains::new(tiers.clone(), versions, sources);
    let server_id = server_id::ensure(&data_dir)?;
    let (caches, heads) =
        (Caches::new(&config.layers_dir, config.sandbox.written_by()), Heads::new(&config.layers_dir));
    let swept = caches.clone();
    let turns = Turns::default();
    let host = Host { caches, heads, config, store, tiers, custodian, server_id, sandboxes, toolchains, base, turns };
    let kept: Vec<String> = replicas.keys().flat_map(|id| [format!("{id}.img"), format!("{id}.run")]).collect();
    let (scratch, images, sites) = (host.scratch_root(), host.replica_images(), host.sites());
    blocking(move || {
        for directory in [&scratch, &sites] {
            leftover::release_mounts(directory);
        }
        for directory in [&caches_dir, &images, &sites] {
            std::fs::create_dir_all(directory).map_err(disk(directory))?;
        }
        cache::remove_of_services(&caches_dir);
        swept.sweep();
        leftover::clear(&sites, |_| false)?;
        leftover::clear(&scratch, |name| name == ".replicas")?;
        leftover::clear(&images, |name| kept.iter().any(|kept| kept == name))
    })
    .await?;
    Ok((host, replicas))
}

/// The sandboxes of replicas that still live, by id. Those of builds have lost whoever waited for them.
async fn adopt(sandboxes: &Sandboxes) -> Result<HashMap<String, Sandbox>, HostRunError> {
    let (replicas, builds): (Vec<Sandbox>, Vec<Sandbox>) =
        sandboxes.adopt().await?.into_iter().partition(|sandbox| is_replica_sandbox(sandbox.id()));
    let mut stopping = JoinSet::new();
    for sandbox in builds {
        stopping.spawn(async move { sandbox.stop(Duration::ZERO).await });
    }
    while let Some(stopped) = stopping.join_next().await {
        if let Ok(Err(error)) = stopped {
            tracing::warn!(%error, "cannot stop a leftover build");
        }
    }
    Ok(replicas.into_iter().map(|sandbox| (sandbox.id().to_owned(), sandbox)).collect())
}

pub(crate) fn disk(path: &Path) -> impl FnOnce(io::Error) -> HostRunError {
    let path = path.to_owned();
    move |source| HostRunError::Disk { path, source }
}
