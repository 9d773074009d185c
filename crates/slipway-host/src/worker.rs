//! One build worker: takes the phases of one deployment after another until it is released, then claims again.

use crate::host::Host;
use crate::{blocking, key, phase};
use slipway_types::DeploymentId;
use slipway_types::host::{HostReport, PhaseSpec};
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
        let worker = Worker { number, host, reports, orders, shutdown };
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
                    self.claim().await;
                }
                None => return,
            }
        }
    }

    async fn claim(&self) {
        let _ = self.reports.send(HostReport::Claim { worker: self.number }).await;
    }

    async fn run(&self, spec: &PhaseSpec, cancel: CancellationToken) {
        let (deployment, phase) = (spec.deployment.clone(), spec.work.phase());
        tracing::info!(%deployment, %phase, worker = self.number, "phase started");
        let outcome = phase::run(&self.host, spec, &self.reports, cancel).await;
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

fn outcome_name(outcome: &slipway_types::host::PhaseOutcome) -> &'static str {
    use slipway_types::host::PhaseOutcome;
    match outcome {
        PhaseOutcome::Done(_) => "done",
        PhaseOutcome::Failed(_) => "failed",
        PhaseOutcome::Canceled => "canceled",
        PhaseOutcome::Ignored => "ignored",
    }
}
