//! Images that are there: what a later deployment of the same source may take instead of building again.

use crate::decode::{get, json, json_option, number_option, parsed};
use crate::{Store, StoreError};
use slipway_pipeline::BuildInputs;
use slipway_types::{DeploymentId, Plan, ServiceId, ServiceSettings, SettingsPatch, SourceSpec};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// A deployment whose build has ended, whatever became of it afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct BuiltRow {
    pub deployment: DeploymentId,
    pub source: SourceSpec,
    pub source_label: String,
    pub plan: Plan,
    /// What the source says about its settings.
    pub source_settings: SettingsPatch,
    pub inputs: BuildInputs,
    /// Release number of the deployment that built it; None: that one did not come so far.
    pub built_release: Option<u32>,
    /// That built it: this one, or the one that this one took it from.
    pub built_by: DeploymentId,
}

/// For a new deployment: the image of an earlier one, with settings of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Reuse {
    pub of: BuiltRow,
    pub settings: ServiceSettings,
    /// One sentence about the build that is skipped.
    pub note: String,
}

impl BuiltRow {
    fn from_row(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            deployment: parsed(row, "id", DeploymentId::parse)?,
            source: json(row, "source")?,
            source_label: get(row, "source_label")?,
            plan: json(row, "plan")?,
            source_settings: json_option(row, "source_settings")?.unwrap_or_default(),
            inputs: json(row, "build_inputs")?,
            built_release: number_option(row, "built_release")?,
            built_by: parsed(row, "built_by", DeploymentId::parse)?,
        })
    }
}

impl Store {
    /// The service's newest deployment that has an image, its own or one that it took.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_built(&self, service: &ServiceId) -> Result<Option<BuiltRow>, StoreError> {
        let mut read = self.read().await?;
        let row = sqlx::query(
            "SELECT d.id, d.source, d.source_label, d.plan, d.source_settings, d.build_inputs, \
             b.id AS built_by, b.release_number AS built_release \
             FROM deployments d JOIN deployments b ON b.id = COALESCE(d.built_by, d.id) \
             WHERE d.service = $1 AND d.image IS NOT NULL AND d.build_inputs IS NOT NULL \
             ORDER BY d.sequence DESC LIMIT 1",
        )
        .bind(service.as_str())
        .fetch_optional(&mut *read)
        .await
        .map_err(StoreError::query("look for an image of", service))?;
        row.as_ref().map(BuiltRow::from_row).transpose()
    }
}

/// Gives a deployment the plan, the image and the inputs of another one.
pub(crate) async fn copy(
    connection: &mut SqliteConnection,
    from: &DeploymentId,
    to: &DeploymentId,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE deployments SET plan = o.plan, image = o.image, build_inputs = o.build_inputs, \
         source_settings = o.source_settings, built_by = COALESCE(o.built_by, o.id) \
         FROM deployments o WHERE deployments.id = $1 AND o.id = $2",
    )
    .bind(to.as_str())
    .bind(from.as_str())
    .execute(connection)
    .await
    .map(drop)
    .map_err(StoreError::query("give an image to", to))
}
