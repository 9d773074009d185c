//! Releases: immutable, numbered per service, what a rollback goes to.

use crate::database::commit;
use crate::decode::{encoded, get, json, number, parsed};
use crate::{Store, StoreError};
use slipway_pipeline::{PastRelease, RollbackRefusal, rollback_target};
use slipway_types::api::LIMIT_MAX;
use slipway_types::{DeploymentId, Image, ReleaseId, ServiceId, ServiceSettings, SourceSpec, TimestampMs};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// Releases that a rollback without a number looks back over.
const LOOK_BACK_MAX: i64 = 1000;

/// A release to be, of a deployment that has settings.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRelease {
    pub release: ReleaseId,
    pub deployment: DeploymentId,
    pub image: Image,
}

/// One release.
#[derive(Debug, Clone, PartialEq)]
pub struct ReleaseRow {
    pub release: ReleaseId,
    pub service_id: ServiceId,
    pub number: u32,
    /// That made it.
    pub deployment: DeploymentId,
    pub image: Image,
    pub settings: ServiceSettings,
    pub env_revision: u64,
    pub source: SourceSpec,
    pub source_label: String,
    pub created_at: TimestampMs,
    /// When it was made live last. None: it never was.
    pub live_at: Option<TimestampMs>,
}

macro_rules! release_columns {
    () => {
        "id, service, number, deployment, image, settings, env_revision, source, source_label, created_at, live_at"
    };
}

impl ReleaseRow {
    fn from_row(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            release: parsed(row, "id", ReleaseId::parse)?,
            service_id: parsed(row, "service", ServiceId::parse)?,
            number: number(row, "number")?,
            deployment: parsed(row, "deployment", DeploymentId::parse)?,
            image: json(row, "image")?,
            settings: json(row, "settings")?,
            env_revision: number(row, "env_revision")?,
            source: json(row, "source")?,
            source_label: get(row, "source_label")?,
            created_at: get(row, "created_at")?,
            live_at: get(row, "live_at")?,
        })
    }
}

/// Which release a rollback goes to.
#[derive(Debug, Clone, PartialEq)]
pub enum RollbackChoice {
    To(Box<ReleaseRow>),
    Refused(RollbackRefusal),
}

impl Store {
    /// Makes the release of a deployment: its settings, variables' revision and source with the image. Asked again,
    /// gives the one that is there.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Unplanned`], or the database fails.
    pub async fn create_release(&self, now: TimestampMs, new: &NewRelease) -> Result<ReleaseRow, StoreError> {
        let mut write = self.write().await?;
        if let Some(present) = of_deployment(&mut write, &new.deployment).await? {
            return by_id(&mut write, &present).await;
        }
        insert(&mut write, now, new).await?;
        let row = by_id(&mut write, &new.release).await?;
        commit(write).await?;
        Ok(row)
    }

    /// # Errors
    /// [`StoreError::Missing`], or the database fails.
    pub async fn release(&self, release: &ReleaseId) -> Result<ReleaseRow, StoreError> {
        let mut read = self.read().await?;
        by_id(&mut read, release).await
    }

    /// A service's releases, newest first; `before` a number, for the next page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn releases(
        &self,
        service: &ServiceId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<ReleaseRow>, StoreError> {
        let mut read = self.read().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            release_columns!(),
            " FROM releases WHERE service = $1 AND number < $2 ORDER BY number DESC LIMIT $3"
        ))
        .bind(service.as_str())
        .bind(before.map_or(i64::MAX, i64::from))
        .bind(i64::from(limit.min(LIMIT_MAX)))
        .fetch_all(&mut *read)
        .await
        .map_err(StoreError::query("list the releases of", service))?;
        rows.iter().map(ReleaseRow::from_row).collect()
    }

    /// The release that a rollback of the service means: `wanted`, or the one that was live before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn rollback_release(
        &self,
        service: &ServiceId,
        wanted: Option<u32>,
    ) -> Result<RollbackChoice, StoreError> {
        let mut read = self.read().await?;
        let past = past_releases(&mut read, service, wanted).await?;
        let live = live_number(&mut read, service).await?;
        match rollback_target(&past, live, wanted) {
            Ok(chosen) => Ok(RollbackChoice::To(Box::new(numbered(&mut read, service, chosen).await?))),
            Err(refusal) => Ok(RollbackChoice::Refused(refusal)),
        }
    }
}

