//! Revisions of a service's variables. What is stored is sealed by the caller; the store sees ciphertext only.

use crate::database::commit;
use crate::decode::stored;
use crate::{Store, StoreError};
use slipway_types::{ServiceId, TimestampMs};

impl Store {
    /// Adds the revision after `expected` and makes it the service's newest; gives its number. Revisions never change,
    /// so a release keeps meaning the same values.
    ///
    /// # Errors
    /// [`StoreError::Stale`] when `expected` is not the newest; [`StoreError::Missing`]; or the database fails.
    pub async fn put_env(
        &self,
        now: TimestampMs,
        service: &ServiceId,
        expected: u64,
        ciphertext: &[u8],
    ) -> Result<u64, StoreError> {
        let failed = || StoreError::query("change the variables of", service);
        let mut write = self.write().await?;
        let newest = crate::service::by_id(&mut write, service).await?.env_revision;
        if newest != expected {
            return Err(StoreError::Stale { key: service.to_string() });
        }
        let revision = newest + 1;
        sqlx::query("INSERT INTO env_revisions (service, revision, ciphertext, created_at) VALUES ($1, $2, $3, $4)")
            .bind(service.as_str())
            .bind(stored(revision))
            .bind(ciphertext)
            .bind(now)
            .execute(&mut *write)
            .await
            .map_err(failed())?;
        sqlx::query("UPDATE services SET env_revision = $2 WHERE id = $1")
            .bind(service.as_str())
            .bind(stored(revision))
            .execute(&mut *write)
            .await
            .map_err(failed())?;
        commit(write).await?;
        Ok(revision)
    }

    /// The ciphertext of a revision. Revision 0 is empty: no variable was ever set, None.
    ///
    /// # Errors
    /// [`StoreError::Missing`] for a revision above 0 that is not there; or the database fails.
    pub async fn env(&self, service: &ServiceId, revision: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if revision == 0 {
            return Ok(None);
        }
        let mut read = self.read().await?;
        sqlx::query_scalar("SELECT ciphertext FROM env_revisions WHERE service = $1 AND revision = $2")
            .bind(service.as_str())
            .bind(stored(revision))
            .fetch_optional(&mut *read)
            .await
            .map_err(StoreError::query("read the variables of", service))?
            .map(Some)
            .ok_or_else(|| StoreError::missing("revision of variables", format!("{service}:{revision}")))
    }
}
