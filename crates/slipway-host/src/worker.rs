//! One build worker: takes the phases of one deployment after another until it is released, then claims again.

use crate::custodian::Notice;
use crate::hold::Hold;
use crate::host::Host;
use crate::turn::Turn;
use crate::{blocking, key, phase};
use slipway_types::host::{HEARTBEAT_INTERVAL, HostReport, PhaseOutcome, PhaseOutput, PhaseSpec};
use slipway_types::{DeploymentId, LayerKind};
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
        let worker = Worker { number, host, reports, orders, shutdown, hold: Arc::default(), bound: None };
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

/// Never ends. Of a worker that is bound to nothing it says nothing.
async fn beat(worker: u32, bound: Option<(DeploymentId, u64)>, reports: &mpsc::Sender<HostReport>) {
    let Some((deployment, attempt)) = bound else { return std::future::pending().await };
    loop {
        tokio::time::sleep(HEARTBEAT_INTERVAL).await;
        let deployment = deployment.clone();
        if reports.send(HostReport::Heartbeat { worker, deployment, attempt }).await.is_err() {
            // Control has gone, and with it this worker soon.
            return std::future::pending().await;
        }
    }
}

struct Worker {
    number: u32,
    host: Arc<Host>,
    reports: mpsc::Sender<HostReport>,
    orders: mpsc::Receiver<Order>,
    shutdown: CancellationToken,
    /// What its deployment stands on.
    hold: Arc<Hold>,
    bound: Option<Bound>,
}

/// From the first phase of a deployment to the worker's release.
struct Bound {
    deployment: DeploymentId,
    /// The newest.
    attempt: u64,
    /// Nobody else works on the deployment. A worker that was taken for lost may have it still, with the directory that it
    /// writes to.
    _turn: Turn,
}

impl Worker {
    async fn work(mut self) {
        self.claim().await;
        loop {
            let beats = self.bound.as_ref().map(|bound| (bound.deployment.clone(), bound.attempt));
            let order = tokio::select! {
                () = self.shutdown.cancelled() => return,
                order = self.orders.recv() => order,
                () = beat(self.number, beats, &self.reports) => continue,
            };
            match order {
                Some(Order::Run { spec, cancel }) => self.run_on_lease(&spec, cancel).await,
                Some(Order::Release(deployment)) => {
                    self.remove_scratch(&deployment).await;
                    self.remove_source_of_site(&deployment).await;
                    self.host.custodian.tell(Notice::Ended(self.hold.take()));
                    self.bound = None;
                    self.claim().await;
                }
                None => return,
            }
        }
    }

    async fn claim(&self) {
        let _ = self.reports.send(HostReport::Claim { worker: self.number }).await;
    }

    /// Says that it lives for as long as the phase takes, also while the phase waits.
    async fn run_on_lease(&mut self, spec: &PhaseSpec, cancel: CancellationToken) {
        let (number, reports) = (self.number, self.reports.clone());
        let beats = Some((spec.deployment.clone(), spec.attempt));
        tokio::select! {
            () = self.run(spec, cancel) => {}
            () = beat(number, beats, &reports) => {}
        }
    }

    async fn run(&mut self, spec: &PhaseSpec, cancel: CancellationToken) {
        let (deployment, attempt, phase) = (spec.deployment.clone(), spec.attempt, spec.work.phase());
        if !self.bind(spec, &cancel).await {
            let outcome = PhaseOutcome::Canceled;
            let _ = self.reports.send(HostReport::PhaseFinished { deployment, attempt, phase, outcome }).await;
            return;
        }
        tracing::info!(%deployment, %phase, worker = self.number, "phase started");
        let outcome = phase::run(&self.host, spec, &self.reports, cancel, &self.hold).await;
        if let PhaseOutcome::Done(output) = &outcome {
            self.note_made(spec, output).await;
        }
        tracing::info!(%deployment, %phase, worker = self.number, outcome = outcome.as_str(), "phase ended");
        let _ = self.reports.send(HostReport::PhaseFinished { deployment, attempt, phase, outcome }).await;
    }

    /// Waits until nobody else has the deployment. False: it was canceled before.
    async fn bind(&mut self, spec: &PhaseSpec, cancel: &CancellationToken) -> bool {
        if let Some(bound) = self.bound.as_mut().filter(|bound| bound.deployment == spec.deployment) {
            bound.attempt = spec.attempt;
            return true;
        }
        self.bound = None;
        let turn = tokio::select! {
            turn = self.host.turns.take(&spec.deployment) => turn,
            () = cancel.cancelled() => return false,
        };
        self.bound = Some(Bound { deployment: spec.deployment.clone(), attempt: spec.attempt, _turn: turn });
        true
    }

    /// Whose layers they are, for quotas and listings. A layer that several services share stays with the first.
    async fn note_made(&self, spec: &PhaseSpec, output: &PhaseOutput) {
        let layers = match output {
            PhaseOutput::Source(_) => vec![key::source(&spec.deployment)],
            PhaseOutput::Environment { layers, .. } | PhaseOutput::Build { layers, .. } => layers.clone(),
            PhaseOutput::Install { layer, .. } => vec![layer.clone()],
            PhaseOutput::PreDeploy => return,
        };
        let (store, service, hold) = (self.host.store.clone(), spec.service_id.clone(), Arc::clone(&self.hold));
        blocking(move || {
            hold.add(&store, &layers);
            let is_shared = |kind| matches!(kind, LayerKind::Base | LayerKind::Toolchain);
            for layer in layers.iter().filter(|layer| !is_shared(layer.kind)) {
                if store.record(layer).made_for.is_none()
                    && let Err(error) = store.update_record(layer, |record| record.made_for = Some(service.clone()))
                {
                    tracing::warn!(%error, %layer, "it is not noted whose layer this is");
                }
            }
        })
        .await;
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
