//! Which deployments sleep. It is stored with the service and names a deployment, so that whatever else goes live is awake.

use crate::database::commit;
use crate::event::{NewEvent, insert};
use crate::{Store, StoreError};
use slipway_types::{DeploymentId, ServiceId, TimestampMs};
use sqlx::SqliteConnection;

/// Of a service that is asked for now and then, a few days; such events are no reason for a database to grow for ever.
const SLEEP_EVENTS_KEPT: i64 = 200;

impl Store {
    /// The live deployment of the service sleeps from now on. False: it is not the live one (any more), or it does already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fall_asleep(
        &self,
        now: TimestampMs,
        service: &ServiceId,
        deployment: &DeploymentId,
    ) -> Result<bool, StoreError> {
        let change = Change {
            sql: "UPDATE services SET asleep_deployment = $2 WHERE id = $1 AND live_deployment = $2 \
                  AND (asleep_deployment IS NULL OR asleep_deployment <> $2)",
            action: "put to sleep",
            kind: "service-asleep",
            message: "no request came for long enough: it sleeps until the next one",
        };
        self.change_sleep(now, service, deployment, &change).await
    }

    /// The deployment sleeps no more. False: it did not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wake(
        &self,
        now: TimestampMs,
        service: &ServiceId,
        deployment: &DeploymentId,
    ) -> Result<bool, StoreError> {
        let change = Change {
            sql: "UPDATE services SET asleep_deployment = NULL WHERE id = $1 AND asleep_deployment = $2",
            action: "wake",
            kind: "service-woken",
            message: "a request came: its replicas start",
        };
        self.change_sleep(now, service, deployment, &change).await
    }

    /// One transaction of the row and its event. False: nothing was to be changed.
    async fn change_sleep(
        &self,
        at: TimestampMs,
        service: &ServiceId,
        deployment: &DeploymentId,
        change: &Change,
    ) -> Result<bool, StoreError> {
        let Change { sql, action, kind, message } = *change;
        let mut write = self.write().await?;
        let done = sqlx::query(sql)
            .bind(service.as_str())
            .bind(deployment.as_str())
            .execute(&mut *write)
            .await
            .map_err(StoreError::query(action, deployment))?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        record(&mut write, &NewEvent { at, service, deployment: Some(deployment), kind, message }).await?;
        commit(write).await?;
        Ok(true)
    }
}

/// Of the row of a service, by its id and a deployment's, and what is said of it.
struct Change {
    sql: &'static str,
    action: &'static str,
    kind: &'static str,
    message: &'static str,
}

/// Writes the event, and drops the oldest of its kind.
async fn record(connection: &mut SqliteConnection, event: &NewEvent<'_>) -> Result<(), StoreError> {
    insert(connection, event).await?;
    sqlx::query(
        "DELETE FROM events WHERE service = $1 AND kind IN ('service-asleep', 'service-woken') AND id <= \
         (SELECT id FROM events WHERE service = $1 AND kind IN ('service-asleep', 'service-woken') \
         ORDER BY id DESC LIMIT 1 OFFSET $2)",
    )
    .bind(event.service.as_str())
    .bind(SLEEP_EVENTS_KEPT)
    .execute(connection)
    .await
    .map(drop)
    .map_err(StoreError::query("remove old events of", event.service))
}
