//! The executor of the pipeline's decisions: load, step, write where id and version, phases, events, commit.
//!
//! What happens to one deployment can decide about others (going live supersedes the former one); all of it is one
//! transaction. No row updated means that someone else won: everything is rolled back and decided anew.

use crate::database::commit;
use crate::decode::{encoded, json, number, number_option, parsed, parsed_option, stored, word};
use crate::event::{NewEvent, insert};
use crate::{NewDeployment, Store, StoreError, counter, phase};
use slipway_pipeline::{
    Action, BuildInputs, Deployment, DeploymentState, Event, LiveDeployment, PhaseChange, Shape, Transition,
    own_diagnosis, step,
};
use slipway_types::api::{DeploymentEvent, PhaseResult};
use slipway_types::host::PhaseOutput;
use slipway_types::{
    Blame, DeploymentId, DeploymentStatus, Diagnosis, Image, Phase, Plan, ServiceId, ServiceSettings, SettingsPatch,
    TimestampMs, Trigger,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use std::collections::VecDeque;

/// A decision is taken anew at most this often. Each time means that someone else made progress.
const ATTEMPTS_MAX: u32 = 8;

/// What is written along with an event, when the event fits; an event that comes late writes nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// One sentence about the phase that ends with the event.
    pub note: Option<String>,
    /// What that phase hands to the next.
    pub output: Option<PhaseOutput>,
    /// The plan, once there is one: with the end of the source phase.
    pub planned: Option<Planned>,
    /// A better name of the source, such as the commit that a branch pointed to.
    pub source_label: Option<String>,
    /// With the end of the build phase.
    pub image: Option<Image>,
    /// With a cancelation: the service's ignore command asked for it.
    pub ignored: bool,
    /// Of a failure. Its code is the event's.
    pub diagnosis: Option<Diagnosis>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub settings: ServiceSettings,
    pub plan: Plan,
    /// What the source itself says about its settings.
    pub source_settings: SettingsPatch,
    /// What the build reads.
    pub inputs: BuildInputs,
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The event fitted: something was written.
    pub changed: bool,
    pub before: DeploymentState,
    pub after: DeploymentState,
    /// What is left to do, in this order, also for other deployments of the service. What the store does is not among
    /// it.
    pub actions: Vec<(DeploymentId, Action)>,
    /// For who watches: statuses and phases, also of other deployments of the service.
    pub news: News,
}

pub(crate) type News = Vec<(DeploymentId, DeploymentEvent)>;
pub(crate) type Work = VecDeque<(DeploymentId, Event, Change)>;

impl Store {
    /// Tells a deployment that something happened. See [`Event`]; one that does not fit changes nothing and is no
    /// error.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Contended`], or the database fails.
    pub async fn apply(
        &self,
        now: TimestampMs,
        deployment: &DeploymentId,
        event: &Event,
        change: &Change,
    ) -> Result<Applied, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            let mut write = self.write().await?;
            let work = Work::from([(deployment.clone(), event.clone(), change.clone())]);
            let (mut actions, mut news) = (Vec::new(), Vec::new());
            if let Some(Outcome { changed, before, after }) =
                advance(&mut write, now, work, &mut actions, &mut news).await?.flatten()
            {
                commit(write).await?;
                return Ok(Applied { changed, before, after, actions, news });
            }
        }
        Err(StoreError::Contended { deployment: deployment.to_string(), attempts: ATTEMPTS_MAX })
    }
}

/// Of the first event of the work.
pub(crate) struct Outcome {
    changed: bool,
    before: DeploymentState,
    after: DeploymentState,
}

impl Outcome {
    pub(crate) fn into_applied(self, actions: Vec<(DeploymentId, Action)>, news: News) -> Applied {
        Applied { changed: self.changed, before: self.before, after: self.after, actions, news }
    }
}

