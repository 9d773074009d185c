//! What people ask for. Each becomes rows before it is answered.

use super::{Executor, Order};
use crate::refusal::{Refusal, cause_chain};
use crate::reuse::{Build, Redeploy};
use crate::source;
use slipway_pipeline::{Event, RollbackRefusal};
use slipway_store::{Change, Destroyed, NewDeployment, ReleaseRow, Reuse, RollbackChoice, ServiceRow, StoreError};
use slipway_types::api::{DeploymentView, EnvApplyView};
use slipway_types::cache::SweepOrder;
use slipway_types::host::HostCommand;
use slipway_types::{DeploymentId, LayerRef, ReleaseId, ServiceId, SourceSpec, Trigger};
use tokio::sync::oneshot;

/// Logs of this many deployments of a service are kept.
pub(crate) const LOGS_KEPT: u64 = 100;
/// Older logs removed at one new deployment: it adds one, so a few more catch up.
const LOGS_REMOVED_MAX: u32 = 5;
/// Deployments listed at once when a service's logs are removed.
const PAGE: u32 = 1000;

type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

#[derive(Debug)]
pub(crate) enum Command {
    Deploy {
        service: ServiceRow,
        source: SourceSpec,
        message: Option<String>,
        /// Also when a deployment of the same source runs.
        force: bool,
        reply: Reply<DeploymentView>,
    },
    Redeploy {
        service: ServiceRow,
        rebuild: bool,
        reply: Reply<DeploymentView>,
    },
    Rollback {
        service: ServiceRow,
        release: Option<u32>,
        reply: Reply<DeploymentView>,
    },
    Cancel {
        deployment: DeploymentId,
        reply: Reply<DeploymentView>,
    },
    Destroy {
        service: ServiceRow,
        reply: Reply<()>,
    },
    /// Other replicas of what is live.
    Supervise {
        service: ServiceRow,
        order: Order,
        reply: Reply<()>,
    },
    /// The newest variables for what is live.
    ApplyVariables {
        service: ServiceRow,
        reply: Reply<EnvApplyView>,
    },
    /// Answers with the sweep's id.
    Sweep {
        order: SweepOrder,
        reply: Reply<String>,
    },
}

/// What a deployment begins with.
enum Begin {
    /// Its source.
    Build,
    /// An image that is there.
    Reuse(Box<Reuse>),
    Release(ReleaseId),
}

/// Where the source is, and the name that people see of it: a commit, once one is known.
struct Named {
    source: SourceSpec,
    label: String,
}

impl Executor {
    /// A caller that has gone does not matter: what was asked for is stored.
    pub(super) async fn command(&mut self, command: Command) {
        match command {
            Command::Deploy { service, source, message, force, reply } => {
                let _ = reply.send(self.deploy(&service.service_id, source, message, force).await);
            }
            Command::Redeploy { service, rebuild, reply } => {
                let _ = reply.send(self.redeploy(&service.service_id, rebuild).await);
            }
            Command::Rollback { service, release, reply } => {
                let _ = reply.send(self.rollback(&service.service_id, release).await);
            }
            Command::Cancel { deployment, reply } => {
                let _ = reply.send(self.cancel(&deployment).await);
            }
            Command::Destroy { service, reply } => {
                let _ = reply.send(self.destroy(&service).await);
            }
            Command::Supervise { service, order, reply } => {
                let _ = reply.send(self.supervise(&service.service_id, order).await);
            }
            Command::ApplyVariables { service, reply } => {
                let _ = reply.send(self.apply_variables(&service.service_id).await);
            }
            Command::Sweep { order, reply } => {
                let _ = reply.send(self.sweep(order));
            }
        }
    }

    async fn deploy(
        &mut self,
        service: &ServiceId,
        source: SourceSpec,
        message: Option<String>,
        force: bool,
    ) -> Result<DeploymentView, Refusal> {
        if !force {
            let row = self.shared.store.service(service).await?;
            if let Some(same) = self.same_that_runs(&row, &source).await? {
                return Ok(same);
            }
        }
        self.shared.check_queue_for(Some(service), &source).await?;
        self.shared
            .credentials
            .keep(&self.shared.key, service, &source)
            .map_err(|error| Refusal::internal("could not keep the git credential", &error))?;
        let source = Named { label: source::label(&source), source };
        self.create(service, Trigger::Source, source, message, Begin::Build).await
    }

