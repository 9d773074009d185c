//! The phase log: when each phase started and ended, how, and what it handed to the next.

use crate::decode::{encoded, get, json_option, word, word_option};
use crate::{Store, StoreError};
use slipway_pipeline::PhaseChange;
use slipway_types::api::{DeploymentEvent, PhaseResult};
use slipway_types::host::PhaseOutput;
use slipway_types::{DeploymentId, Phase, TimestampMs, TreeListing};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

/// One phase of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseRow {
    pub phase: Phase,
    pub started_at: TimestampMs,
    pub finished_at: Option<TimestampMs>,
    /// None: it runs, or what ran it was lost.
    pub result: Option<PhaseResult>,
    pub note: Option<String>,
    /// What a resumed deployment goes on from. The tree listing of the source is left out.
    pub output: Option<PhaseOutput>,
}

impl PhaseRow {
    /// As the deployment's stream tells it, oldest first.
    pub fn stream_events(&self) -> Vec<DeploymentEvent> {
        let started = DeploymentEvent::PhaseStarted { at: self.started_at, phase: self.phase };
        match (self.finished_at, self.result) {
            (Some(at), Some(result)) => {
                let note = self.note.clone();
                vec![started, finished(self.phase, self.started_at, at, result, note)]
            }
            _ => vec![started],
        }
    }

    fn from_row(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            phase: word(row, "phase", Phase::parse)?,
            started_at: get(row, "started_at")?,
            finished_at: get(row, "finished_at")?,
            result: word_option(row, "result", parse_result)?,
            note: get(row, "note")?,
            output: json_option(row, "output")?,
        })
    }
}

impl Store {
    /// The phases of a deployment so far, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn phases(&self, deployment: &DeploymentId) -> Result<Vec<PhaseRow>, StoreError> {
        let mut read = self.read().await?;
        let rows = sqlx::query(
            "SELECT phase, started_at, finished_at, result, note, output FROM phases WHERE deployment = $1 \
             ORDER BY ordinal",
        )
        .bind(deployment.as_str())
        .fetch_all(&mut *read)
        .await
        .map_err(StoreError::query("list the phases of", deployment))?;
        rows.iter().map(PhaseRow::from_row).collect()
    }
}

/// Writes one change of the phase log; gives what to tell who watches.
pub(crate) async fn write(
    connection: &mut SqliteConnection,
    now: TimestampMs,
    deployment: &DeploymentId,
    change: PhaseChange,
    note: Option<&str>,
    output: Option<&PhaseOutput>,
) -> Result<Vec<DeploymentEvent>, StoreError> {
    match change {
        PhaseChange::Started(phase) => {
            start(connection, now, deployment, phase).await?;
            Ok(vec![DeploymentEvent::PhaseStarted { at: now, phase }])
        }
        PhaseChange::Skipped(phase) => {
            start(connection, now, deployment, phase).await?;
            finish(connection, now, deployment, phase, PhaseResult::Skipped, note, None).await?;
            Ok(vec![finished(phase, now, now, PhaseResult::Skipped, note.map(str::to_owned))])
        }
        PhaseChange::Finished(phase, result) => {
            let started_at = finish(connection, now, deployment, phase, result, note, output).await?;
            Ok(vec![finished(phase, started_at.unwrap_or(now), now, result, note.map(str::to_owned))])
        }
    }
}

/// Starts a phase, perhaps again; what is recorded of it and of later ones is of an attempt that was lost.
async fn start(
    connection: &mut SqliteConnection,
    now: TimestampMs,
    deployment: &DeploymentId,
    phase: Phase,
) -> Result<(), StoreError> {
    let failed = || StoreError::query("start a phase of", deployment);
    sqlx::query("DELETE FROM phases WHERE deployment = $1 AND ordinal >= $2")
        .bind(deployment.as_str())
        .bind(ordinal(phase))
        .execute(&mut *connection)
        .await
        .map_err(failed())?;
    sqlx::query("INSERT INTO phases (deployment, ordinal, phase, started_at) VALUES ($1, $2, $3, $4)")
        .bind(deployment.as_str())
        .bind(ordinal(phase))
        .bind(phase.as_str())
        .bind(now)
        .execute(connection)
        .await
        .map(drop)
        .map_err(failed())
}

async fn finish(
    connection: &mut SqliteConnection,
    now: TimestampMs,
    deployment: &DeploymentId,
    phase: Phase,
    result: PhaseResult,
    note: Option<&str>,
    output: Option<&PhaseOutput>,
) -> Result<Option<TimestampMs>, StoreError> {
    let output = output.map(|output| encoded("a phase's output", &without_tree(output))).transpose()?;
    sqlx::query_scalar(
        "UPDATE phases SET finished_at = $3, result = $4, note = $5, output = $6 WHERE deployment = $1 AND ordinal = $2 \
         RETURNING started_at",
    )
    .bind(deployment.as_str())
    .bind(ordinal(phase))
    .bind(now)
    .bind(result_word(result))
    .bind(note)
    .bind(output)
    .fetch_optional(connection)
    .await
    .map_err(StoreError::query("finish a phase of", deployment))
}

/// A listing may be megabytes, and only the plan needs it.
fn without_tree(output: &PhaseOutput) -> PhaseOutput {
    match output.clone() {
        PhaseOutput::Source(mut facts) => {
            facts.tree = TreeListing::default();
            PhaseOutput::Source(facts)
        }
        other => other,
    }
}

fn finished(
    phase: Phase,
    started_at: TimestampMs,
    at: TimestampMs,
    result: PhaseResult,
    note: Option<String>,
) -> DeploymentEvent {
    let duration_ms = u64::try_from(at - started_at).unwrap_or(0);
    DeploymentEvent::PhaseFinished { at, phase, duration_ms, result, note }
}

fn ordinal(phase: Phase) -> i64 {
    phase as i64
}

const RESULTS: [PhaseResult; 4] = [PhaseResult::Done, PhaseResult::Skipped, PhaseResult::Failed, PhaseResult::Canceled];

pub(crate) fn result_word(result: PhaseResult) -> &'static str {
    match result {
        PhaseResult::Done => "done",
        PhaseResult::Skipped => "skipped",
        PhaseResult::Failed => "failed",
        PhaseResult::Canceled => "canceled",
    }
}

fn parse_result(text: &str) -> Option<PhaseResult> {
    RESULTS.into_iter().find(|result| result_word(*result) == text)
}
