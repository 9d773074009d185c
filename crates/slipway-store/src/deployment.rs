//! Creation and listing of deployments. CROSS JOIN makes SQLite begin with the few rows that an index of deployments
//! gives.

use crate::apply::{Change, News, Work, advance, record_start};
use crate::database::commit;
use crate::decode::{encoded, stored};
use crate::release::ReleaseRow;
use crate::row::{full_columns, summary_columns};
use crate::{Applied, DeploymentRow, DeploymentSummary, Reuse, Store, StoreError};
use slipway_pipeline::{Action, DeploymentState, Event, Shape, begin};
use slipway_types::api::LIMIT_MAX;
use slipway_types::{DeploymentId, ReleaseId, ServiceId, ServiceKind, SourceSpec, TimestampMs, Trigger};
use sqlx::SqliteConnection;

/// A deployment to be.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDeployment {
    pub deployment: DeploymentId,
    pub service: ServiceId,
    pub trigger: Trigger,
    /// Its credential is not stored.
    pub source: SourceSpec,
    /// What people see of the source: upload, reference or commit.
    pub source_label: String,
    pub message: Option<String>,
    /// For a rollback: what goes live again. Its configuration and variables come with it.
    pub release: Option<ReleaseId>,
    /// For a redeploy: the image of an earlier deployment, which is not built again.
    pub reuse: Option<Reuse>,
}

/// Where the next page of all deployments begins: after this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    pub created_at: TimestampMs,
    pub deployment: DeploymentId,
}

impl Store {
    /// Creates a deployment with the next sequence of its service. Whatever older deployment of the service is not yet
    /// live is superseded in the same transaction; what is to be done about both is in the answer.
    ///
    /// # Errors
    /// [`StoreError::Missing`] service or release, or the database fails.
    pub async fn create_deployment(&self, now: TimestampMs, new: &NewDeployment) -> Result<Applied, StoreError> {
        let mut write = self.write().await?;
        let (mut actions, mut news) = (Vec::new(), News::new());
        let after = create(&mut write, now, new, &mut actions, &mut news).await?;
        commit(write).await?;
        Ok(Applied { changed: true, before: after.clone(), after, actions, news })
    }

