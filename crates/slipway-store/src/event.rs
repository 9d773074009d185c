//! The history that people read. Events of a state change are written in its transaction.

use crate::database::commit;
use crate::decode::{get, parsed, parsed_option, stored};
use crate::{Store, StoreError, counter};
use slipway_types::api::{EventView, LIMIT_MAX};
use slipway_types::{DeploymentId, ProjectName, ServiceId, ServiceName, TimestampMs};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// Longest message of an event, in bytes; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFilter<'f> {
    All,
    Service(&'f ServiceId),
    Deployment(&'f DeploymentId),
}

pub(crate) struct NewEvent<'e> {
    pub(crate) at: TimestampMs,
    pub(crate) service: &'e ServiceId,
    pub(crate) deployment: Option<&'e DeploymentId>,
    pub(crate) kind: &'e str,
    pub(crate) message: &'e str,
}

impl Store {
    /// Adds an event that goes with no state change, such as `replica-exited`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_event(
        &self,
        now: TimestampMs,
        service: &ServiceId,
        deployment: Option<&DeploymentId>,
        kind: &str,
        message: &str,
    ) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        insert(&mut write, &NewEvent { at: now, service, deployment, kind, message }).await?;
        commit(write).await
    }

    /// The newest events, newest first, each with its id; `before` an id, for the next page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn events(
        &self,
        filter: EventFilter<'_>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<(u64, EventView)>, StoreError> {
        let before = before.map_or(i64::MAX, stored);
        let limit = i64::from(limit.min(LIMIT_MAX));
        let query = match filter {
            EventFilter::All => sqlx::query(concat!(
                "SELECT e.id, e.at, s.project, s.name, e.deployment, e.kind, e.message FROM events e ",
                "JOIN services s ON s.id = e.service WHERE e.id < $1 ORDER BY e.id DESC LIMIT $2"
            ))
            .bind(before)
            .bind(limit),
            EventFilter::Service(service) => sqlx::query(concat!(
                "SELECT e.id, e.at, s.project, s.name, e.deployment, e.kind, e.message FROM events e ",
                "JOIN services s ON s.id = e.service WHERE e.id < $1 AND e.service = $3 ORDER BY e.id DESC LIMIT $2"
            ))
            .bind(before)
            .bind(limit)
            .bind(service.as_str()),
            EventFilter::Deployment(deployment) => sqlx::query(concat!(
                "SELECT e.id, e.at, s.project, s.name, e.deployment, e.kind, e.message FROM events e ",
                "JOIN services s ON s.id = e.service WHERE e.id < $1 AND e.deployment = $3 ORDER BY e.id DESC LIMIT $2"
            ))
            .bind(before)
            .bind(limit)
            .bind(deployment.as_str()),
        };
        let mut read = self.read().await?;
        let rows = query.fetch_all(&mut *read).await.map_err(StoreError::query("list", "events"))?;
        rows.iter().map(view).collect()
    }
}

fn view(row: &SqliteRow) -> Result<(u64, EventView), StoreError> {
    let id: i64 = get(row, "id")?;
    let event = EventView {
        at: get(row, "at")?,
        project: parsed(row, "project", ProjectName::parse)?,
        service: parsed(row, "name", ServiceName::parse)?,
        deployment: parsed_option(row, "deployment", DeploymentId::parse)?,
        kind: get(row, "kind")?,
        message: get(row, "message")?,
    };
    Ok((id.unsigned_abs(), event))
}

pub(crate) async fn insert(connection: &mut SqliteConnection, event: &NewEvent<'_>) -> Result<(), StoreError> {
    let id = counter::advance(connection, "event", 1).await?;
    let cut = event.message.floor_char_boundary(MESSAGE_BYTES_MAX);
    sqlx::query("INSERT INTO events (id, at, service, deployment, kind, message) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(stored(id))
        .bind(event.at)
        .bind(event.service.as_str())
        .bind(event.deployment.map(DeploymentId::as_str))
        .bind(event.kind)
        .bind(&event.message[..cut])
        .execute(connection)
        .await
        .map(drop)
        .map_err(StoreError::query("write the event", event.kind))
}
