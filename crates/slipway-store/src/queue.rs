//! The build queue as it is stored: what waits, what runs, and who is given a worker.

use crate::apply::{Change, Work, advance};
use crate::database::commit;
use crate::decode::{get, json, json_option, number, parsed};
use crate::{Applied, Store, StoreError};
use slipway_pipeline::{Builds, Candidate, DeploymentState, Event, Held, Queue, Turns, Wait, memory_of};
use slipway_types::settings::{ServiceSettings, SettingsPatch};
use slipway_types::{DeploymentId, ProjectName, ServiceId, SourceSpec, TimestampMs};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// Deployments looked at for one choice, oldest first: twice what a queue may hold at most.
const CANDIDATES_MAX: i64 = 2000;

/// What the order of the queue depends on beside the database.
#[derive(Debug, Clone, Copy)]
pub struct QueueRules<'r> {
    /// For all builds together.
    pub memory_max_bytes: u64,
    pub turns: &'r Turns,
    /// Whether a source is deployed for production, and not as a preview of a branch.
    pub is_production: fn(&SourceSpec) -> bool,
}

/// What a worker was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    pub deployment: DeploymentId,
    pub project: ProjectName,
    pub applied: Applied,
}

impl Store {
    /// Gives the worker the deployment that is next (see [`Queue::next`]), with [`Event::WorkerClaimed`] applied to it.
    /// None: nothing that waits may begin.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_build(
        &self,
        now: TimestampMs,
        worker: u32,
        rules: QueueRules<'_>,
    ) -> Result<Option<Claimed>, StoreError> {
        let mut write = self.write().await?;
        let stored = Stored::read(&mut write, rules).await?;
        let Some(Candidate { deployment, project, .. }) = stored.queue(now, rules).next().cloned() else {
            return Ok(None);
        };
        let work = Work::from([(deployment.clone(), Event::WorkerClaimed { worker }, Change::default())]);
        let (mut actions, mut news) = (Vec::new(), Vec::new());
        // No outcome: another writer took it. The worker asks again when it is told of work.
        let outcome = advance(&mut write, now, work, &mut actions, &mut news).await?.flatten();
        let Some(outcome) = outcome else { return Ok(None) };
        commit(write).await?;
        Ok(Some(Claimed { deployment, project, applied: outcome.into_applied(actions, news) }))
    }

    /// Why each deployment waits that does. `idle`: a worker has nothing to do.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn waits(
        &self,
        now: TimestampMs,
        idle: bool,
        rules: QueueRules<'_>,
    ) -> Result<Vec<(ServiceId, Wait)>, StoreError> {
        let mut read = self.read().await?;
        let stored = Stored::read(&mut read, rules).await?;
        let service = |wait: &Wait| stored.waiting.iter().find(|one| one.deployment == wait.deployment);
        let waits = stored.queue(now, rules).waits(idle);
        Ok(waits.into_iter().filter_map(|wait| Some((service(&wait)?.service.clone(), wait))).collect())
    }

    /// Builds that run, with the memory that they hold.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn builds(&self) -> Result<Vec<Held>, StoreError> {
        let mut read = self.read().await?;
        let turns = Turns::default();
        let rules = QueueRules { memory_max_bytes: 0, turns: &turns, is_production: |_| true };
        Ok(Stored::read(&mut read, rules).await?.running)
    }

    /// Deployments that wait for their first worker, those of `service` aside, whose place a newer one takes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queue_length(&self, service: Option<&ServiceId>) -> Result<u32, StoreError> {
        let mut read = self.read().await?;
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM deployments WHERE active = 1 AND status = 'queued' AND service <> $1",
        )
        .bind(service.map_or("", ServiceId::as_str))
        .fetch_one(&mut *read)
        .await
        .map_err(StoreError::query("count", "waiting deployments"))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }
}

struct Stored {
    waiting: Vec<Candidate>,
    running: Vec<Held>,
}

impl Stored {
    async fn read(connection: &mut SqliteConnection, rules: QueueRules<'_>) -> Result<Self, StoreError> {
        let rows = sqlx::query(
            "SELECT d.id, d.service, d.sequence, d.state, d.shape, d.source, d.settings, d.created_at, s.project, \
             s.settings AS service_settings FROM deployments d CROSS JOIN services s \
             WHERE s.id = d.service AND d.active = 1 AND d.status IN ('queued', 'building') \
             ORDER BY d.created_at, d.id LIMIT $1",
        )
        .bind(CANDIDATES_MAX)
        .fetch_all(connection)
        .await
        .map_err(StoreError::query("list", "waiting deployments"))?;
        let (mut waiting, mut running) = (Vec::new(), Vec::new());
        for row in &rows {
            let state: DeploymentState = json(row, "state")?;
            if state.waits_for_worker() {
                waiting.push(candidate(row, &state, rules)?);
            } else {
                running.push(Held {
                    deployment: parsed(row, "id", DeploymentId::parse)?,
                    service: parsed(row, "service", ServiceId::parse)?,
                    project: parsed(row, "project", ProjectName::parse)?,
                    memory_bytes: memory_bytes(row)?,
                });
            }
        }
        Ok(Self { waiting, running })
    }

    fn queue<'q>(&'q self, now: TimestampMs, rules: QueueRules<'q>) -> Queue<'q> {
        let builds = Builds { running: &self.running, memory_max_bytes: rules.memory_max_bytes };
        Queue { now, waiting: &self.waiting, builds, turns: rules.turns }
    }
}

fn candidate(row: &SqliteRow, state: &DeploymentState, rules: QueueRules<'_>) -> Result<Candidate, StoreError> {
    Ok(Candidate {
        deployment: parsed(row, "id", DeploymentId::parse)?,
        service: parsed(row, "service", ServiceId::parse)?,
        project: parsed(row, "project", ProjectName::parse)?,
        production: (rules.is_production)(&json(row, "source")?),
        sequence: number(row, "sequence")?,
        created_at: get(row, "created_at")?,
        resuming: matches!(state, DeploymentState::Resuming { .. }),
        memory_bytes: memory_bytes(row)?,
    })
}

/// By the settings of its source, once they are known; before that by what its owner has set.
fn memory_bytes(row: &SqliteRow) -> Result<u64, StoreError> {
    let settings = match json_option::<ServiceSettings>(row, "settings")? {
        Some(settings) => settings,
        None => {
            let set: SettingsPatch = json(row, "service_settings")?;
            // They were checked when they were set.
            ServiceSettings::resolve([&set]).unwrap_or_default()
        }
    };
    Ok(memory_of(&settings, &json(row, "shape")?).0)
}