/// Works off events and those that they cause. None: someone else changed a deployment meanwhile. The inner value is
/// None only when there was nothing to work off.
pub(crate) async fn advance(
    connection: &mut SqliteConnection,
    now: TimestampMs,
    mut work: Work,
    actions: &mut Vec<(DeploymentId, Action)>,
    news: &mut News,
) -> Result<Option<Option<Outcome>>, StoreError> {
    let mut first = None;
    while let Some((deployment, event, change)) = work.pop_front() {
        let mut loaded = load(connection, &deployment).await?;
        if let Some(Planned { settings, plan, .. }) = &change.planned {
            loaded.deployment.shape = Shape::of(plan, settings);
        }
        let transition = step(now, &loaded.deployment, &event);
        let changed = transition.next != loaded.deployment.state || !transition.phases.is_empty();
        let mut writer = Writer { connection, now, loaded: &loaded, transition: &transition, change: &change };
        if changed && !writer.write_row().await? {
            return Ok(None);
        }
        if changed {
            writer.write_history(news).await?;
        }
        writer.act(actions, &mut work).await?;
        let before = loaded.deployment.state;
        first.get_or_insert(Outcome { changed, before, after: transition.next });
    }
    Ok(Some(first))
}

/// Phases and events of a deployment that was just created.
pub(crate) async fn record_start(
    connection: &mut SqliteConnection,
    now: TimestampMs,
    new: &NewDeployment,
    transition: &Transition,
    news: &mut News,
) -> Result<(), StoreError> {
    let message = format!("deployment of {} was created by {}", new.source_label, new.trigger.as_str());
    let event = NewEvent {
        at: now,
        service: &new.service,
        deployment: Some(&new.deployment),
        kind: "deployment-created",
        message: &message,
    };
    insert(connection, &event).await?;
    let status = DeploymentEvent::Status { at: now, status: transition.next.status() };
    news.push((new.deployment.clone(), status));
    for change in &transition.phases {
        // An image that is there: the build is what would have made it.
        let reused = new.reuse.as_ref().filter(|_| *change == PhaseChange::Skipped(Phase::Build));
        let note = reused.map(|reuse| reuse.note.as_str());
        for told in phase::write(connection, now, &new.deployment, *change, note, None).await? {
            if let Some(message) = phase_message(&told) {
                let kind = "phase-finished";
                insert(connection, &NewEvent { kind, message: &message, ..event }).await?;
            }
            news.push((new.deployment.clone(), told));
        }
    }
    Ok(())
}

struct Loaded {
    deployment: Deployment,
    service: ServiceId,
    version: i64,
    release: Option<String>,
}

async fn load(connection: &mut SqliteConnection, deployment: &DeploymentId) -> Result<Loaded, StoreError> {
    let row = sqlx::query(
        "SELECT d.id, d.service, d.sequence, d.trigger_kind, d.shape, d.state, d.version, d.release_id, \
         l.id AS live_id, l.sequence AS live_sequence, c.value AS route_generation \
         FROM deployments d JOIN services s ON s.id = d.service LEFT JOIN deployments l ON l.id = s.live_deployment \
         JOIN counters c ON c.name = 'route-generation' WHERE d.id = $1",
    )
    .bind(deployment.as_str())
    .fetch_optional(connection)
    .await
    .map_err(StoreError::query("read the deployment", deployment))?
    .ok_or_else(|| StoreError::missing("deployment", deployment))?;
    Ok(Loaded {
        deployment: Deployment {
            deployment: parsed(&row, "id", DeploymentId::parse)?,
            sequence: number(&row, "sequence")?,
            trigger: word(&row, "trigger_kind", Trigger::parse)?,
            shape: json(&row, "shape")?,
            version: number(&row, "version")?,
            live: live(&row)?,
            route_generation: number(&row, "route_generation")?,
            state: json(&row, "state")?,
        },
        service: parsed(&row, "service", ServiceId::parse)?,
        version: crate::decode::get(&row, "version")?,
        release: crate::decode::get(&row, "release_id")?,
    })
}

fn live(row: &SqliteRow) -> Result<Option<LiveDeployment>, StoreError> {
    let deployment = parsed_option(row, "live_id", DeploymentId::parse)?;
    let sequence = number_option(row, "live_sequence")?;
    Ok(deployment.zip(sequence).map(|(deployment, sequence)| LiveDeployment { deployment, sequence }))
}

/// Writes one transition.
struct Writer<'w> {
    connection: &'w mut SqliteConnection,
    now: TimestampMs,
    loaded: &'w Loaded,
    transition: &'w Transition,
    change: &'w Change,
}

