//! Which layers must stay, and for whom: what a host may not remove.
//!
//! Guarantees: everything is read in one transaction, so a deployment that becomes a release meanwhile is in the answer as
//! one or the other. A layer of an unfinished deployment is named before its phase has ended, because the host makes it then.

use crate::decode::{json, json_option, number, number_option, parsed};
use crate::{Store, StoreError};
use slipway_types::cache::{Keeper, layers_of};
use slipway_types::host::PhaseOutput;
use slipway_types::{DeploymentId, Image, LayerRef, ServiceId};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// Layers, and what they stand under. A layer may be named more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    pub keeper: Keeper,
    pub layers: Vec<LayerRef>,
}

impl Store {
    /// Of what is live, of the newest `keep_releases` releases of each service that ever were (those that differ in their
    /// variables alone count as one), of each service's newest
    /// build, and of all deployments that have not ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn retained(&self, keep_releases: u32) -> Result<Vec<Retained>, StoreError> {
        let mut read = self.read().await?;
        let mut retained = live(&mut read).await?;
        retained.extend(newest_releases(&mut read, keep_releases).await?);
        retained.extend(newest_builds(&mut read).await?);
        retained.extend(unfinished(&mut read).await?);
        Ok(retained)
    }
}

async fn live(connection: &mut SqliteConnection) -> Result<Vec<Retained>, StoreError> {
    let rows = sqlx::query(
        "SELECT s.id, d.release_number, r.image FROM services s \
         JOIN deployments d ON d.id = s.live_deployment JOIN releases r ON r.id = d.release_id",
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("list", "live layers"))?;
    rows.iter()
        .map(|row| {
            let service = parsed(row, "id", ServiceId::parse)?;
            let release = number_option(row, "release_number")?;
            Ok(Retained { keeper: Keeper::Live { service, release }, layers: image_layers(row)? })
        })
        .collect()
}

async fn newest_releases(connection: &mut SqliteConnection, count: u32) -> Result<Vec<Retained>, StoreError> {
    let rows = sqlx::query(
        "SELECT service, number, image FROM (SELECT service, number, image, \
         ROW_NUMBER() OVER (PARTITION BY service ORDER BY number DESC) AS place \
         FROM (SELECT service, MAX(number) AS number, image FROM releases WHERE live_at IS NOT NULL \
         GROUP BY service, image) AS images) AS newest WHERE place <= $1",
    )
    .bind(i64::from(count))
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("list", "the newest releases"))?;
    rows.iter()
        .map(|row| {
            let service = parsed(row, "service", ServiceId::parse)?;
            let keeper = Keeper::Release { service, release: number(row, "number")? };
            Ok(Retained { keeper, layers: image_layers(row)? })
        })
        .collect()
}

/// What [`Store::newest_built`] finds, of each service.
async fn newest_builds(connection: &mut SqliteConnection) -> Result<Vec<Retained>, StoreError> {
    let rows = sqlx::query(
        "SELECT service, image FROM (SELECT service, image, \
         ROW_NUMBER() OVER (PARTITION BY service ORDER BY sequence DESC) AS place \
         FROM deployments WHERE image IS NOT NULL AND build_inputs IS NOT NULL) WHERE place = 1",
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("list", "the newest images"))?;
    rows.iter()
        .map(|row| {
            let keeper = Keeper::Newest { service: parsed(row, "service", ServiceId::parse)? };
            Ok(Retained { keeper, layers: image_layers(row)? })
        })
        .collect()
}

async fn unfinished(connection: &mut SqliteConnection) -> Result<Vec<Retained>, StoreError> {
    let rows = sqlx::query(
        "SELECT d.id, d.service, d.image, r.image AS release_image FROM deployments d \
         LEFT JOIN releases r ON r.id = d.release_id WHERE d.active = 1",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::query("list", "layers of unfinished deployments"))?;
    let mut retained = Vec::new();
    for row in &rows {
        let deployment = parsed(row, "id", DeploymentId::parse)?;
        let service = parsed(row, "service", ServiceId::parse)?;
        let mut layers: Vec<LayerRef> = layers_of(&deployment).collect();
        for column in ["image", "release_image"] {
            layers.extend(json_option::<Image>(row, column)?.into_iter().flat_map(|image| image.layers));
        }
        layers.extend(phase_layers(connection, &deployment).await?);
        retained.push(Retained { keeper: Keeper::Building { service, deployment }, layers });
    }
    Ok(retained)
}

async fn phase_layers(
    connection: &mut SqliteConnection,
    deployment: &DeploymentId,
) -> Result<Vec<LayerRef>, StoreError> {
    let rows = sqlx::query("SELECT output FROM phases WHERE deployment = $1 AND output IS NOT NULL")
        .bind(deployment.as_str())
        .fetch_all(connection)
        .await
        .map_err(StoreError::query("list the layers of", deployment))?;
    let mut layers = Vec::new();
    for row in &rows {
        match json(row, "output")? {
            PhaseOutput::Environment { layers: made, .. } | PhaseOutput::Build { layers: made, .. } => {
                layers.extend(made)
            }
            PhaseOutput::Install { layer, .. } => layers.push(layer),
            PhaseOutput::Source(_) | PhaseOutput::PreDeploy => {}
        }
    }
    Ok(layers)
}

fn image_layers(row: &SqliteRow) -> Result<Vec<LayerRef>, StoreError> {
    json::<Image>(row, "image").map(|image| image.layers)
}
