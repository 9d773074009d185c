//! Services: what runs, their settings and variables, their end.

use super::Api;
use super::body::{Json, ServicePath};
use crate::executor::Command;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::variable::Variables;
use crate::view;
use axum::extract::State;
use slipway_store::{ServiceOverview, ServiceRow};
use slipway_types::api::{EnvApplyView, EnvParams, EnvView, ServiceView, SettingsView};
use slipway_types::{ServiceSettings, SettingsPatch};

/// The service of the path, or 404.
pub(super) async fn existing(api: &Api, path: &ServicePath) -> Result<ServiceRow, Refusal> {
    let row = api.shared.store.service_named(&path.project, &path.service).await?;
    row.ok_or_else(|| {
        let message = format!("project `{}` has no service `{}`", path.project, path.service);
        Refusal::not_found("service-unknown", message)
    })
}

pub(super) async fn list(State(api): State<Api>) -> Result<axum::Json<Vec<ServiceView>>, Refusal> {
    let overviews = api.shared.store.overviews().await?;
    Ok(axum::Json(overviews.into_iter().map(|overview| service_view(&api.shared, overview)).collect()))
}

pub(super) async fn show(State(api): State<Api>, path: ServicePath) -> Result<axum::Json<ServiceView>, Refusal> {
    let row = existing(&api, &path).await?;
    let overviews = api.shared.store.overviews().await?;
    let overview = overviews.into_iter().find(|overview| overview.service.service_id == row.service_id);
    let overview = overview.ok_or_else(|| Refusal::not_found("service-unknown", "the service was just destroyed"))?;
    Ok(axum::Json(service_view(&api.shared, overview)))
}

fn service_view(shared: &Shared, overview: ServiceOverview) -> ServiceView {
    let ServiceOverview { service, kind, live, replicas_wanted, newest, .. } = overview;
    let fleet = shared.fleet();
    let of_live = live.as_ref().map(|live| &live.deployment);
    ServiceView {
        url: view::service_url(&shared.server, &service.project, &service.service, kind),
        sleep: of_live.and_then(|live| fleet.sleep_view(live)),
        stopped: of_live.is_some_and(|live| fleet.is_stopped(live)),
        restart: of_live.and_then(|live| fleet.restart_view(live)),
        reload: of_live.and_then(|live| fleet.reload_view(live)),
        replicas_wanted: of_live.and_then(|live| fleet.wanted(live)).unwrap_or(replicas_wanted),
        live: live.map(|live| shared.view(live)),
        newest: newest.map(|newest| shared.view(newest)),
        replicas: fleet.views(&service.service_id),
        project: service.project,
        service: service.service,
        kind,
    }
}

pub(super) async fn settings(State(api): State<Api>, path: ServicePath) -> Result<axum::Json<SettingsView>, Refusal> {
    let row = existing(&api, &path).await?;
    Ok(axum::Json(SettingsView { settings: row.settings }))
}

/// Puts what is said over what was said before. Nothing of it is stored when a value can't be.
pub(super) async fn put_settings(
    State(api): State<Api>,
    path: ServicePath,
    Json(body): Json<serde_json::Value>,
) -> Result<axum::Json<SettingsView>, Refusal> {
    let newer = checked_settings(&body)?;
    let _turn = api.shared.editing.lock().await;
    let stored = api.shared.store.service_named(&path.project, &path.service).await?;
    let before = stored.map(|row| row.settings).unwrap_or_default();
    ServiceSettings::resolve([&before.merged_with(&newer)])
        .map_err(|error| Refusal::unusable("setting-invalid", error.to_string()))?;
    let row = api.shared.ensure_service(&path).await?;
    let settings = api.shared.store.merge_settings(&row.service_id, &newer).await?;
    Ok(axum::Json(SettingsView { settings }))
}

/// A key that means nothing is refused: `SettingsPatch` alone would pass over it.
fn checked_settings(body: &serde_json::Value) -> Result<SettingsPatch, Refusal> {
    let settings = body
        .get("settings")
        .and_then(serde_json::Value::as_object)
        .ok_or_else(|| Refusal::bad_request("bad-json", "the body has no object `settings`"))?;
    SettingsPatch::check_keys(settings.keys().map(String::as_str))
        .map_err(|error| Refusal::unusable("setting-unknown", error.to_string()))?;
    if let Some(key) = ["project", "service"].into_iter().find(|key| settings.contains_key(*key)) {
        return Err(Refusal::unusable("setting-unknown", format!("`{key}` can't be set: it is part of the path")));
    }
    serde_json::from_value(serde_json::Value::Object(settings.clone()))
        .map_err(|error| Refusal::unusable("setting-invalid", format!("a setting can't be read: {error}")))
}

pub(super) async fn env(State(api): State<Api>, path: ServicePath) -> Result<axum::Json<Vec<EnvView>>, Refusal> {
    let row = existing(&api, &path).await?;
    let variables = api.shared.variables(&row.service_id, row.env_revision).await?;
    Ok(axum::Json(variables.views()))
}

/// A change is a new revision, which the next deployment takes, and what is live when it is applied.
pub(super) async fn patch_env(
    State(api): State<Api>,
    path: ServicePath,
    Json(params): Json<EnvParams>,
) -> Result<axum::Json<Vec<EnvView>>, Refusal> {
    let now = api.shared.now();
    let _turn = api.shared.editing.lock().await;
    // Checked before the service is made: a refused change leaves nothing behind.
    if api.shared.store.service_named(&path.project, &path.service).await?.is_none() {
        Variables::default().changed(now, &params)?;
    }
    let row = api.shared.ensure_service(&path).await?;
    let before = api.shared.variables(&row.service_id, row.env_revision).await?;
    let changed = before.changed(now, &params)?;
    if changed != before {
        let sealed = changed.seal(&api.shared.key, &row.service_id, row.env_revision + 1)?;
        api.shared.store.put_env(now, &row.service_id, row.env_revision, &sealed).await?;
    }
    Ok(axum::Json(changed.views()))
}

/// Brings the newest variables to what is live. The answer comes once that is stored.
pub(super) async fn apply_env(State(api): State<Api>, path: ServicePath) -> Result<axum::Json<EnvApplyView>, Refusal> {
    let service = existing(&api, &path).await?;
    api.ask(|reply| Command::ApplyVariables { service, reply }).await.map(axum::Json)
}

pub(super) async fn destroy(
    State(api): State<Api>,
    path: ServicePath,
) -> Result<axum::Json<serde_json::Value>, Refusal> {
    let service = existing(&api, &path).await?;
    api.ask(|reply| Command::Destroy { service, reply }).await?;
    Ok(axum::Json(serde_json::json!({})))
}
