//! What becomes of a deployment after it went live: which of its replicas run, and what comes back when it crashes.

use crate::apply::{Change, News, Work, advance};
use crate::database::commit;
use crate::decode::{encoded, get, json_option, number, parsed, stored};
use crate::deployment::create;
use crate::event::{NewEvent, OfReplica, insert, insert_of};
use crate::release::ReleaseRow;
use crate::{Applied, NewDeployment, Store, StoreError};
use slipway_pipeline::{DeploymentState, Event, Roster};
use slipway_types::settings::SettingsPatch;
use slipway_types::{DeploymentId, Diagnosis, ReleaseId, ServiceId, TimestampMs, Trigger};
use sqlx::SqliteConnection;

/// Deployments that a look for the former one goes back over: those in between were never live.
const LOOK_BACK_MAX: i64 = 1000;
/// Of a service that crashes once a minute, some hours; such events are no reason for a database to grow for ever.
const REPLICA_EVENTS_KEPT: i64 = 500;

/// A change of what runs of a live deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct RosterChange {
    pub roster: Roster,
    /// Also what the service's next deployments begin with, where their source does not say otherwise.
    pub replicas: Option<u32>,
    /// Kind and message, when people are to know.
    pub event: Option<(&'static str, String)>,
    /// No replica came up for it: variables that it was to bring are not in force.
    pub gives_up: bool,
}

impl Store {
    /// Which replicas of the deployment run. None: those that it began with.
    ///
    /// # Errors
    /// [`StoreError::Missing`], or the database fails.
    pub async fn roster(&self, deployment: &DeploymentId) -> Result<Option<Roster>, StoreError> {
        let mut read = self.read().await?;
        let row = sqlx::query("SELECT roster FROM deployments WHERE id = $1")
            .bind(deployment.as_str())
            .fetch_optional(&mut *read)
            .await
            .map_err(StoreError::query("read the roster of", deployment))?
            .ok_or_else(|| StoreError::missing("deployment", deployment))?;
        json_option(&row, "roster")
    }

