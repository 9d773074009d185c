//! The HTTP API under `/v1`. A handler checks what came, stores an intent or hands it to the executor, and answers; it
//! waits for no host. Paths and bodies are documented in `slipway_types::api`.

mod body;
mod cache;
mod deployment;
mod events;
mod guard;
mod history;
mod logs;
mod service;
mod stream;
mod supervise;

use crate::executor::Command;
use crate::readiness::Readiness;
use crate::refusal::Refusal;
use crate::shared::Shared;
use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
pub(crate) use body::ServicePath;
pub(crate) use guard::Guard;
use http::StatusCode;
use slipway_types::api::{ServerView, UploadView};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// What every handler has.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
    /// Ends streams, which would otherwise keep the server from stopping.
    pub(crate) shutdown: CancellationToken,
}

impl Api {
    /// Hands a command to the executor and gives its answer.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T, Refusal>>) -> Command) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        let stopping = || Refusal::unavailable("stopping", "the server is stopping");
        self.commands.try_send(command(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refusal::unavailable("busy", "too many requests wait already"),
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })?;
        answer.await.map_err(|_| stopping())?
    }
}

pub(crate) fn router(api: Api, guard: Guard) -> Router {
    let uploads = post(upload).layer(DefaultBodyLimit::disable());
    let service = Router::new()
        .route("/", get(service::show).delete(service::destroy))
        .route("/deployments", get(deployment::list).post(deployment::create))
        .route("/redeploy", get(deployment::show_redeploy).post(deployment::redeploy))
        .route("/rollback", post(deployment::rollback))
        .route("/restart", post(supervise::restart))
        .route("/scale", post(supervise::scale))
        .route("/stop", post(supervise::stop))
        .route("/start", post(supervise::start))
        .route("/settings", get(service::settings).put(service::put_settings))
        .route("/env", get(service::env).patch(service::patch_env))
        .route("/env/apply", post(service::apply_env))
        .route("/logs", get(history::service_logs))
        .route("/events", get(events::service_events));
    let guarded = Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/server", get(server))
        .route("/v1/uploads", uploads)
        .route("/v1/services", get(service::list))
        .route("/v1/events", get(events::events))
        .route("/v1/cache", get(cache::show))
        .route("/v1/cache/sweeps", post(cache::sweep))
        .route("/v1/cache/sweeps/{sweep}", get(cache::sweep_view))
        .route("/v1/deployments/{deployment}", get(deployment::show))
        .route("/v1/deployments/{deployment}/cancel", post(deployment::cancel))
        .route("/v1/deployments/{deployment}/events", get(history::deployment_events))
        .nest("/v1/projects/{project}/services/{service}", service)
        .fallback(no_such_call)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(body::JSON_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::new(guard), guard::check))
        .with_state(api.clone());
    let open = api;
    let open = Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready)).with_state(open);
    open.merge(guarded)
}

async fn server(State(api): State<Api>) -> Json<ServerView> {
    Json(api.shared.server.clone())
}

/// Without a token: it names parts of the server, and nothing of what it serves.
async fn ready(State(api): State<Api>) -> (StatusCode, Json<Readiness>) {
    let readiness = api.shared.readiness(!api.commands.is_closed()).await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

async fn metrics(State(api): State<Api>) -> Result<([(http::HeaderName, &'static str); 1], String), Refusal> {
    let text = api.shared.metrics_text().await?;
    Ok(([(http::header::CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], text))
}

async fn upload(State(api): State<Api>, body: axum::body::Body) -> Result<(StatusCode, Json<UploadView>), Refusal> {
    let view = api.shared.uploads.receive(body).await?;
    Ok((StatusCode::CREATED, Json(view)))
}

async fn no_such_call() -> Refusal {
    Refusal::not_found("no-such-call", "the API has no such path")
}

async fn no_such_method() -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "no-such-method", "the API has no such method for this path")
}