impl Writer<'_> {
    /// The deployment's row, where it is still as it was loaded. False: it is not.
    async fn write_row(&mut self) -> Result<bool, StoreError> {
        let (before, next) = (&self.loaded.deployment.state, &self.transition.next);
        let settled_now = next.status().is_settled() && !before.status().is_settled();
        let planned = self.change.planned.as_ref();
        let settings = planned.map(|planned| encoded("settings", &planned.settings)).transpose()?;
        let plan = planned.map(|planned| encoded("a plan", &planned.plan)).transpose()?;
        let source_settings = planned.map(|planned| encoded("settings", &planned.source_settings)).transpose()?;
        let inputs = planned.map(|planned| encoded("inputs of a build", &planned.inputs)).transpose()?;
        let image = self.change.image.as_ref().map(|image| encoded("an image", image)).transpose()?;
        let done = sqlx::query(
            "UPDATE deployments SET state = $3, status = $4, phase = COALESCE($5, phase), active = $6, \
             version = version + 1, shape = $7, settings = COALESCE($8, settings), plan = COALESCE($9, plan), \
             source_label = COALESCE($10, source_label), finished_at = COALESCE(finished_at, $11), \
             source_settings = COALESCE($12, source_settings), build_inputs = COALESCE($13, build_inputs), \
             image = COALESCE($14, image), ignored = CASE WHEN $15 = 1 THEN 1 ELSE ignored END \
             WHERE id = $1 AND version = $2",
        )
        .bind(self.loaded.deployment.deployment.as_str())
        .bind(self.loaded.version)
        .bind(encoded("a state", next)?)
        .bind(next.status().as_str())
        .bind(self.newest_phase().map(Phase::as_str))
        .bind(i64::from(next.is_active()))
        .bind(encoded("a shape", &self.loaded.deployment.shape)?)
        .bind(settings)
        .bind(plan)
        .bind(self.change.source_label.as_deref())
        .bind(settled_now.then_some(self.now))
        .bind(source_settings)
        .bind(inputs)
        .bind(image)
        .bind(i64::from(self.change.ignored))
        .execute(&mut *self.connection)
        .await
        .map_err(StoreError::query("change the deployment", &self.loaded.deployment.deployment))?;
        Ok(done.rows_affected() == 1)
    }

    fn newest_phase(&self) -> Option<Phase> {
        self.transition.phases.iter().rev().find_map(|change| match change {
            PhaseChange::Started(phase) | PhaseChange::Finished(phase, _) => Some(*phase),
            PhaseChange::Skipped(_) => None,
        })
    }

    /// Phase rows, and one event row for each status and each phase that ended.
    async fn write_history(&mut self, news: &mut News) -> Result<(), StoreError> {
        let id = &self.loaded.deployment.deployment;
        // Note and output belong to the phase that the event ended, which is the first in the list.
        let mut extra = (self.change.note.as_deref(), self.change.output.as_ref());
        for change in &self.transition.phases {
            let (note, output) = match change {
                PhaseChange::Finished(..) => std::mem::take(&mut extra),
                _ => (None, None),
            };
            for told in phase::write(self.connection, self.now, id, *change, note, output).await? {
                if let Some(message) = phase_message(&told) {
                    self.write_event("phase-finished", &message).await?;
                }
                news.push((id.clone(), told));
            }
        }
        let status = self.transition.next.status();
        if status != self.loaded.deployment.state.status() {
            self.write_event(&format!("deployment-{}", status.as_str()), &self.status_message(status)).await?;
            news.push((id.clone(), DeploymentEvent::Status { at: self.now, status }));
        }
        Ok(())
    }

    fn status_message(&self, status: DeploymentStatus) -> String {
        let what = match &self.change.diagnosis {
            Some(diagnosis) => diagnosis.what.clone(),
            None => self.own_diagnosis().map_or_else(String::new, |diagnosis| diagnosis.what),
        };
        match &self.transition.next {
            DeploymentState::Failed { code, .. } if self.loaded.deployment.state.crashed().is_some() => {
                format!(
                    "deployment failed: it crashed soon after it went live ({code}), and a newer one has taken its place"
                )
            }
            DeploymentState::Failed { phase, code, .. } => format!("deployment failed in {phase}: {what} ({code})"),
            DeploymentState::Superseded { by, .. } => {
                format!("deployment was superseded by number {by} of its service")
            }
            DeploymentState::Canceled { .. } => "deployment was canceled".to_owned(),
            _ => format!("deployment is {status}"),
        }
    }

    async fn write_event(&mut self, kind: &str, message: &str) -> Result<(), StoreError> {
        let deployment = Some(&self.loaded.deployment.deployment);
        insert(self.connection, &NewEvent { at: self.now, service: &self.loaded.service, deployment, kind, message })
            .await
    }

    /// Does what is done here; leaves the rest to the caller.
    async fn act(&mut self, actions: &mut Vec<(DeploymentId, Action)>, work: &mut Work) -> Result<(), StoreError> {
        for action in &self.transition.actions {
            match action {
                Action::MakeLive { generation } => self.make_live(*generation).await?,
                Action::MarkSuperseded => self.mark_superseded(work).await?,
                Action::Diagnose { code } => self.diagnose(code).await?,
                other => actions.push((self.loaded.deployment.deployment.clone(), other.clone())),
            }
        }
        Ok(())
    }

    async fn make_live(&mut self, generation: u64) -> Result<(), StoreError> {
        let failed = || StoreError::query("make live", &self.loaded.deployment.deployment);
        sqlx::query("UPDATE services SET live_deployment = $2 WHERE id = $1")
            .bind(self.loaded.service.as_str())
            .bind(self.loaded.deployment.deployment.as_str())
            .execute(&mut *self.connection)
            .await
            .map_err(failed())?;
        sqlx::query("UPDATE releases SET live_at = $2 WHERE id = $1")
            .bind(self.loaded.release.as_deref())
            .bind(self.now)
            .execute(&mut *self.connection)
            .await
            .map_err(failed())?;
        counter::set_routes(self.connection, generation).await
    }

    async fn mark_superseded(&mut self, work: &mut Work) -> Result<(), StoreError> {
        let sequence = self.loaded.deployment.sequence;
        let rows = sqlx::query(
            "SELECT id FROM deployments WHERE service = $1 AND status = 'live' AND sequence < $2 \
             UNION SELECT id FROM deployments WHERE active = 1 AND service = $1 AND sequence < $2",
        )
        .bind(self.loaded.service.as_str())
        .bind(stored(sequence))
        .fetch_all(&mut *self.connection)
        .await
        .map_err(StoreError::query("list older deployments of", &self.loaded.service))?;
        for row in &rows {
            let older = parsed(row, "id", DeploymentId::parse)?;
            work.push_back((older, Event::NewerLive { sequence }, Change::default()));
        }
        Ok(())
    }

    async fn diagnose(&mut self, code: &str) -> Result<(), StoreError> {
        let given = self.change.diagnosis.clone().or_else(|| self.own_diagnosis());
        let diagnosis = given.unwrap_or_else(|| Diagnosis::new(code, Blame::Platform, "the deployment failed"));
        sqlx::query("UPDATE deployments SET diagnosis = $2 WHERE id = $1")
            .bind(self.loaded.deployment.deployment.as_str())
            .bind(encoded("a diagnosis", &diagnosis)?)
            .execute(&mut *self.connection)
            .await
            .map(drop)
            .map_err(StoreError::query("diagnose the deployment", &self.loaded.deployment.deployment))
    }

    fn own_diagnosis(&self) -> Option<Diagnosis> {
        match &self.transition.next {
            DeploymentState::Failed { phase, code, .. } => own_diagnosis(code, *phase),
            _ => None,
        }
    }
}

fn phase_message(told: &DeploymentEvent) -> Option<String> {
    let DeploymentEvent::PhaseFinished { phase, duration_ms, result, note, .. } = told else { return None };
    let note = note.as_deref().map_or_else(String::new, |note| format!(": {note}"));
    Some(match result {
        PhaseResult::Skipped => format!("{phase} was skipped{note}"),
        result => format!("{phase} {} after {duration_ms} ms{note}", phase::result_word(*result)),
    })
}
