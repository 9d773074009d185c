//! Services and their settings.

use crate::database::commit;
use crate::decode::{encoded, get, json, number, parsed, parsed_option};
use crate::{Store, StoreError};
use slipway_pipeline::DeploymentState;
use slipway_types::{DeploymentId, ProjectName, ReplicaId, ServiceId, ServiceName, SettingsPatch, TimestampMs};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// One service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRow {
    pub service_id: ServiceId,
    pub project: ProjectName,
    pub service: ServiceName,
    /// What its owner set; `slipway.toml` and the defaults are not in it.
    pub settings: SettingsPatch,
    /// Newest revision of its variables. 0: none were ever set.
    pub env_revision: u64,
    pub live: Option<DeploymentId>,
    /// The deployment that was put to sleep; [`ServiceRow::sleeps`] says what that means.
    pub asleep: Option<DeploymentId>,
    pub created_at: TimestampMs,
}

macro_rules! service_columns {
    () => {
        "s.id, s.project, s.name, s.settings, s.env_revision, s.live_deployment, s.asleep_deployment, s.created_at"
    };
}
pub(crate) use service_columns;

impl ServiceRow {
    pub(crate) fn from_row(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            service_id: parsed(row, "id", ServiceId::parse)?,
            project: parsed(row, "project", ProjectName::parse)?,
            service: parsed(row, "name", ServiceName::parse)?,
            settings: json(row, "settings")?,
            env_revision: number(row, "env_revision")?,
            live: parsed_option(row, "live_deployment", DeploymentId::parse)?,
            asleep: parsed_option(row, "asleep_deployment", DeploymentId::parse)?,
            created_at: get(row, "created_at")?,
        })
    }

    /// Whether that deployment sleeps. One that is not live any more is on its way out, asleep or not.
    pub fn sleeps(&self, deployment: &DeploymentId) -> bool {
        self.asleep.as_ref() == Some(deployment)
    }
}

/// What ran for a service when it was destroyed: its rows are gone, its sandboxes and workers are the caller's to stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Destroyed {
    /// Those that were not settled, live or draining.
    pub deployments: Vec<(DeploymentId, DeploymentState)>,
    pub replicas: Vec<ReplicaId>,
}

impl Store {
    /// The service of that name; made with the id `new` when there is none, with its project.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ensure_service(
        &self,
        now: TimestampMs,
        project: &ProjectName,
        service: &ServiceName,
        new: &ServiceId,
    ) -> Result<ServiceRow, StoreError> {
        let failed = || StoreError::query("make the service", format!("{project}/{service}"));
        let mut write = self.write().await?;
        if let Some(row) = named(&mut write, project, service).await? {
            return Ok(row);
        }
        sqlx::query("INSERT INTO projects (name, created_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(project.as_str())
            .bind(now)
            .execute(&mut *write)
            .await
            .map_err(failed())?;
        sqlx::query(
            "INSERT INTO services (id, project, name, settings, env_revision, deployment_sequence, release_sequence, \
             live_deployment, created_at) VALUES ($1, $2, $3, $4, 0, 0, 0, NULL, $5)",
        )
        .bind(new.as_str())
        .bind(project.as_str())
        .bind(service.as_str())
        .bind(encoded("settings", &SettingsPatch::default())?)
        .bind(now)
        .execute(&mut *write)
        .await
        .map_err(failed())?;
        let row = by_id(&mut write, new).await?;
        commit(write).await?;
        Ok(row)
    }

    /// The service of that name, if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn service_named(
        &self,
        project: &ProjectName,
        service: &ServiceName,
    ) -> Result<Option<ServiceRow>, StoreError> {
        let mut read = self.read().await?;
        named(&mut read, project, service).await
    }

    /// # Errors
    /// [`StoreError::Missing`], or the database fails.
    pub async fn service(&self, service: &ServiceId) -> Result<ServiceRow, StoreError> {
        let mut read = self.read().await?;
        by_id(&mut read, service).await
    }

    /// Puts what `newer` says over the service's settings; gives all of them.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the database fails.
    pub async fn merge_settings(
        &self,
        service: &ServiceId,
        newer: &SettingsPatch,
    ) -> Result<SettingsPatch, StoreError> {
        let mut write = self.write().await?;
        let merged = by_id(&mut write, service).await?.settings.merged_with(newer);
        write_settings(&mut write, service, &merged).await?;
        commit(write).await?;
        Ok(merged)
    }

    /// Replaces the service's settings.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the database fails.
    pub async fn put_settings(&self, service: &ServiceId, settings: &SettingsPatch) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        write_settings(&mut write, service, settings).await?;
        commit(write).await
    }

    /// Removes a service with all that belongs to it, and its project when nothing else is in it.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the database fails.
    pub async fn destroy(&self, service: &ServiceId) -> Result<Destroyed, StoreError> {
        let failed = || StoreError::query("destroy the service", service);
        let mut write = self.write().await?;
        let row = by_id(&mut write, service).await?;
        let destroyed = running(&mut write, service).await?;
        sqlx::query("DELETE FROM services WHERE id = $1")
            .bind(service.as_str())
            .execute(&mut *write)
            .await
            .map_err(failed())?;
        sqlx::query("DELETE FROM projects WHERE name = $1 AND NOT EXISTS (SELECT 1 FROM services WHERE project = $1)")
            .bind(row.project.as_str())
            .execute(&mut *write)
            .await
            .map_err(failed())?;
        commit(write).await?;
        Ok(destroyed)
    }
}

