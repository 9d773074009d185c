//! All services with what is live, what is newest and their replicas: what `slipway ps` shows. The work depends on the number
//! of services, not on that of past deployments: CROSS JOIN makes SQLite go from the few (services, replicas) to the many.

use crate::decode::{json_option, parsed};
use crate::row::{full_columns, summary_columns};
use crate::service::service_columns;
use crate::{DeploymentSummary, ReplicaRow, ServiceRow, Store, StoreError};
use slipway_types::api::LIMIT_MAX;
use slipway_types::{ServiceId, ServiceKind, ServiceSettings};
use sqlx::SqliteConnection;
use std::collections::HashMap;

/// One service at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceOverview {
    pub service: ServiceRow,
    pub kind: ServiceKind,
    pub live: Option<DeploymentSummary>,
    /// Of what is live; 0 when nothing is.
    pub replicas_wanted: u32,
    /// The newest deployment, when it is not the live one.
    pub newest: Option<DeploymentSummary>,
    /// Of all its deployments.
    pub replicas: Vec<ReplicaRow>,
}

impl Store {
    /// At most [`LIMIT_MAX`] services, by project and name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overviews(&self) -> Result<Vec<ServiceOverview>, StoreError> {
        let mut read = self.read().await?;
        let services = services(&mut read).await?;
        let mut live = live(&mut read).await?;
        let mut newest = newest(&mut read).await?;
        let mut replicas = replicas(&mut read).await?;
        Ok(services
            .into_iter()
            .map(|service| {
                let id = service.service_id.clone();
                let (live, settings) = live.remove(&id).unzip();
                let newest = newest.remove(&id).filter(|newest| Some(&newest.deployment) != service.live.as_ref());
                ServiceOverview {
                    kind: kind(&service, live.as_ref(), newest.as_ref()),
                    replicas_wanted: settings.flatten().map_or(0, |settings: ServiceSettings| settings.replicas),
                    replicas: replicas.remove(&id).unwrap_or_default(),
                    service,
                    live,
                    newest,
                }
            })
            .collect())
    }
}

fn kind(service: &ServiceRow, live: Option<&DeploymentSummary>, newest: Option<&DeploymentSummary>) -> ServiceKind {
    let deployed = live.or(newest).map(|deployment| deployment.kind);
    deployed.or(service.settings.kind).unwrap_or(ServiceKind::Web)
}

async fn services(connection: &mut SqliteConnection) -> Result<Vec<ServiceRow>, StoreError> {
    let rows =
        sqlx::query(concat!("SELECT ", service_columns!(), " FROM services s ORDER BY s.project, s.name LIMIT $1"))
            .bind(i64::from(LIMIT_MAX))
            .fetch_all(connection)
            .await
            .map_err(StoreError::query("list", "services"))?;
    rows.iter().map(ServiceRow::from_row).collect()
}

type Live = HashMap<ServiceId, (DeploymentSummary, Option<ServiceSettings>)>;

async fn live(connection: &mut SqliteConnection) -> Result<Live, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        full_columns!(),
        " FROM services s CROSS JOIN deployments d WHERE d.id = s.live_deployment"
    ))
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("list", "live deployments"))?;
    rows.iter()
        .map(|row| {
            let summary = DeploymentSummary::from_row(row)?;
            Ok((summary.service_id.clone(), (summary, json_option(row, "settings")?)))
        })
        .collect()
}

async fn newest(connection: &mut SqliteConnection) -> Result<HashMap<ServiceId, DeploymentSummary>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        summary_columns!(),
        " FROM services s CROSS JOIN deployments d WHERE d.service = s.id AND d.sequence = s.deployment_sequence"
    ))
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("list", "newest deployments"))?;
    rows.iter()
        .map(|row| DeploymentSummary::from_row(row).map(|summary| (summary.service_id.clone(), summary)))
        .collect()
}

async fn replicas(connection: &mut SqliteConnection) -> Result<HashMap<ServiceId, Vec<ReplicaRow>>, StoreError> {
    let rows = sqlx::query(
        "SELECT r.id, r.deployment, r.state, r.since, d.service FROM replicas r \
         CROSS JOIN deployments d WHERE d.id = r.deployment ORDER BY r.deployment, r.id",
    )
    .fetch_all(connection)
    .await
    .map_err(StoreError::query("list", "replicas"))?;
    let mut by_service: HashMap<ServiceId, Vec<ReplicaRow>> = HashMap::new();
    for row in &rows {
        by_service.entry(parsed(row, "service", ServiceId::parse)?).or_default().push(ReplicaRow::from_row(row)?);
    }
    Ok(by_service)
}
