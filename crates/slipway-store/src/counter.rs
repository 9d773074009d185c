//! Generations: numbers that only grow, for desired states that are handed out whole.

use crate::database::commit;
use crate::{Store, StoreError};
use sqlx::SqliteConnection;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Of the route table. Also moved by every switch of a live pointer.
    Routes,
    /// Of the runs of the server: the first part of a replica set's.
    Replicas,
}

impl Generation {
    fn name(self) -> &'static str {
        match self {
            Generation::Routes => "route-generation",
            Generation::Replicas => "replica-generation",
        }
    }
}

impl Store {
    /// The newest generation given out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn generation(&self, of: Generation) -> Result<u64, StoreError> {
        let mut read = self.read().await?;
        current(&mut read, of).await
    }

    /// A generation newer than all before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next_generation(&self, of: Generation) -> Result<u64, StoreError> {
        let mut write = self.write().await?;
        let value = advance(&mut write, of.name(), 1).await?;
        commit(write).await?;
        Ok(value)
    }
}

pub(crate) async fn current(connection: &mut SqliteConnection, of: Generation) -> Result<u64, StoreError> {
    let value: i64 = sqlx::query_scalar("SELECT value FROM counters WHERE name = $1")
        .bind(of.name())
        .fetch_one(connection)
        .await
        .map_err(StoreError::query("read the counter", of.name()))?;
    Ok(value.unsigned_abs())
}

/// Moves a counter by `by` and gives its new value.
pub(crate) async fn advance(connection: &mut SqliteConnection, name: &'static str, by: i64) -> Result<u64, StoreError> {
    let value: i64 = sqlx::query_scalar("UPDATE counters SET value = value + $2 WHERE name = $1 RETURNING value")
        .bind(name)
        .bind(by)
        .fetch_one(connection)
        .await
        .map_err(StoreError::query("advance the counter", name))?;
    Ok(value.unsigned_abs())
}

/// The route table has this generation, which was decided on the one before in this transaction.
pub(crate) async fn set_routes(connection: &mut SqliteConnection, generation: u64) -> Result<(), StoreError> {
    sqlx::query("UPDATE counters SET value = $2 WHERE name = $1 AND value < $2")
        .bind(Generation::Routes.name())
        .bind(crate::decode::stored(generation))
        .execute(connection)
        .await
        .map(drop)
        .map_err(StoreError::query("advance the counter", Generation::Routes.name()))
}
