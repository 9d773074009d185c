//! What was decided, done. Each action may come twice, so each is an `ensure`: ids in the outside world derive from the
//! deployment's.

use super::fleet::replica_id;
use super::work::{Live, MissingInput, OwnerOfWork, Work};
use super::{Executor, Fault};
use crate::shared::Shared;
use slipway_pipeline::{Action, DeploymentState, Event, Roster};
use slipway_store::{DeploymentRow, NewRelease, ReleaseRow};
use slipway_types::host::{HostCommand, PhaseOutput, PhaseSpec, ReplicaSpec};
use slipway_types::settings::DurationMs;
use slipway_types::{
    DeploymentId, DeploymentStatus, Phase, ReleaseId, ServiceKind, ServiceSettings, SourceSpec, Trigger, UploadId,
};
use std::collections::BTreeSet;

impl Executor {
    pub(super) async fn perform(&mut self, deployment: &DeploymentId, action: &Action) -> Result<(), Fault> {
        match action {
            Action::RunPhase { worker, phase } => self.run_phase(deployment, *worker, *phase).await?,
            Action::CancelPhase => {
                self.outbox.push_back(HostCommand::CancelPhase { deployment: deployment.clone() });
            }
            Action::ReleaseWorker { worker } => {
                // Given by an earlier run of the server, it is not bound any more: it would claim twice.
                if self.bound_workers.get(worker) == Some(deployment) {
                    self.bound_workers.remove(worker);
                    let deployment = deployment.clone();
                    self.outbox.push_back(HostCommand::ReleaseWorker { worker: *worker, deployment });
                }
            }
            Action::CreateRelease => self.create_release(deployment).await?,
            Action::StartReplicas => self.start_replicas(deployment).await?,
            Action::StopReplicas => self.drop_replicas(deployment),
            Action::SwitchRoutes => {
                self.each_older(deployment, Self::drain_replicas);
                self.switch_due = true;
                self.routes_changed = true;
            }
            Action::BeginDrain => {
                self.each_older(deployment, Self::drain_replicas);
                self.check_drains();
            }
            Action::StopFormerReplicas => self.each_older(deployment, Self::drop_replicas),
            Action::RemoveScratch => {
                // The host removes a deployment's scratch with the release of its worker; what is left are uploads.
                self.prune_uploads().await;
                self.push(deployment, Event::CleanedUp);
            }
            // Done by the store.
            Action::MakeLive { .. } | Action::MarkSuperseded | Action::Diagnose { .. } => {}
        }
        Ok(())
    }

    async fn run_phase(&mut self, deployment: &DeploymentId, worker: u32, phase: Phase) -> Result<(), Fault> {
        let row = self.shared.store.deployment(deployment).await?;
        let work = match phase {
            // Also when it starts again: with the settings of now.
            Phase::Source => self.begin_work(&row).await?,
            _ => match self.active.get_mut(deployment).and_then(|active| active.work.take()) {
                Some(work) => work,
                None => self.restore_work(&row).await?,
            },
        };
        let phase_work = work.phase_work(phase)?;
        // Of a state that has moved on meanwhile nothing is to be done.
        let Some(attempt) = row.state.attempt() else { return Ok(()) };
        let lineage = work.lineage().clone();
        if let Some(active) = self.active.get_mut(deployment) {
            active.work = Some(work);
        }
        let spec = PhaseSpec {
            deployment: deployment.clone(),
            attempt,
            service_id: row.summary.service_id,
            project: row.summary.project,
            service: row.summary.service,
            lineage,
            work: phase_work,
        };
        self.grant_lease(deployment, attempt);
        self.outbox.push_back(HostCommand::RunPhase { worker, spec: Box::new(spec) });
        Ok(())
    }

    async fn begin_work(&mut self, row: &DeploymentRow) -> Result<Work, Fault> {
        let service = &row.summary.service_id;
        let source = self.shared.credentials.add_to(&self.shared.key, service, row.source.clone())?;
        let variables = self.shared.variables(service, row.env_revision).await?;
        let masker = self.maskers.entry(service.clone()).or_default();
        variables.add_secrets_to(masker);
        masker.add(crate::source::credential(&source));
        let stored = self.shared.store.service(service).await?;
        let live = Box::pin(self.live_source(stored.live.as_ref())).await?;
        let owner = OwnerOfWork { key: self.shared.key.clone(), service: service.clone(), variables };
        let work = Work::new(source, stored.settings, owner).with_live(live);
        Ok(work.triggered_by(row.summary.trigger, row.summary.source_label.clone()))
    }

    async fn live_source(&self, live: Option<&DeploymentId>) -> Result<Live, Fault> {
        let Some(live) = live else { return Ok(Live::Nothing) };
        Ok(Live::Source(self.shared.store.deployment(live).await?.summary.source_label))
    }

    /// From what is stored of the phases that have ended.
    async fn restore_work(&mut self, row: &DeploymentRow) -> Result<Work, Fault> {
        let mut work = self.begin_work(row).await?;
        if let (Some(plan), Some(settings)) = (&row.plan, &row.settings) {
            work.restore_plan(plan.clone(), settings.clone());
        }
        work.restore_image(row.image.clone());
        for phase in self.shared.store.phases(&row.summary.deployment).await? {
            match phase.output {
                Some(PhaseOutput::Source(facts)) => work.restore_commit(facts.commit),
                Some(output) => drop(work.take(phase.phase, output)),
                None => {}
            }
        }
        Ok(work)
    }

