//! Who may call the API: digests of tokens, never tokens.

use crate::database::commit;
use crate::decode::get;
use crate::{Store, StoreError};
use slipway_types::TimestampMs;

/// One token, by its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Lower-case hexadecimal.
    pub sha256: String,
    pub name: String,
    pub created_at: TimestampMs,
}

impl Store {
    /// Admits a token; the same one a second time changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_token(&self, row: &TokenRow) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO tokens (sha256, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (sha256) DO NOTHING",
        )
        .bind(&row.sha256)
        .bind(&row.name)
        .bind(row.created_at)
        .execute(&mut *write)
        .await
        .map_err(StoreError::query("admit the token", &row.name))?;
        commit(write).await
    }

    /// The token of that digest, if it is admitted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn token(&self, sha256: &str) -> Result<Option<TokenRow>, StoreError> {
        let mut read = self.read().await?;
        let row = sqlx::query("SELECT sha256, name, created_at FROM tokens WHERE sha256 = $1")
            .bind(sha256)
            .fetch_optional(&mut *read)
            .await
            .map_err(StoreError::query("look up", "a token"))?;
        row.map(|row| {
            Ok(TokenRow {
                sha256: get(&row, "sha256")?,
                name: get(&row, "name")?,
                created_at: get(&row, "created_at")?,
            })
        })
        .transpose()
    }
}