    async fn redeploy(&mut self, service: &ServiceId, rebuild: bool) -> Result<DeploymentView, Refusal> {
        // Settings and variables are not to change between the decision and the deployment that it is about.
        let shared = self.shared.clone();
        let _turn = shared.editing.lock().await;
        let service = self.shared.store.service(service).await?;
        let Redeploy { source, label, message, build } = self.shared.redeploy(&service, rebuild).await?;
        let id = &service.service_id;
        if let Build::Reuse(reuse) = build {
            let source = Named { source, label };
            return self.create(id, Trigger::Redeploy, source, message, Begin::Reuse(reuse)).await;
        }
        if let SourceSpec::Upload { upload } = &source
            && !self.shared.uploads.contains(upload)
        {
            return Err(Refusal::conflict("upload-gone", format!("the upload `{upload}` is no longer kept"))
                .hint("run `slipway up` in the directory again"));
        }
        self.shared.check_queue(Some(id)).await?;
        self.create(id, Trigger::Redeploy, Named { source, label }, message, Begin::Build).await
    }

    async fn rollback(&mut self, service: &ServiceId, wanted: Option<u32>) -> Result<DeploymentView, Refusal> {
        match self.shared.store.rollback_release(service, wanted).await? {
            RollbackChoice::To(release) => {
                let gone = self.shared.cache().gone(&release.image.layers, release.created_at);
                if !gone.is_empty() {
                    return Err(release_gone(&release, &gone, self.shared.keep_releases));
                }
                let message = Some(format!("rollback to v{}", release.number));
                let begin = Begin::Release(release.release);
                let source = Named { source: release.source, label: release.source_label };
                self.create(service, Trigger::Rollback, source, message, begin).await
            }
            RollbackChoice::Refused(refusal) => Err(rollback_refused(refusal)),
        }
    }

    async fn create(
        &mut self,
        service: &ServiceId,
        trigger: Trigger,
        Named { source, label }: Named,
        message: Option<String>,
        begin: Begin,
    ) -> Result<DeploymentView, Refusal> {
        let deployment = self.new_deployment_id()?;
        let (release, reuse) = match begin {
            Begin::Build => (None, None),
            Begin::Reuse(reuse) => (None, Some(*reuse)),
            Begin::Release(release) => (Some(release), None),
        };
        let new = NewDeployment {
            deployment: deployment.clone(),
            service: service.clone(),
            trigger,
            source_label: label,
            source: source::without_credential(source),
            message,
            release,
            reuse,
        };
        let applied = self.shared.store.create_deployment(self.shared.now(), &new).await?;
        self.absorb(applied).await;
        let row = self.shared.store.deployment(&deployment).await?;
        self.remove_old_logs(service, row.summary.sequence).await;
        Ok(self.shared.view(row.summary))
    }

    /// `dpl-` and 80 random bits, in letters and digits that are not mistaken for each other.
    pub(super) fn new_deployment_id(&self) -> Result<DeploymentId, Refusal> {
        let text = self.shared.random_id("dpl")?;
        DeploymentId::parse(text).map_err(|error| Refusal::internal("a new id is not an id", &error))
    }

    async fn cancel(&mut self, deployment: &DeploymentId) -> Result<DeploymentView, Refusal> {
        let unknown = |error: StoreError| match error {
            StoreError::Missing { .. } => crate::shared::deployment_unknown(deployment),
            error => error.into(),
        };
        let now = self.shared.now();
        let applied = self.shared.store.apply(now, deployment, &Event::CancelRequested, &Change::default()).await;
        let applied = applied.map_err(unknown)?;
        if !applied.changed {
            let status = applied.after.status();
            let message = format!("deployment `{deployment}` can't be canceled any more: it is {status}");
            return Err(Refusal::conflict("deployment-settled", message));
        }
        self.absorb(applied).await;
        self.shared.deployment_view(deployment).await
    }

