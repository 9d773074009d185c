//! The history that people read. Events of a state change are written in its transaction.

use crate::database::commit;
use crate::decode::{get, parsed, parsed_option, stored};
use crate::{Store, StoreError, counter};
use slipway_types::api::{EventView, LIMIT_MAX};
use slipway_types::{DeploymentId, ProjectName, ReplicaId, RunId, ServiceId, ServiceName, TimestampMs};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;
use tokio::sync::watch;

/// Longest message of an event, in bytes; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Which events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventFilter<'f> {
    All,
    Project(&'f ProjectName),
    Service(&'f ServiceId),
    Deployment(&'f DeploymentId),
}

/// A page of the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventPage {
    /// The newest, newest first; only those before this id, where one is named.
    Newest { before: Option<u64> },
    /// What comes after this id, oldest first.
    After(u64),
}

/// A replica, and which of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfReplica<'e> {
    pub replica: &'e ReplicaId,
    pub run: Option<&'e RunId>,
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
        let events = self.event_page(filter, EventPage::Newest { before }, limit).await?;
        Ok(events.into_iter().map(|event| (event.id, event)).collect())
    }

    /// # Errors
    /// When the database fails.
    pub async fn event_page(
        &self,
        filter: EventFilter<'_>,
        page: EventPage,
        limit: u32,
    ) -> Result<Vec<EventView>, StoreError> {
        let (bound, order) = match page {
            EventPage::Newest { before } => (before.map_or(i64::MAX, stored), "e.id < $1 ORDER BY e.id DESC"),
            EventPage::After(after) => (stored(after), "e.id > $1 ORDER BY e.id"),
        };
        let (of, subject) = match filter {
            EventFilter::All => ("", None),
            EventFilter::Project(project) => ("s.project = $3 AND ", Some(project.as_str())),
            EventFilter::Service(service) => ("e.service = $3 AND ", Some(service.as_str())),
            EventFilter::Deployment(deployment) => ("e.deployment = $3 AND ", Some(deployment.as_str())),
        };
        let text = format!(
            "SELECT e.id, e.at, s.project, s.name, e.deployment, e.replica, e.run, e.kind, e.message FROM events e \
             JOIN services s ON s.id = e.service WHERE {of}{order} LIMIT $2"
        );
        // Made of nothing but the constants above.
        let mut query = sqlx::query(sqlx::AssertSqlSafe(text)).bind(bound).bind(i64::from(limit.min(LIMIT_MAX)));
        if let Some(subject) = subject {
            query = query.bind(subject);
        }
        let mut read = self.read().await?;
        let rows = query.fetch_all(&mut *read).await.map_err(StoreError::query("list", "events"))?;
        rows.iter().map(view).collect()
    }

    /// Rung after each commit: there may be new events. The number means nothing.
    pub fn doorbell(&self) -> watch::Receiver<u64> {
        self.committed.subscribe()
    }
}

fn view(row: &SqliteRow) -> Result<EventView, StoreError> {
    let id: i64 = get(row, "id")?;
    Ok(EventView {
        id: id.unsigned_abs(),
        at: get(row, "at")?,
        project: parsed(row, "project", ProjectName::parse)?,
        service: parsed(row, "name", ServiceName::parse)?,
        deployment: parsed_option(row, "deployment", DeploymentId::parse)?,
        replica: parsed_option(row, "replica", ReplicaId::parse)?,
        run: parsed_option(row, "run", RunId::parse)?,
        kind: get(row, "kind")?,
        message: get(row, "message")?,
    })
}

pub(crate) async fn insert(connection: &mut SqliteConnection, event: &NewEvent<'_>) -> Result<(), StoreError> {
    insert_of(connection, event, None).await
}

pub(crate) async fn insert_of(
    connection: &mut SqliteConnection,
    event: &NewEvent<'_>,
    of: Option<OfReplica<'_>>,
) -> Result<(), StoreError> {
    let id = counter::advance(connection, "event", 1).await?;
    let cut = event.message.floor_char_boundary(MESSAGE_BYTES_MAX);
    sqlx::query(
        "INSERT INTO events (id, at, service, deployment, kind, message, replica, run) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(stored(id))
    .bind(event.at)
    .bind(event.service.as_str())
    .bind(event.deployment.map(DeploymentId::as_str))
    .bind(event.kind)
    .bind(&event.message[..cut])
    .bind(of.map(|of| of.replica.as_str()))
    .bind(of.and_then(|of| of.run).map(RunId::as_str))
    .execute(connection)
    .await
    .map(drop)
    .map_err(StoreError::query("write the event", event.kind))
}
