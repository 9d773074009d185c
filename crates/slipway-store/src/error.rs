//! What can go wrong with the database.

use std::path::PathBuf;

/// An operation of the store failed; nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot create the database file `{path}`", path = path.display())]
    Create { path: PathBuf, source: std::io::Error },
    #[error("cannot open the database `{path}`", path = path.display())]
    Open { path: PathBuf, source: sqlx::Error },
    #[error("the database `{path}` has schema {schema}, and this version of Slipway knows schemas up to {known}: \
        a newer version wrote it", path = path.display())]
    Newer { path: PathBuf, schema: i64, known: i64 },
    #[error("the database `{path}` is damaged: {reason}", path = path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot bring the database `{path}` to the present schema", path = path.display())]
    Migrate { path: PathBuf, source: sqlx::migrate::MigrateError },
    #[error("cannot {operation} `{operand}` in the database")]
    Query { operation: &'static str, operand: String, source: sqlx::Error },
    /// A row holds what this version can't read.
    #[error("cannot read column `{column}` of the database: {reason}")]
    Corrupt { column: &'static str, reason: String },
    #[error("cannot encode {what} for the database")]
    Encode { what: &'static str, source: serde_json::Error },
    #[error("there is no {kind} `{key}`")]
    Missing { kind: &'static str, key: String },
    /// Someone else changed it since it was read; read it again.
    #[error("`{key}` has changed meanwhile")]
    Stale { key: String },
    /// Others won every attempt.
    #[error("cannot change deployment `{deployment}`: others changed it {attempts} times meanwhile")]
    Contended { deployment: String, attempts: u32 },
    /// A release is made of a deployment that has a plan.
    #[error("deployment `{deployment}` has no settings yet, so there is nothing to release")]
    Unplanned { deployment: String },
}

impl StoreError {
    /// For `map_err`: what was tried, with what.
    pub(crate) fn query(operation: &'static str, operand: impl ToString) -> impl FnOnce(sqlx::Error) -> StoreError {
        let operand = operand.to_string();
        move |source| StoreError::Query { operation, operand, source }
    }

    pub(crate) fn missing(kind: &'static str, key: impl ToString) -> StoreError {
        StoreError::Missing { kind, key: key.to_string() }
    }
}
