//! Deployments: created, listed, looked at, ended.

use super::body::{DeploymentPath, Json, Params, ServicePath};
use super::{Api, service};
use crate::executor::Command;
use crate::refusal::Refusal;
use crate::reuse::Build;
use crate::source;
use axum::extract::State;
use http::StatusCode;
use slipway_types::SourceSpec;
use slipway_types::api::{DeployParams, DeploymentView, RedeployParams, RedeployView, RollbackParams};

/// Deployments of a listing that does not say how many.
const LIST_DEFAULT: u32 = 50;
/// Longest message that is kept with a deployment.
const MESSAGE_BYTES_MAX: usize = 1000;

type Created = Result<(StatusCode, axum::Json<DeploymentView>), Refusal>;

fn created(view: DeploymentView) -> (StatusCode, axum::Json<DeploymentView>) {
    (if view.joined { StatusCode::OK } else { StatusCode::CREATED }, axum::Json(view))
}

pub(super) async fn create(State(api): State<Api>, path: ServicePath, Json(params): Json<DeployParams>) -> Created {
    source::check(&params.source)?;
    if let SourceSpec::Upload { upload } = &params.source
        && !api.shared.uploads.contains(upload)
    {
        return Err(Refusal::unusable("upload-missing", format!("there is no upload `{upload}`"))
            .hint("send the directory again"));
    }
    if params.message.as_ref().is_some_and(|message| message.len() > MESSAGE_BYTES_MAX) {
        let message = format!("the message is longer than {MESSAGE_BYTES_MAX} bytes");
        return Err(Refusal::unusable("message-too-long", message));
    }
    let service = {
        let _turn = api.shared.editing.lock().await;
        if api.shared.store.service_named(&path.project, &path.service).await?.is_none() {
            api.shared.check_queue_for(None, &params.source).await?;
        }
        api.shared.ensure_service(&path).await?
    };
    let DeployParams { source, message, force } = params;
    api.ask(|reply| Command::Deploy { service, source, message, force, reply }).await.map(created)
}

pub(super) async fn redeploy(State(api): State<Api>, path: ServicePath, Json(params): Json<RedeployParams>) -> Created {
    let service = service::existing(&api, &path).await?;
    api.ask(|reply| Command::Redeploy { service, rebuild: params.rebuild, reply }).await.map(created)
}

/// What a redeploy would do now.
pub(super) async fn show_redeploy(
    State(api): State<Api>,
    path: ServicePath,
) -> Result<axum::Json<RedeployView>, Refusal> {
    let service = service::existing(&api, &path).await?;
    Ok(axum::Json(match api.shared.redeploy(&service, false).await?.build {
        Build::Again { because } => RedeployView { rebuilds: true, because },
        Build::Reuse(reuse) => RedeployView { rebuilds: false, because: reuse.note },
    }))
}

pub(super) async fn rollback(State(api): State<Api>, path: ServicePath, Json(params): Json<RollbackParams>) -> Created {
    let service = service::existing(&api, &path).await?;
    api.ask(|reply| Command::Rollback { service, release: params.release, reply }).await.map(created)
}

pub(super) async fn cancel(
    State(api): State<Api>,
    DeploymentPath(deployment): DeploymentPath,
) -> Result<axum::Json<DeploymentView>, Refusal> {
    api.ask(|reply| Command::Cancel { deployment, reply }).await.map(axum::Json)
}

pub(super) async fn show(
    State(api): State<Api>,
    DeploymentPath(deployment): DeploymentPath,
) -> Result<axum::Json<DeploymentView>, Refusal> {
    Ok(axum::Json(api.shared.deployment_view(&deployment).await?))
}

pub(super) async fn list(
    State(api): State<Api>,
    path: ServicePath,
    params: Params,
) -> Result<axum::Json<Vec<DeploymentView>>, Refusal> {
    let service = service::existing(&api, &path).await?;
    let rows = api.shared.store.deployments_of(&service.service_id, None, params.limit_or(LIST_DEFAULT)).await?;
    Ok(axum::Json(rows.into_iter().map(|row| api.shared.view(row)).collect()))
}
