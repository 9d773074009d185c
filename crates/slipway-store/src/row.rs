//! A deployment as it is stored.

use crate::StoreError;
use crate::decode::{get, json, json_option, number, number_option, parsed, parsed_option, word, word_option};
use slipway_pipeline::{DeploymentState, Shape};
use slipway_types::api::DeploymentView;
use slipway_types::{
    DeploymentId, DeploymentStatus, Diagnosis, Image, Phase, Plan, ProjectName, ReleaseId, ServiceId, ServiceKind,
    ServiceName, ServiceSettings, SourceSpec, TimestampMs, Trigger,
};
use sqlx::sqlite::SqliteRow;

/// Columns of [`DeploymentSummary`], of `deployments d` and `services s`.
macro_rules! summary_columns {
    () => {
        "d.id, d.service, s.project, s.name AS service_name, d.sequence, d.trigger_kind, d.shape, d.status, d.phase, \
         d.release_number, d.source_label, d.message, d.diagnosis, d.created_at, d.finished_at"
    };
}
/// Columns of [`DeploymentRow`] beyond the summary.
macro_rules! full_columns {
    () => {
        concat!(summary_columns!(), ", d.state, d.source, d.settings, d.plan, d.env_revision, d.release_id, d.image")
    };
}
pub(crate) use {full_columns, summary_columns};

/// What a listing shows of a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentSummary {
    pub deployment: DeploymentId,
    pub service_id: ServiceId,
    pub project: ProjectName,
    pub service: ServiceName,
    pub kind: ServiceKind,
    pub sequence: u64,
    pub trigger: Trigger,
    pub status: DeploymentStatus,
    /// The phase that runs or ran last.
    pub phase: Option<Phase>,
    pub release_number: Option<u32>,
    pub source_label: String,
    pub message: Option<String>,
    pub diagnosis: Option<Diagnosis>,
    pub created_at: TimestampMs,
    /// When the outcome was known.
    pub finished_at: Option<TimestampMs>,
}

impl DeploymentSummary {
    /// As the API answers it. The addresses are control's knowledge; None for a worker.
    pub fn into_view(self, url: Option<String>, deployment_url: Option<String>) -> DeploymentView {
        DeploymentView {
            deployment: self.deployment,
            project: self.project,
            service: self.service,
            trigger: self.trigger,
            status: self.status,
            phase: self.phase,
            release: self.release_number,
            source: self.source_label,
            url,
            deployment_url,
            created_at: self.created_at,
            finished_at: self.finished_at,
            diagnosis: self.diagnosis,
            waiting: None,
            joined: false,
        }
    }

    pub(crate) fn from_row(row: &SqliteRow) -> Result<Self, StoreError> {
        let shape: Shape = json(row, "shape")?;
        Ok(Self {
            deployment: parsed(row, "id", DeploymentId::parse)?,
            service_id: parsed(row, "service", ServiceId::parse)?,
            project: parsed(row, "project", ProjectName::parse)?,
            service: parsed(row, "service_name", ServiceName::parse)?,
            kind: shape.kind,
            sequence: number(row, "sequence")?,
            trigger: word(row, "trigger_kind", Trigger::parse)?,
            status: word(row, "status", DeploymentStatus::parse)?,
            phase: word_option(row, "phase", Phase::parse)?,
            release_number: number_option(row, "release_number")?,
            source_label: get(row, "source_label")?,
            message: get(row, "message")?,
            diagnosis: json_option(row, "diagnosis")?,
            created_at: get(row, "created_at")?,
            finished_at: get(row, "finished_at")?,
        })
    }
}

/// All that is stored of a deployment, its phases and events aside.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentRow {
    pub summary: DeploymentSummary,
    pub state: DeploymentState,
    pub shape: Shape,
    /// Without credential.
    pub source: SourceSpec,
    /// Resolved; once the source was read.
    pub settings: Option<ServiceSettings>,
    pub plan: Option<Plan>,
    /// Of the service's variables, as it was at creation (for a rollback: the release's). 0: none were ever set.
    pub env_revision: u64,
    pub release: Option<ReleaseId>,
    /// From the end of the build phase on; of one that reuses an image from the beginning.
    pub image: Option<Image>,
}

impl DeploymentRow {
    pub(crate) fn from_row(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            summary: DeploymentSummary::from_row(row)?,
            state: json(row, "state")?,
            shape: json(row, "shape")?,
            source: json(row, "source")?,
            settings: json_option(row, "settings")?,
            plan: json_option(row, "plan")?,
            env_revision: number(row, "env_revision")?,
            release: parsed_option(row, "release_id", ReleaseId::parse)?,
            image: json_option(row, "image")?,
        })
    }
}