    async fn create_release(&mut self, deployment: &DeploymentId) -> Result<(), Fault> {
        let row = self.shared.store.deployment(deployment).await?;
        if row.release.is_some() {
            return Ok(());
        }
        // The work stays: a diagnosis of the start wants to know the plan and the source too.
        let image = match self.active.get(deployment).and_then(|active| active.work.as_ref()) {
            Some(work) => work.image().cloned(),
            None => self.restore_work(&row).await?.image().cloned(),
        };
        let image = image.ok_or(MissingInput::new(Phase::Start, "an image"))?;
        let release = ReleaseId::parse(deployment.as_str().replacen("dpl-", "rel-", 1)).map_err(Fault::Id)?;
        let new = NewRelease { release, deployment: deployment.clone(), image };
        self.shared.store.create_release(self.shared.now(), &new).await?;
        Ok(())
    }

    pub(super) async fn start_replicas(&mut self, deployment: &DeploymentId) -> Result<(), Fault> {
        let row = self.shared.store.deployment(deployment).await?;
        let release = row.release.clone().ok_or(MissingInput::new(Phase::Start, "a release"))?;
        let release = self.shared.store.release(&release).await?;
        let service = &row.summary.service_id;
        let variables = self.shared.variables(service, release.env_revision).await?;
        variables.add_secrets_to(self.maskers.entry(service.clone()).or_default());
        // A site has no process that more of it would help.
        let replicas = if release.image.process().is_some() { release.settings.replicas } else { 1 };
        let roster = self.shared.store.roster(deployment).await?.unwrap_or(Roster::new(replicas));
        let template = replica_spec(&row, &release, (variables.for_run(), release.env_revision)).map_err(Fault::Id)?;
        let of = (service, row.summary.sequence);
        self.shared.fleet().ensure(self.shared.now(), deployment, of, template, roster).map_err(Fault::Id)?;
        self.shared.fleet().may_sleep(deployment, super::sleep::times(&release.settings, &release.image));
        self.replicas_changed = true;
        self.routes_changed = true;
        if self.shared.fleet().all_ready(deployment) {
            self.push(deployment, Event::ReplicasReady);
        }
        Ok(())
    }

    fn drop_replicas(&mut self, deployment: &DeploymentId) {
        self.shared.fleet().drop_deployment(deployment);
        self.replicas_changed = true;
        self.routes_changed = true;
    }

    fn drain_replicas(&mut self, deployment: &DeploymentId) {
        self.shared.fleet().drain(deployment);
        self.routes_changed = true;
    }

    /// For every older deployment of the same service that has replicas.
    fn each_older(&mut self, deployment: &DeploymentId, act: fn(&mut Self, &DeploymentId)) {
        let older = self.shared.fleet().older(deployment);
        for former in &older {
            act(self, former);
        }
    }

    /// Uploads are needed by the newest deployment of each service (a redeploy) and by those that build.
    async fn prune_uploads(&self) {
        let needed = match self.shared.needed_uploads().await {
            Ok(needed) => needed,
            Err(fault) => return tracing::warn!(error = %fault, "could not find out which uploads are needed"),
        };
        match self.shared.uploads.prune(&needed) {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "uploads that no deployment needs were removed"),
            Err(error) => tracing::warn!(%error, "could not remove old uploads"),
        }
    }
}

impl Shared {
    /// Of which something may still be built.
    pub(super) async fn needed_uploads(&self) -> Result<BTreeSet<UploadId>, Fault> {
        let mut sources = Vec::new();
        for overview in self.store.overviews().await? {
            if let Some(newest) = overview.newest.or(overview.live) {
                sources.push(self.store.deployment(&newest.deployment).await?.source);
            }
        }
        sources.extend(self.store.active_deployments().await?.into_iter().map(|row| row.source));
        let upload = |source| match source {
            SourceSpec::Upload { upload } => Some(upload),
            SourceSpec::Git(_) => None,
        };
        Ok(sources.into_iter().filter_map(upload).collect())
    }
}

/// A release that is rolled back to was stable before: its first healthy answer is enough, and being back matters most.
fn stable_window(trigger: Trigger, settings: &ServiceSettings) -> DurationMs {
    if trigger == Trigger::Rollback { DurationMs(0) } else { settings.health.stable_window }
}

/// Of each replica; its own id is filled in for each.
fn replica_spec(
    row: &DeploymentRow,
    release: &ReleaseRow,
    (env, env_revision): (slipway_types::host::Env, u64),
) -> Result<ReplicaSpec, slipway_types::id::IdError> {
    let settings = &release.settings;
    Ok(ReplicaSpec {
        replica: replica_id(&row.summary.deployment, 1)?,
        deployment: row.summary.deployment.clone(),
        service_id: row.summary.service_id.clone(),
        project: row.summary.project.clone(),
        service: row.summary.service.clone(),
        image: release.image.clone(),
        env,
        env_revision,
        reload: settings.reload,
        port: settings.port,
        limits: settings.run,
        health: (settings.kind == ServiceKind::Web).then(|| settings.health.clone()),
        stable_window: stable_window(row.summary.trigger, settings),
        stop_grace: settings.stop_grace,
        asleep: false,
        served: row.summary.status == DeploymentStatus::Live || matches!(row.state, DeploymentState::Routing { .. }),
    })
}