    /// Other replicas of the live deployment run from now on. False: it is not the live one any more. What is stopped does not
    /// sleep.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_roster(
        &self,
        at: TimestampMs,
        service: &ServiceId,
        deployment: &DeploymentId,
        change: &RosterChange,
    ) -> Result<bool, StoreError> {
        let failed = || StoreError::query("change the replicas of", deployment);
        let mut write = self.write().await?;
        let done = sqlx::query(
            "UPDATE deployments SET roster = $3 WHERE id = $2 \
             AND EXISTS (SELECT 1 FROM services WHERE id = $1 AND live_deployment = $2)",
        )
        .bind(service.as_str())
        .bind(deployment.as_str())
        .bind(encoded("a roster", &change.roster)?)
        .execute(&mut *write)
        .await
        .map_err(failed())?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if change.gives_up {
            crate::variables::give_up(&mut write, deployment).await?;
        }
        if change.roster.left_to_replace() == 0 {
            crate::variables::settle(&mut write, at, deployment).await?;
        }
        if change.roster.is_stopped() {
            sqlx::query("UPDATE services SET asleep_deployment = NULL WHERE id = $1 AND asleep_deployment = $2")
                .bind(service.as_str())
                .bind(deployment.as_str())
                .execute(&mut *write)
                .await
                .map_err(failed())?;
        }
        if change.replicas.is_some() {
            let newer = SettingsPatch { replicas: change.replicas, ..SettingsPatch::default() };
            let settings = crate::service::by_id(&mut write, service).await?.settings.merged_with(&newer);
            crate::service::write_settings(&mut write, service, &settings).await?;
        }
        if let Some((kind, message)) = &change.event {
            insert(&mut write, &NewEvent { at, service, deployment: Some(deployment), kind, message }).await?;
        }
        commit(write).await?;
        Ok(true)
    }

    /// Adds an event about a replica, and drops the oldest of its sort.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_replica_event(
        &self,
        at: TimestampMs,
        service: &ServiceId,
        deployment: &DeploymentId,
        of: OfReplica<'_>,
        (kind, message): (&str, &str),
    ) -> Result<(), StoreError> {
        let mut write = self.write().await?;
        let event = NewEvent { at, service, deployment: Some(deployment), kind, message };
        insert_of(&mut write, &event, Some(of)).await?;
        sqlx::query(
            "DELETE FROM events WHERE service = $1 AND kind LIKE 'replica-%' AND id <= \
             (SELECT id FROM events WHERE service = $1 AND kind LIKE 'replica-%' ORDER BY id DESC LIMIT 1 OFFSET $2)",
        )
        .bind(service.as_str())
        .bind(REPLICA_EVENTS_KEPT)
        .execute(&mut *write)
        .await
        .map_err(StoreError::query("remove old events of", service))?;
        commit(write).await
    }

    /// A replica of the live deployment crashed. Within its window, and with something that was live right before it, that comes
    /// back as the deployment `back`, in the same transaction. None: nothing was changed.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Contended`], or the database fails.
    pub async fn take_back(
        &self,
        now: TimestampMs,
        deployment: &DeploymentId,
        diagnosis: &Diagnosis,
        back: &DeploymentId,
    ) -> Result<Option<Applied>, StoreError> {
        let mut write = self.write().await?;
        let Some(former) = former_release(&mut write, deployment).await? else { return Ok(None) };
        let event = Event::ReplicaCrashed { code: diagnosis.code.clone() };
        let change = Change { diagnosis: Some(diagnosis.clone()), ..Change::default() };
        let work = Work::from([(deployment.clone(), event, change)]);
        let (mut actions, mut news) = (Vec::new(), News::new());
        let advanced = advance(&mut write, now, work, &mut actions, &mut news).await?;
        let contended = || StoreError::Contended { deployment: deployment.to_string(), attempts: 1 };
        let applied = advanced.flatten().ok_or_else(contended)?.into_applied(Vec::new(), News::new());
        if !applied.changed {
            return Ok(None);
        }
        let message =
            format!("it crashed soon after it went live: {}; v{} is brought back", diagnosis.what, former.number);
        let service = &former.service_id;
        let kind = "deployment-crashed";
        insert(&mut write, &NewEvent { at: now, service, deployment: Some(deployment), kind, message: &message })
            .await?;
        let new = NewDeployment {
            deployment: back.clone(),
            service: former.service_id.clone(),
            trigger: Trigger::Rollback,
            source_label: former.source_label,
            source: former.source,
            message: Some(format!("back to v{}, because {deployment} crashed", former.number)),
            release: Some(former.release),
            reuse: None,
        };
        create(&mut write, now, &new, &mut actions, &mut news).await?;
        commit(write).await?;
        Ok(Some(Applied { actions, news, ..applied }))
    }
}

/// The release that was live until the deployment was.
async fn former_release(
    connection: &mut SqliteConnection,
    deployment: &DeploymentId,
) -> Result<Option<ReleaseRow>, StoreError> {
    let failed = || StoreError::query("look for what was live before", deployment);
    let Some(own) = sqlx::query("SELECT service, sequence FROM deployments WHERE id = $1")
        .bind(deployment.as_str())
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed())?
    else {
        return Ok(None);
    };
    let (service, own_sequence): (String, u64) = (get(&own, "service")?, number(&own, "sequence")?);
    let rows = sqlx::query(
        "SELECT state, release_id FROM deployments WHERE service = $1 AND sequence < $2 AND release_id IS NOT NULL \
         ORDER BY sequence DESC LIMIT $3",
    )
    .bind(service)
    .bind(stored(own_sequence))
    .bind(LOOK_BACK_MAX)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed())?;
    for row in &rows {
        let state: DeploymentState = crate::decode::json(row, "state")?;
        // Before it is confirmed by the edge, the former one is still live.
        let was_live = match &state {
            DeploymentState::Superseded { by, was_live, .. } => *was_live && *by == own_sequence,
            state => state.crashed().is_none() && state.status() == slipway_types::DeploymentStatus::Live,
        };
        if was_live {
            let release = parsed(row, "release_id", ReleaseId::parse)?;
            return crate::release::by_id(connection, &release).await.map(Some);
        }
    }
    Ok(None)
}
