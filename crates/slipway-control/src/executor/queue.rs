//! The build queue: who is given a worker, who is told why it waits, who joins a deployment of the same source, and who is
//! refused because the queue is full. The order is [`slipway_pipeline::Queue`]'s.

use super::{Executor, Happening};
use crate::refusal::{Refusal, cause_chain};
use crate::shared::Shared;
use crate::source;
use slipway_pipeline::{DeploymentState, Event, Shape, memory_of};
use slipway_store::{Change, DeploymentRow, QueueRules, ServiceRow, StoreError};
use slipway_types::api::{DeploymentEvent, DeploymentView, WaitView};
use slipway_types::settings::ByteSize;
use slipway_types::{DeploymentId, Phase, ServiceId, SourceSpec, Trigger};
use std::collections::BTreeMap;
use std::mem::discriminant;
use std::time::Duration;

/// Until a place in a full queue may be free: a small build takes as long.
const QUEUE_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Why each deployment waits that does.
pub(crate) type Waits = BTreeMap<DeploymentId, WaitView>;

impl Executor {
    /// Gives a waiting deployment to each idle worker. Without a change since the last look nothing can wait, so the database
    /// is not asked. Nor is anything given away while something that happened could not be stored: that would be about what was
    /// before.
    pub(super) async fn assign(&mut self) {
        while self.assign_due && self.unread.is_empty() && self.again.is_empty() {
            let Some(worker) = self.idle_workers.first().copied() else { break };
            match self.shared.store.claim_build(self.shared.now(), worker, self.queue_rules()).await {
                Ok(Some(claimed)) => {
                    self.idle_workers.remove(&worker);
                    self.bound_workers.insert(worker, claimed.deployment);
                    self.turns.take(&claimed.project);
                    self.absorb(claimed.applied).await;
                }
                Ok(None) => break,
                Err(error) => {
                    self.assign_due = false;
                    self.decide_again();
                    return tracing::error!(error = cause_chain(&error), "could not look for waiting deployments");
                }
            }
        }
        if self.assign_due && self.unread.is_empty() && self.again.is_empty() {
            self.assign_due = false;
            if let Err(error) = self.note_waits().await {
                tracing::warn!(error = cause_chain(&error), "could not find out why deployments wait");
            }
        }
    }

