//! Other variables for what is live, without a deployment: a further release of the same image.
//!
//! A release never changes, so that a rollback means what it says. Until all replicas have the new variables the further
//! release counts as one that was never live; when they could not start with them, the one before is the live one again.

use crate::database::commit;
use crate::decode::{encoded, number, stored};
use crate::event::{NewEvent, insert};
use crate::{Store, StoreError};
use slipway_pipeline::Roster;
use slipway_types::{DeploymentId, ReleaseId, ServiceId, TimestampMs};
use sqlx::SqliteConnection;

/// Variables that what is live is to have.
#[derive(Debug, Clone, PartialEq)]
pub struct VariablesChange {
    /// Of the further release.
    pub release: ReleaseId,
    pub env_revision: u64,
    /// Replicas are replaced for it. None: they have it without.
    pub roster: Option<Roster>,
    /// Kind and message.
    pub event: (&'static str, String),
}

impl Store {
    /// Makes the further release and points the live deployment at it; gives its number. None: the deployment is not the live one
    /// any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn change_variables(
        &self,
        at: TimestampMs,
        service: &ServiceId,
        deployment: &DeploymentId,
        change: &VariablesChange,
    ) -> Result<Option<u32>, StoreError> {
        let failed = || StoreError::query("change the variables of", deployment);
        let mut write = self.write().await?;
        let counted = sqlx::query(
            "UPDATE services SET release_sequence = release_sequence + 1 WHERE id = $1 AND live_deployment = $2 \
             RETURNING release_sequence",
        )
        .bind(service.as_str())
        .bind(deployment.as_str())
        .fetch_optional(&mut *write)
        .await
        .map_err(failed())?;
        let Some(counted) = counted else { return Ok(None) };
        let release: u32 = number(&counted, "release_sequence")?;
        sqlx::query(
            "INSERT INTO releases (id, service, number, deployment, image, settings, env_revision, source, source_label, \
             created_at, live_at) SELECT $1, r.service, $3, r.deployment, r.image, r.settings, $4, r.source, r.source_label, $5, $6 \
             FROM deployments d JOIN releases r ON r.id = d.release_id WHERE d.id = $2",
        )
        .bind(change.release.as_str())
        .bind(deployment.as_str())
        .bind(i64::from(release))
        .bind(stored(change.env_revision))
        .bind(at)
        .bind(change.roster.is_none().then_some(at))
        .execute(&mut *write)
        .await
        .map_err(failed())?;
        point_at(&mut write, deployment, (change.release.as_str(), i64::from(release))).await?;
        if let Some(roster) = &change.roster {
            sqlx::query("UPDATE deployments SET roster = $2 WHERE id = $1")
                .bind(deployment.as_str())
                .bind(encoded("a roster", roster)?)
                .execute(&mut *write)
                .await
                .map_err(failed())?;
        }
        let (kind, message) = &change.event;
        insert(&mut write, &NewEvent { at, service, deployment: Some(deployment), kind, message }).await?;
        commit(write).await?;
        Ok(Some(release))
    }
}

async fn point_at(
    connection: &mut SqliteConnection,
    deployment: &DeploymentId,
    (release, number): (&str, i64),
) -> Result<(), StoreError> {
    sqlx::query("UPDATE deployments SET release_id = $2, release_number = $3 WHERE id = $1")
        .bind(deployment.as_str())
        .bind(release)
        .bind(number)
        .execute(connection)
        .await
        .map(drop)
        .map_err(StoreError::query("change the release of", deployment))
}

/// All of the deployment's replicas have the variables of its release.
pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    at: TimestampMs,
    deployment: &DeploymentId,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE releases SET live_at = $2 WHERE live_at IS NULL \
         AND id = (SELECT release_id FROM deployments WHERE id = $1)",
    )
    .bind(deployment.as_str())
    .bind(at)
    .execute(connection)
    .await
    .map(drop)
    .map_err(StoreError::query("keep the variables of", deployment))
}

/// No replica has the variables of its release, if they were not in force before: the release before that is its own again.
pub(crate) async fn give_up(connection: &mut SqliteConnection, deployment: &DeploymentId) -> Result<(), StoreError> {
    // What is live was made live last, so that it is the newest by that time.
    let former = sqlx::query(
        "SELECT r.id, r.number FROM deployments d JOIN releases n ON n.id = d.release_id \
         JOIN releases r ON r.service = d.service WHERE d.id = $1 AND n.live_at IS NULL AND r.live_at IS NOT NULL \
         ORDER BY r.live_at DESC, r.number DESC LIMIT 1",
    )
    .bind(deployment.as_str())
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::query("look for the former variables of", deployment))?;
    let Some(former) = former else { return Ok(()) };
    let (release, of): (String, u32) = (crate::decode::get(&former, "id")?, number(&former, "number")?);
    point_at(connection, deployment, (&release, i64::from(of))).await
}
