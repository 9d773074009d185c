//! A copy of the database for a backup, and what is checked before one is taken for the truth.
//!
//! Guarantees: a copy is of one moment, also while a server writes, and holds it up no longer than any reader does.

use crate::StoreError;
use crate::database::{BUSY_TIMEOUT, MIGRATIONS, create_private, schema_of};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use std::path::Path;

/// Findings that SQLite lists of a damaged file; the first says enough.
const FINDINGS_MAX: i64 = 1;

/// Number of the newest schema that this version reads.
pub fn newest_schema() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// Writes a copy of a database, in use or not, to a file that is not there yet, readable by its owner only. Says of which
/// schema it is: the copy keeps it.
///
/// # Errors
/// When `from` is no database of Slipway, is of a newer version, or the copy cannot be written.
pub async fn copy_database(from: &Path, to: &Path) -> Result<i64, StoreError> {
    let mut connection = connect(from).await?;
    let schema = known_schema(&mut connection, from).await?;
    create_private(to).map_err(|source| StoreError::Create { path: to.to_owned(), source })?;
    sqlx::query("VACUUM INTO $1")
        .bind(to.to_string_lossy().into_owned())
        .execute(&mut connection)
        .await
        .map_err(StoreError::query("copy", from.display()))?;
    close(connection, from).await?;
    Ok(schema)
}

/// Whether a database that nobody has open is whole, and of a schema that this version knows.
///
/// # Errors
/// When it is not, with the first finding.
pub async fn check_database(path: &Path) -> Result<i64, StoreError> {
    let mut connection = connect(path).await?;
    let schema = known_schema(&mut connection, path).await?;
    let failed = || StoreError::query("check", path.display());
    let finding: String = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("PRAGMA integrity_check({FINDINGS_MAX})")))
        .fetch_one(&mut connection)
        .await
        .map_err(failed())?;
    let orphan: Option<String> = sqlx::query_scalar("SELECT \"table\" FROM pragma_foreign_key_check LIMIT 1")
        .fetch_optional(&mut connection)
        .await
        .map_err(failed())?;
    close(connection, path).await?;
    let damaged = |reason| StoreError::Damaged { path: path.to_owned(), reason };
    match (finding.as_str(), orphan) {
        ("ok", None) => Ok(schema),
        ("ok", Some(table)) => Err(damaged(format!("a row of `{table}` refers to one that is not there"))),
        (finding, _) => Err(damaged(finding.to_owned())),
    }
}

async fn connect(path: &Path) -> Result<SqliteConnection, StoreError> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).disable_statement_logging();
    options.connect().await.map_err(|source| StoreError::Open { path: path.to_owned(), source })
}

async fn close(connection: SqliteConnection, path: &Path) -> Result<(), StoreError> {
    connection.close().await.map_err(StoreError::query("close", path.display()))
}

async fn known_schema(connection: &mut SqliteConnection, path: &Path) -> Result<i64, StoreError> {
    let schema = schema_of(connection, path).await?;
    if schema == 0 {
        let reason = "it has no tables of Slipway".to_owned();
        return Err(StoreError::Damaged { path: path.to_owned(), reason });
    }
    Ok(schema)
}
