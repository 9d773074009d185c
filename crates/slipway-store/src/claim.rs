//! An idle worker takes its next deployment.

use crate::apply::{Change, Work, advance};
use crate::database::commit;
use crate::decode::{get, json, number, parsed};
use crate::{Applied, Store, StoreError};
use slipway_pipeline::{Candidate, DeploymentState, Event, next_build};
use slipway_types::{DeploymentId, ServiceId, TimestampMs};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// Candidates looked at for one choice, oldest first. A queue as long as this is served in order all the same, except that
/// services with a running build might fill it.
const CANDIDATES_MAX: i64 = 1000;

impl Store {
    /// Gives the worker the deployment that is next (see [`next_build`]), with [`Event::WorkerClaimed`] applied to it. None:
    /// nothing waits.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_build(
        &self,
        now: TimestampMs,
        worker: u32,
    ) -> Result<Option<(DeploymentId, Applied)>, StoreError> {
        let mut write = self.write().await?;
        let (waiting, building) = candidates(&mut write).await?;
        let Some(chosen) = next_build(&waiting, &building) else { return Ok(None) };
        let work = Work::from([(chosen.deployment.clone(), Event::WorkerClaimed { worker }, Change::default())]);
        let (mut actions, mut news) = (Vec::new(), Vec::new());
        // No outcome: another writer took it. The worker asks again when it is told of work.
        let outcome = advance(&mut write, now, work, &mut actions, &mut news).await?.flatten();
        let Some(outcome) = outcome else { return Ok(None) };
        commit(write).await?;
        Ok(Some((chosen.deployment.clone(), outcome.into_applied(actions, news))))
    }
}

async fn candidates(connection: &mut SqliteConnection) -> Result<(Vec<Candidate>, Vec<ServiceId>), StoreError> {
    let rows = sqlx::query(
        "SELECT id, service, sequence, state, created_at FROM deployments \
         WHERE active = 1 AND status IN ('queued', 'building') ORDER BY created_at, id LIMIT $1",
    )
    .bind(CANDIDATES_MAX)
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("list", "waiting deployments"))?;
    let (mut waiting, mut building) = (Vec::new(), Vec::new());
    for row in &rows {
        let state: DeploymentState = json(row, "state")?;
        if state.waits_for_worker() {
            waiting.push(candidate(row, &state)?);
        } else {
            building.push(parsed(row, "service", ServiceId::parse)?);
        }
    }
    Ok((waiting, building))
}

fn candidate(row: &SqliteRow, state: &DeploymentState) -> Result<Candidate, StoreError> {
    Ok(Candidate {
        deployment: parsed(row, "id", DeploymentId::parse)?,
        service: parsed(row, "service", ServiceId::parse)?,
        sequence: number(row, "sequence")?,
        created_at: get(row, "created_at")?,
        resuming: matches!(state, DeploymentState::Resuming { .. }),
    })
}