    /// # Errors
    /// [`StoreError::Missing`], or the database fails.
    pub async fn deployment(&self, deployment: &DeploymentId) -> Result<DeploymentRow, StoreError> {
        let mut read = self.read().await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            full_columns!(),
            " FROM deployments d JOIN services s ON s.id = d.service WHERE d.id = $1"
        ))
        .bind(deployment.as_str())
        .fetch_optional(&mut *read)
        .await
        .map_err(StoreError::query("read the deployment", deployment))?
        .ok_or_else(|| StoreError::missing("deployment", deployment))?;
        DeploymentRow::from_row(&row)
    }

    /// The service's newest deployment, without those that its ignore command ruled out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_not_ignored(&self, service: &ServiceId) -> Result<Option<DeploymentRow>, StoreError> {
        let mut read = self.read().await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            full_columns!(),
            " FROM deployments d JOIN services s ON s.id = d.service ",
            "WHERE d.service = $1 AND d.ignored = 0 ORDER BY d.sequence DESC LIMIT 1"
        ))
        .bind(service.as_str())
        .fetch_optional(&mut *read)
        .await
        .map_err(StoreError::query("look for the newest deployment of", service))?;
        row.as_ref().map(DeploymentRow::from_row).transpose()
    }

    /// A service's deployments, newest first; `before` a sequence, for the next page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deployments_of(
        &self,
        service: &ServiceId,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<DeploymentSummary>, StoreError> {
        let mut read = self.read().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            summary_columns!(),
            " FROM deployments d JOIN services s ON s.id = d.service ",
            "WHERE d.service = $1 AND d.sequence < $2 ORDER BY d.sequence DESC LIMIT $3"
        ))
        .bind(service.as_str())
        .bind(before.map_or(i64::MAX, stored))
        .bind(i64::from(limit.min(LIMIT_MAX)))
        .fetch_all(&mut *read)
        .await
        .map_err(StoreError::query("list the deployments of", service))?;
        rows.iter().map(DeploymentSummary::from_row).collect()
    }

    /// All deployments, newest first; `before` the last one of the page before.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn deployments(&self, before: Option<&Before>, limit: u32) -> Result<Vec<DeploymentSummary>, StoreError> {
        let mut read = self.read().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            summary_columns!(),
            " FROM deployments d CROSS JOIN services s ",
            "WHERE s.id = d.service AND (d.created_at, d.id) < ($1, $2) ORDER BY d.created_at DESC, d.id DESC LIMIT $3"
        ))
        .bind(before.map_or(i64::MAX, |before| before.created_at))
        .bind(before.map_or("", |before| before.deployment.as_str()))
        .bind(i64::from(limit.min(LIMIT_MAX)))
        .fetch_all(&mut *read)
        .await
        .map_err(StoreError::query("list", "deployments"))?;
        rows.iter().map(DeploymentSummary::from_row).collect()
    }

    /// Every deployment with something left to do, oldest first: what a server that comes back sends
    /// [`Event::Restarted`] to.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn active_deployments(&self) -> Result<Vec<DeploymentRow>, StoreError> {
        let mut read = self.read().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            full_columns!(),
            " FROM deployments d CROSS JOIN services s WHERE s.id = d.service AND d.active = 1 ORDER BY d.created_at, d.id"
        ))
        .fetch_all(&mut *read)
        .await
        .map_err(StoreError::query("list", "active deployments"))?;
        rows.iter().map(DeploymentRow::from_row).collect()
    }

    /// Every deployment whose replicas are wanted: starting, being switched to, or live. Those that only drain are not
    /// among them; their replicas are the other ones of [`Store::replicas`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn serving_deployments(&self) -> Result<Vec<DeploymentRow>, StoreError> {
        let mut read = self.read().await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            full_columns!(),
            " FROM deployments d CROSS JOIN services s WHERE s.id = d.service AND d.active = 1 AND d.status = 'deploying' ",
            "UNION ALL SELECT ",
            full_columns!(),
            " FROM deployments d CROSS JOIN services s WHERE s.id = d.service AND d.status = 'live'"
        ))
        .fetch_all(&mut *read)
        .await
        .map_err(StoreError::query("list", "serving deployments"))?;
        rows.iter().map(DeploymentRow::from_row).collect()
    }
}

/// As [`Store::create_deployment`]; gives its first state.
pub(crate) async fn create(
    connection: &mut SqliteConnection,
    now: TimestampMs,
    new: &NewDeployment,
    actions: &mut Vec<(DeploymentId, Action)>,
    news: &mut News,
) -> Result<DeploymentState, StoreError> {
    let service = crate::service::by_id(connection, &new.service).await?;
    let release = match &new.release {
        Some(release) => Some(crate::release::by_id(connection, release).await?),
        None => None,
    };
    let shape = match (&release, &new.reuse) {
        (_, Some(reuse)) => Shape::reusing(&reuse.of.plan, &reuse.settings),
        (Some(release), None) => Shape::unplanned(release.settings.kind),
        (None, None) => Shape::unplanned(service.settings.kind.unwrap_or(ServiceKind::Web)),
    };
    let sequence = next_sequence(connection, &new.service).await?;
    let transition = begin(now, new.trigger, &shape);
    let env_revision = release.as_ref().map_or(service.env_revision, |release| release.env_revision);
    let row = Insert { new, release: release.as_ref(), sequence, shape, env_revision };
    row.write(connection, now, &transition.next).await?;
    let image_of = new.reuse.as_ref().map(|reuse| &reuse.of.deployment);
    if let Some(former) = image_of.or(release.as_ref().map(|release| &release.deployment)) {
        crate::built::copy(connection, former, &new.deployment).await?;
    }
    record_start(connection, now, new, &transition, news).await?;
    let mut work = Work::default();
    for older in older_active(connection, &new.service, sequence).await? {
        work.push_back((older, Event::NewerCreated { sequence }, Change::default()));
    }
    // Inside a write transaction no one else changes a version: a lost race is a bug of the database.
    advance(connection, now, work, actions, news)
        .await?
        .ok_or_else(|| StoreError::Contended { deployment: new.deployment.to_string(), attempts: 1 })?;
    actions.extend(transition.actions.into_iter().map(|action| (new.deployment.clone(), action)));
    Ok(transition.next)
}

