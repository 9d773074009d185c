//! Replicas that a host has been told to run.

use crate::database::commit;
use crate::decode::{get, parsed, word};
use crate::{Store, StoreError};
use slipway_types::api::ReplicaView;
use slipway_types::{DeploymentId, ReplicaId, TimestampMs};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// How a replica is, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaStatus {
    Starting,
    Ready,
    Unready,
    /// Gets no new request and will be stopped.
    Draining,
}

impl ReplicaStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            ReplicaStatus::Starting => "starting",
            ReplicaStatus::Ready => "ready",
            ReplicaStatus::Unready => "unready",
            ReplicaStatus::Draining => "draining",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Starting, Self::Ready, Self::Unready, Self::Draining].into_iter().find(|status| status.as_str() == text)
    }
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRow {
    pub replica: ReplicaId,
    pub deployment: DeploymentId,
    pub state: ReplicaStatus,
    /// When it came into this state.
    pub since: TimestampMs,
}

impl ReplicaRow {
    pub fn into_view(self) -> ReplicaView {
        ReplicaView {
            replica: self.replica,
            deployment: self.deployment,
            state: self.state.as_str().to_owned(),
            since: self.since,
            trouble: None,
        }
    }

    pub(crate) fn from_row(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            replica: parsed(row, "id", ReplicaId::parse)?,
            deployment: parsed(row, "deployment", DeploymentId::parse)?,
            state: word(row, "state", ReplicaStatus::parse)?,
            since: get(row, "since")?,
        })
    }
}

impl Store {
    /// Adds replicas or changes their state, all or none. `since` stays when the state does not change.
    ///
    /// # Errors
    /// When the deployment is gone or the database fails.
    pub async fn put_replicas(&self, rows: &[ReplicaRow]) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        for row in rows {
            put(&mut write, row).await?;
        }
        commit(write).await
    }

    /// Forgets replicas whose sandboxes are gone; one that is not known is no error.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_replicas(&self, replicas: &[ReplicaId]) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        for replica in replicas {
            sqlx::query("DELETE FROM replicas WHERE id = $1")
                .bind(replica.as_str())
                .execute(&mut *write)
                .await
                .map_err(StoreError::query("forget the replica", replica))?;
        }
        commit(write).await
    }

    /// # Errors
    /// When the database fails.
    pub async fn replicas_of(&self, deployment: &DeploymentId) -> Result<Vec<ReplicaRow>, StoreError> {
        let mut read = self.read().await?;
        let rows = sqlx::query("SELECT id, deployment, state, since FROM replicas WHERE deployment = $1 ORDER BY id")
            .bind(deployment.as_str())
            .fetch_all(&mut *read)
            .await
            .map_err(StoreError::query("list the replicas of", deployment))?;
        rows.iter().map(ReplicaRow::from_row).collect()
    }

    /// All replicas of all services.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn replicas(&self) -> Result<Vec<ReplicaRow>, StoreError> {
        let mut read = self.read().await?;
        let rows = sqlx::query("SELECT id, deployment, state, since FROM replicas ORDER BY deployment, id")
            .fetch_all(&mut *read)
            .await
            .map_err(StoreError::query("list", "replicas"))?;
        rows.iter().map(ReplicaRow::from_row).collect()
    }
}

async fn put(connection: &mut SqliteConnection, row: &ReplicaRow) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO replicas (id, deployment, state, since) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET \
         since = CASE WHEN replicas.state = excluded.state THEN replicas.since ELSE excluded.since END, \
         state = excluded.state",
    )
    .bind(row.replica.as_str())
    .bind(row.deployment.as_str())
    .bind(row.state.as_str())
    .bind(row.since)
    .execute(connection)
    .await
    .map(drop)
    .map_err(StoreError::query("record the replica", &row.replica))
}