    /// Everything of the service ends: builds are broken off, replicas stop, rows, logs and credentials go.
    async fn destroy(&mut self, service: &ServiceRow) -> Result<(), Refusal> {
        let id = &service.service_id;
        let logged = self.all_deployments(id).await?;
        let Destroyed { deployments, .. } = self.shared.store.destroy(id).await?;
        for (deployment, state) in deployments {
            if let Some(worker) = state.worker() {
                self.outbox.push_back(HostCommand::CancelPhase { deployment: deployment.clone() });
                self.outbox.push_back(HostCommand::ReleaseWorker { worker, deployment: deployment.clone() });
            }
        }
        let replicas = self.shared.fleet().of_service(id);
        for deployment in replicas {
            self.shared.fleet().drop_deployment(&deployment);
        }
        self.active.retain(|_, active| active.service != *id);
        self.services.remove(id);
        self.maskers.remove(id);
        self.service_logs.remove(id);
        self.replicas_changed = true;
        self.routes_changed = true;
        self.assign_due = true;
        self.sweep_destroyed(id);
        let logs = &self.shared.logs;
        let removed = logged.iter().try_for_each(|deployment| logs.remove_deployment(deployment));
        if let Err(error) =
            removed.and_then(|()| logs.remove_service(id)).and_then(|()| self.shared.credentials.forget(id))
        {
            tracing::warn!(service = %id, %error, "something of a destroyed service could not be removed");
        }
        Ok(())
    }

    async fn all_deployments(&self, service: &ServiceId) -> Result<Vec<DeploymentId>, StoreError> {
        let mut all = Vec::new();
        let mut before = None;
        loop {
            let page = self.shared.store.deployments_of(service, before, PAGE).await?;
            let Some(last) = page.last() else { return Ok(all) };
            before = Some(last.sequence);
            all.extend(page.into_iter().map(|summary| summary.deployment));
        }
    }

    async fn remove_old_logs(&self, service: &ServiceId, newest: u64) {
        let Some(before) = newest.checked_sub(LOGS_KEPT) else { return };
        match self.shared.store.deployments_of(service, Some(before), LOGS_REMOVED_MAX).await {
            Ok(old) => {
                for summary in old {
                    if let Err(error) = self.shared.logs.remove_deployment(&summary.deployment) {
                        tracing::warn!(deployment = %summary.deployment, %error, "could not remove an old log");
                    }
                }
            }
            Err(error) => tracing::warn!(error = cause_chain(&error), "could not look for old logs"),
        }
    }
}

fn rollback_refused(refusal: RollbackRefusal) -> Refusal {
    match refusal {
        RollbackRefusal::Unknown { number } => {
            Refusal::not_found("release-unknown", format!("the service has no release v{number}"))
        }
        RollbackRefusal::AlreadyLive { number } => {
            Refusal::conflict("release-already-live", format!("release v{number} is live already"))
        }
        RollbackRefusal::NothingBefore => {
            Refusal::conflict("nothing-to-roll-back-to", "no older release of the service was ever live")
        }
    }
}

/// Said at once, because a start would end the same way.
fn release_gone(release: &ReleaseRow, gone: &[LayerRef], kept: u32) -> Refusal {
    let names: Vec<String> = gone.iter().map(|layer| format!("`{layer}`")).collect();
    let message =
        format!("release v{} is gone: the store of layers no longer has {}", release.number, names.join(", "));
    let refusal = Refusal::conflict("release-gone", message);
    let again = match &release.source {
        SourceSpec::Git(git) => {
            format!("build it again: `slipway deploy --git {} --ref {}`", git.url, release.source_label)
        }
        SourceSpec::Upload { .. } => "build it again: run `slipway up` in the directory as it was then".to_owned(),
    };
    let kept = format!("the newest {kept} releases of each service are kept (`layers.keep_releases` of the server)");
    refusal.hint(again).hint(kept)
}
