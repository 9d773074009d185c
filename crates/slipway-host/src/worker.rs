//! One build worker: takes the phases of one deployment after another until it is released, then claims again.

use crate::host::Host;
use crate::{blocking, key, phase};
use slipway_layers::{LayerStore, Lease};
use slipway_types::host::{HostReport, PhaseOutcome, PhaseOutput, PhaseSpec, PhaseWork};
use slipway_types::{DeploymentId, LayerRef};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Orders of one worker: control sends one phase at a time, and a release behind it.
const ORDERS_MAX: usize = 8;

#[derive(Debug)]
enum Order {
    Run { spec: Box<PhaseSpec>, cancel: CancellationToken },
    Release(DeploymentId),
}

/// The supervisor's side of a worker.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    number: u32,
    orders: mpsc::Sender<Order>,
    /// The deployment whose phase came last, and how to end that phase.
    current: Option<(DeploymentId, CancellationToken)>,
}

impl WorkerHandle {
    /// A worker and the task that is to be spawned for it.
    pub(crate) fn new(
        number: u32,
        host: Arc<Host>,
        reports: mpsc::Sender<HostReport>,
        shutdown: CancellationToken,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let worker = Worker { number, host, reports, orders, shutdown, stands_on: StandsOn::default() };
        (Self { number, orders: sender, current: None }, worker.work())
    }

    /// Runs the phase. One that still runs is ended first: the newer order holds.
    pub(crate) fn run(&mut self, spec: Box<PhaseSpec>, shutdown: &CancellationToken) {
        self.cancel_current();
        let cancel = shutdown.child_token();
        self.current = Some((spec.deployment.clone(), cancel.clone()));
        self.order(Order::Run { spec, cancel });
    }

    pub(crate) fn cancel(&mut self, deployment: &DeploymentId) {
        if self.current.as_ref().is_some_and(|(current, _)| current == deployment) {
            self.cancel_current();
        }
    }

    pub(crate) fn release(&mut self, deployment: DeploymentId) {
        self.cancel_current();
        self.order(Order::Release(deployment));
    }

    fn cancel_current(&mut self) {
        if let Some((_, cancel)) = self.current.take() {
            cancel.cancel();
        }
    }

    /// Never waits: the supervisor must hear the next cancel whatever a worker does.
    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::error!(worker = self.number, "an order was lost: more were sent than a worker can have");
        }
    }
}

struct Worker {
    number: u32,
    host: Arc<Host>,
    reports: mpsc::Sender<HostReport>,
    orders: mpsc::Receiver<Order>,
    shutdown: CancellationToken,
    stands_on: StandsOn,
}

/// What the deployment of the moment is built on. None of it is evicted until the worker is released.
#[derive(Default)]
struct StandsOn {
    layers: BTreeSet<LayerRef>,
    lease: Option<Lease>,
}

impl StandsOn {
    /// The new lease comes before the old one goes.
    async fn add(&mut self, store: &LayerStore, layers: impl IntoIterator<Item = LayerRef>) {
        let before = self.layers.len();
        self.layers.extend(layers);
        if self.layers.len() == before {
            return;
        }
        let (store, layers) = (store.clone(), self.layers.iter().cloned().collect::<Vec<_>>());
        match blocking(move || store.lease(&layers)).await {
            Ok(lease) => self.lease = Some(lease),
            Err(error) => tracing::warn!(%error, "the layers of a build are not held: one may be evicted under it"),
        }
    }
}

/// The layers that a phase is given.
fn layers_of(work: &PhaseWork) -> &[LayerRef] {
    match work {
        PhaseWork::Install(command) | PhaseWork::Build { command, .. } => &command.layers,
        PhaseWork::PreDeploy { image, .. } => &image.layers,
        PhaseWork::Source { .. } | PhaseWork::Environment { .. } => &[],
    }
}

/// The layers that a phase has made or found.
fn layers_in(output: &PhaseOutput) -> &[LayerRef] {
    match output {
        PhaseOutput::Environment { layers, .. } | PhaseOutput::Build { layers, .. } => layers,
        PhaseOutput::Install { layer, .. } => std::slice::from_ref(layer),
        PhaseOutput::Source(_) | PhaseOutput::PreDeploy => &[],
    }
}

impl Worker {
    async fn work(mut self) {
        self.claim().await;
        loop {
            let order = tokio::select! {
                () = self.shutdown.cancelled() => return,
                order = self.orders.recv() => order,
            };
            match order {
                Some(Order::Run { spec, cancel }) => self.run(&spec, cancel).await,
                Some(Order::Release(deployment)) => {
                    self.remove_scratch(&deployment).await;
                    self.remove_source_of_site(&deployment).await;
                    self.stands_on = StandsOn::default();
                    self.claim().await;
                }
                None => return,
            }
        }
    }

    async fn claim(&self) {
        let _ = self.reports.send(HostReport::Claim { worker: self.number }).await;
    }

    async fn run(&mut self, spec: &PhaseSpec, cancel: CancellationToken) {
        let (deployment, phase) = (spec.deployment.clone(), spec.work.phase());
        let own = [key::source(&deployment), key::output(&deployment), key::site(&deployment), self.host.base.clone()];
        self.stands_on.add(&self.host.store, own.into_iter().chain(layers_of(&spec.work).iter().cloned())).await;
        tracing::info!(%deployment, %phase, worker = self.number, "phase started");
        let outcome = phase::run(&self.host, spec, &self.reports, cancel).await;
        if let PhaseOutcome::Done(output) = &outcome {
            self.stands_on.add(&self.host.store, layers_in(output).iter().cloned()).await;
        }
        tracing::info!(%deployment, %phase, worker = self.number, outcome = outcome_name(&outcome), "phase ended");
        let _ = self.reports.send(HostReport::PhaseFinished { deployment, phase, outcome }).await;
    }

    async fn remove_scratch(&self, deployment: &DeploymentId) {
        let scratch = self.host.scratch(deployment);
        match tokio::fs::remove_dir_all(&scratch).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %scratch.display(), "cannot remove the scratch of a deployment");
            }
            _ => {}
        }
    }

    /// A site stands on its own layer alone: once it is built, its source has served its purpose.
    async fn remove_source_of_site(&self, deployment: &DeploymentId) {
        let (store, site, source) = (self.host.store.clone(), key::site(deployment), key::source(deployment));
        let removed = blocking(move || if store.contains(&site) { store.remove(&source) } else { Ok(false) }).await;
        if let Err(error) = removed {
            tracing::warn!(%error, %deployment, "cannot remove the source of a site");
        }
    }
}

fn outcome_name(outcome: &PhaseOutcome) -> &'static str {
    match outcome {
        PhaseOutcome::Done(_) => "done",
        PhaseOutcome::Failed(_) => "failed",
        PhaseOutcome::Canceled => "canceled",
        PhaseOutcome::Ignored => "ignored",
    }
}