    fn queue_rules(&self) -> QueueRules<'_> {
        let is_production = |source: &SourceSpec| source::context(source).name == "production";
        QueueRules { memory_max_bytes: self.shared.build_memory_max_bytes, turns: &self.turns, is_production }
    }

    /// For listings, and once for each reason into the deployment's log and past.
    async fn note_waits(&mut self) -> Result<(), StoreError> {
        if !self.active.values().any(|active| active.state.waits_for_worker()) {
            self.told_waits.clear();
            self.shared.waits().clear();
            return Ok(());
        }
        let now = self.shared.now();
        let waits = self.shared.store.waits(now, !self.idle_workers.is_empty(), self.queue_rules()).await?;
        let of = u32::try_from(waits.len()).unwrap_or(u32::MAX);
        let mut views = Waits::new();
        let mut told = BTreeMap::new();
        for (service, wait) in waits {
            let because = wait.waits_for.to_string();
            let is_told = self.told_waits.get(&wait.deployment) == Some(&discriminant(&wait.waits_for));
            if !is_told {
                self.tell_of_wait(&service, &wait.deployment, wait.position, of, &because).await?;
            }
            told.insert(wait.deployment.clone(), discriminant(&wait.waits_for));
            views.insert(wait.deployment, WaitView { position: wait.position, of, because });
        }
        self.told_waits = told;
        *self.shared.waits() = views;
        Ok(())
    }

    async fn tell_of_wait(
        &self,
        service: &ServiceId,
        deployment: &DeploymentId,
        position: u32,
        of: u32,
        because: &str,
    ) -> Result<(), StoreError> {
        let at = self.shared.now();
        let because = format!("{because} (number {position} of {of} in the queue)");
        self.shared.store.add_event(at, service, Some(deployment), "deployment-waits", &because).await?;
        if let Some(active) = self.active.get(deployment) {
            active.journal.write(&DeploymentEvent::Waits { at, because });
        }
        Ok(())
    }

    /// The end of a source phase says what its build may take. What does not fit beside the builds that run waits again; what fits
    /// nowhere fails.
    pub(super) async fn or_wants_memory(&self, deployment: &DeploymentId, happening: Happening) -> Happening {
        let (Event::PhaseDone { phase: Phase::Source, attempt, .. }, Some(planned)) =
            (&happening.event, &happening.change.planned)
        else {
            return happening;
        };
        let wanted = memory_of(&planned.settings, &Shape::of(&planned.plan, &planned.settings)).0;
        let max = self.shared.build_memory_max_bytes;
        if wanted > max {
            let diagnosis = slipway_build::build_memory_over_budget(ByteSize(wanted), ByteSize(max));
            let code = diagnosis.code.clone();
            let event = Event::PhaseFailed { phase: Phase::Source, attempt: Some(*attempt), code };
            return Happening { event, change: Change { diagnosis: Some(diagnosis), ..Change::default() } };
        }
        let builds = match self.shared.store.builds().await {
            Ok(builds) => builds,
            Err(error) => {
                tracing::warn!(error = cause_chain(&error), "it is not known what other builds hold of the memory");
                return happening;
            }
        };
        let others = builds.iter().filter(|held| held.deployment != *deployment);
        let held = others.map(|held| held.memory_bytes).fold(0, u64::saturating_add);
        if held.saturating_add(wanted) <= max {
            return happening;
        }
        let event = Event::MemoryWanted { attempt: *attempt };
        let (wanted, held, max) = (ByteSize(wanted), ByteSize(held), ByteSize(max));
        let note = format!(
            "the build needs {wanted}, and other builds hold {held} of {max}: it begins again when there is room"
        );
        let change = Change { note: Some(note), output: None, ..happening.change };
        Happening { event, change }
    }

    /// The deployment of the same source, with the same settings and variables, that waits or runs.
    pub(super) async fn same_that_runs(
        &self,
        service: &ServiceRow,
        source: &SourceSpec,
    ) -> Result<Option<DeploymentView>, Refusal> {
        let newest = self.shared.store.newest_not_ignored(&service.service_id).await?;
        let same = newest.filter(|row| {
            let asked = source::without_credential(source.clone());
            !row.summary.status.is_settled()
                && row.summary.trigger == Trigger::Source
                && row.source == asked
                && row.env_revision == service.env_revision
                && self.has_settings_of(row, service)
                && (is_fixed(&asked) || !has_begun(&row.state))
        });
        Ok(same.map(|row| DeploymentView { joined: true, ..self.shared.view(row.summary) }))
    }

    /// What has not begun yet takes the settings of the moment when it does.
    fn has_settings_of(&self, row: &DeploymentRow, service: &ServiceRow) -> bool {
        let work = self.active.get(&row.summary.deployment).and_then(|active| active.work.as_ref());
        !has_begun(&row.state) || work.is_some_and(|work| *work.stored() == service.settings)
    }
}

impl Shared {
    /// Before anything of the deployment is stored. Nothing stays of an upload that is refused. No service: it is to be made.
    pub(crate) async fn check_queue_for(
        &self,
        service: Option<&ServiceId>,
        source: &SourceSpec,
    ) -> Result<(), Refusal> {
        let checked = self.check_queue(service).await;
        if let (Err(_), SourceSpec::Upload { upload }) = (&checked, source) {
            match self.needed_uploads().await {
                Ok(needed) if !needed.contains(upload) => self.uploads.remove(upload),
                Ok(_) => {}
                Err(fault) => tracing::warn!(error = %fault, "could not find out whether an upload is needed"),
            }
        }
        checked
    }

    /// Refuses what the queue has no place for. A newer deployment of a service takes the place of its older one.
    pub(crate) async fn check_queue(&self, service: Option<&ServiceId>) -> Result<(), Refusal> {
        let (waiting, max) = (self.store.queue_length(service).await?, self.queue_max);
        if waiting < max {
            return Ok(());
        }
        let message = format!("the build queue is full: {waiting} deployments wait for a build worker, and {max} may");
        Err(Refusal::unavailable("queue-full", message)
            .retry_after(QUEUE_RETRY_AFTER)
            .hint("`slipway ps` shows what waits and why; `slipway cancel` ends what is not needed")
            .hint("the server's owner sets how many may wait (`build.queue`) and how many build (`build.workers`)"))
    }
}

/// Whether the source may have been read.
fn has_begun(state: &DeploymentState) -> bool {
    !matches!(state, DeploymentState::Queued { .. } | DeploymentState::Resuming { phase: Phase::Source, .. })
}

/// Whether it names what it is, and not where something is that may have moved since.
fn is_fixed(source: &SourceSpec) -> bool {
    match source {
        SourceSpec::Upload { .. } => true,
        SourceSpec::Git(git) => git.reference.as_deref().is_some_and(source::is_commit),
    }
}
