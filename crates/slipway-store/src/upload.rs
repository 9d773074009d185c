//! Uploaded directories that were checked.

use crate::database::commit;
use crate::decode::{get, number, parsed, stored};
use crate::{Store, StoreError};
use slipway_types::{TimestampMs, UploadId};

/// One upload; its archive is a file named by the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRow {
    pub upload: UploadId,
    pub files: u64,
    /// Unpacked.
    pub bytes: u64,
    pub created_at: TimestampMs,
}

impl Store {
    /// Records an upload; the same archive a second time changes nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_upload(&self, row: &UploadRow) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO uploads (id, files, bytes, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING",
        )
        .bind(row.upload.as_str())
        .bind(stored(row.files))
        .bind(stored(row.bytes))
        .bind(row.created_at)
        .execute(&mut *write)
        .await
        .map_err(StoreError::query("record the upload", &row.upload))?;
        commit(write).await
    }

    /// # Errors
    /// When the database fails.
    pub async fn upload(&self, upload: &UploadId) -> Result<Option<UploadRow>, StoreError> {
        let mut read = self.read().await?;
        let row = sqlx::query("SELECT id, files, bytes, created_at FROM uploads WHERE id = $1")
            .bind(upload.as_str())
            .fetch_optional(&mut *read)
            .await
            .map_err(StoreError::query("read the upload", upload))?;
        row.map(|row| {
            Ok(UploadRow {
                upload: parsed(&row, "id", UploadId::parse)?,
                files: number(&row, "files")?,
                bytes: number(&row, "bytes")?,
                created_at: get(&row, "created_at")?,
            })
        })
        .transpose()
    }
}