async fn running(connection: &mut SqliteConnection, service: &ServiceId) -> Result<Destroyed, StoreError> {
    let failed = || StoreError::query("read what runs of", service);
    let deployments = sqlx::query(
        "SELECT id, state FROM deployments WHERE active = 1 AND service = $1 \
             UNION SELECT id, state FROM deployments WHERE status = 'live' AND service = $1",
    )
    .bind(service.as_str())
    .fetch_all(&mut *connection)
    .await
    .map_err(failed())?;
    let replicas = sqlx::query(
        "SELECT r.id FROM replicas r CROSS JOIN deployments d WHERE d.id = r.deployment AND d.service = $1",
    )
    .bind(service.as_str())
    .fetch_all(connection)
    .await
    .map_err(failed())?;
    Ok(Destroyed {
        deployments: deployments
            .iter()
            .map(|row| Ok((parsed(row, "id", DeploymentId::parse)?, json(row, "state")?)))
            .collect::<Result<_, StoreError>>()?,
        replicas: replicas.iter().map(|row| parsed(row, "id", ReplicaId::parse)).collect::<Result<_, _>>()?,
    })
}

async fn named(
    connection: &mut SqliteConnection,
    project: &ProjectName,
    service: &ServiceName,
) -> Result<Option<ServiceRow>, StoreError> {
    sqlx::query(concat!("SELECT ", service_columns!(), " FROM services s WHERE s.project = $1 AND s.name = $2"))
        .bind(project.as_str())
        .bind(service.as_str())
        .fetch_optional(connection)
        .await
        .map_err(StoreError::query("read the service", format!("{project}/{service}")))?
        .as_ref()
        .map(ServiceRow::from_row)
        .transpose()
}

pub(crate) async fn by_id(connection: &mut SqliteConnection, service: &ServiceId) -> Result<ServiceRow, StoreError> {
    let row = sqlx::query(concat!("SELECT ", service_columns!(), " FROM services s WHERE s.id = $1"))
        .bind(service.as_str())
        .fetch_optional(connection)
        .await
        .map_err(StoreError::query("read the service", service))?
        .ok_or_else(|| StoreError::missing("service", service))?;
    ServiceRow::from_row(&row)
}

pub(crate) async fn write_settings(
    connection: &mut SqliteConnection,
    service: &ServiceId,
    settings: &SettingsPatch,
) -> Result<(), StoreError> {
    let done = sqlx::query("UPDATE services SET settings = $2 WHERE id = $1")
        .bind(service.as_str())
        .bind(encoded("settings", settings)?)
        .execute(connection)
        .await
        .map_err(StoreError::query("change the settings of", service))?;
    match done.rows_affected() {
        0 => Err(StoreError::missing("service", service)),
        _ => Ok(()),
    }
}