struct Insert<'n> {
    new: &'n NewDeployment,
    release: Option<&'n ReleaseRow>,
    sequence: u64,
    shape: Shape,
    env_revision: u64,
}

impl Insert<'_> {
    async fn write(
        &self,
        connection: &mut SqliteConnection,
        now: TimestampMs,
        state: &DeploymentState,
    ) -> Result<(), StoreError> {
        let settings = self.release.map(|release| &release.settings);
        let settings = settings.or(self.new.reuse.as_ref().map(|reuse| &reuse.settings));
        let settings = settings.map(|settings| encoded("settings", settings)).transpose()?;
        sqlx::query(
            "INSERT INTO deployments (id, service, sequence, trigger_kind, shape, state, status, phase, active, version, \
             source, source_label, message, settings, plan, env_revision, release_id, release_number, diagnosis, \
             created_at, finished_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 0, $9, $10, $11, $12, NULL, $13, $14, $15, NULL, $16, NULL)",
        )
        .bind(self.new.deployment.as_str())
        .bind(self.new.service.as_str())
        .bind(stored(self.sequence))
        .bind(self.new.trigger.as_str())
        .bind(encoded("a shape", &self.shape)?)
        .bind(encoded("a state", state)?)
        .bind(state.status().as_str())
        .bind(state.phase().map(|phase| phase.as_str()))
        .bind(encoded("a source", &without_credential(&self.new.source))?)
        .bind(&self.new.source_label)
        .bind(self.new.message.as_deref())
        .bind(settings)
        .bind(stored(self.env_revision))
        .bind(self.release.map(|release| release.release.as_str()))
        .bind(self.release.map(|release| i64::from(release.number)))
        .bind(now)
        .execute(connection)
        .await
        .map(drop)
        .map_err(StoreError::query("create the deployment", &self.new.deployment))
    }
}

fn without_credential(source: &SourceSpec) -> SourceSpec {
    match source.clone() {
        SourceSpec::Git(mut git) => {
            git.credential = None;
            SourceSpec::Git(git)
        }
        upload @ SourceSpec::Upload { .. } => upload,
    }
}

async fn next_sequence(connection: &mut SqliteConnection, service: &ServiceId) -> Result<u64, StoreError> {
    let value: i64 = sqlx::query_scalar(
        "UPDATE services SET deployment_sequence = deployment_sequence + 1 WHERE id = $1 RETURNING deployment_sequence",
    )
    .bind(service.as_str())
    .fetch_one(connection)
    .await
    .map_err(StoreError::query("advance the sequence of", service))?;
    Ok(value.unsigned_abs())
}

async fn older_active(
    connection: &mut SqliteConnection,
    service: &ServiceId,
    sequence: u64,
) -> Result<Vec<DeploymentId>, StoreError> {
    let rows = sqlx::query("SELECT id FROM deployments WHERE active = 1 AND service = $1 AND sequence < $2")
        .bind(service.as_str())
        .bind(stored(sequence))
        .fetch_all(connection)
        .await
        .map_err(StoreError::query("list active deployments of", service))?;
    rows.iter().map(|row| crate::decode::parsed(row, "id", DeploymentId::parse)).collect()
}
