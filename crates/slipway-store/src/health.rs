//! How the database itself is.

use crate::{Store, StoreError};

impl Store {
    /// Whether something could be stored now. Nothing is.
    ///
    /// # Errors
    /// When it could not.
    pub async fn check_writable(&self) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query("UPDATE counters SET value = value WHERE name = 'event'")
            .execute(&mut *write)
            .await
            .map(drop)
            .map_err(StoreError::query("try a write to", "the database"))
    }

    /// Of its file, without the log of what was written last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn size_bytes(&self) -> Result<u64, StoreError> {
        let mut read = self.read().await?;
        let bytes: i64 =
            sqlx::query_scalar("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
                .fetch_one(&mut *read)
                .await
                .map_err(StoreError::query("measure", "the database"))?;
        Ok(bytes.unsigned_abs())
    }
}