async fn of_deployment(
    connection: &mut SqliteConnection,
    deployment: &DeploymentId,
) -> Result<Option<ReleaseId>, StoreError> {
    let row = sqlx::query("SELECT release_id, settings FROM deployments WHERE id = $1")
        .bind(deployment.as_str())
        .fetch_optional(connection)
        .await
        .map_err(StoreError::query("read the release of", deployment))?
        .ok_or_else(|| StoreError::missing("deployment", deployment))?;
    let settings: Option<String> = get(&row, "settings")?;
    if settings.is_none() {
        return Err(StoreError::Unplanned { deployment: deployment.to_string() });
    }
    crate::decode::parsed_option(&row, "release_id", ReleaseId::parse)
}

async fn insert(connection: &mut SqliteConnection, now: TimestampMs, new: &NewRelease) -> Result<(), StoreError> {
    let failed = || StoreError::query("make the release of", &new.deployment);
    let number: i64 = sqlx::query_scalar(
        "UPDATE services SET release_sequence = release_sequence + 1 \
         WHERE id = (SELECT service FROM deployments WHERE id = $1) RETURNING release_sequence",
    )
    .bind(new.deployment.as_str())
    .fetch_one(&mut *connection)
    .await
    .map_err(failed())?;
    sqlx::query(
        "INSERT INTO releases (id, service, number, deployment, image, settings, env_revision, source, source_label, \
         created_at, live_at) SELECT $1, d.service, $3, d.id, $4, d.settings, d.env_revision, d.source, d.source_label, \
         $5, NULL FROM deployments d WHERE d.id = $2",
    )
    .bind(new.release.as_str())
    .bind(new.deployment.as_str())
    .bind(number)
    .bind(encoded("an image", &new.image)?)
    .bind(now)
    .execute(&mut *connection)
    .await
    .map_err(failed())?;
    sqlx::query("UPDATE deployments SET release_id = $2, release_number = $3 WHERE id = $1")
        .bind(new.deployment.as_str())
        .bind(new.release.as_str())
        .bind(number)
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed())
}

pub(crate) async fn by_id(connection: &mut SqliteConnection, release: &ReleaseId) -> Result<ReleaseRow, StoreError> {
    let row = sqlx::query(concat!("SELECT ", release_columns!(), " FROM releases WHERE id = $1"))
        .bind(release.as_str())
        .fetch_optional(connection)
        .await
        .map_err(StoreError::query("read the release", release))?
        .ok_or_else(|| StoreError::missing("release", release))?;
    ReleaseRow::from_row(&row)
}

async fn numbered(
    connection: &mut SqliteConnection,
    service: &ServiceId,
    number: u32,
) -> Result<ReleaseRow, StoreError> {
    let row = sqlx::query(concat!("SELECT ", release_columns!(), " FROM releases WHERE service = $1 AND number = $2"))
        .bind(service.as_str())
        .bind(i64::from(number))
        .fetch_optional(connection)
        .await
        .map_err(StoreError::query("read a release of", service))?
        .ok_or_else(|| StoreError::missing("release", format!("v{number}")))?;
    ReleaseRow::from_row(&row)
}

async fn past_releases(
    connection: &mut SqliteConnection,
    service: &ServiceId,
    wanted: Option<u32>,
) -> Result<Vec<PastRelease>, StoreError> {
    let newest = wanted.map_or(i64::MAX, i64::from);
    let rows = sqlx::query(
        "SELECT number, live_at FROM releases WHERE service = $1 AND number <= $2 ORDER BY number DESC LIMIT $3",
    )
    .bind(service.as_str())
    .bind(newest)
    .bind(LOOK_BACK_MAX)
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("list the releases of", service))?;
    rows.iter()
        .map(|row| {
            let live_at: Option<i64> = get(row, "live_at")?;
            Ok(PastRelease { number: number(row, "number")?, was_live: live_at.is_some() })
        })
        .collect()
}

async fn live_number(connection: &mut SqliteConnection, service: &ServiceId) -> Result<Option<u32>, StoreError> {
    let row = sqlx::query(
        "SELECT d.release_number FROM services s JOIN deployments d ON d.id = s.live_deployment WHERE s.id = $1",
    )
    .bind(service.as_str())
    .fetch_optional(connection)
    .await
    .map_err(StoreError::query("read the live release of", service))?;
    row.map_or(Ok(None), |row| crate::decode::number_option(&row, "release_number"))
}
