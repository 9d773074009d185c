//! What was and what comes of a deployment: its stream of events, which has the logs of its phases.

use super::body::{DeploymentPath, Params, ServicePath};
use super::stream::{End, Selection, Verdict};
use super::{Api, logs, service, stream};
use crate::executor::{LOGS_KEPT, outcome_event};
use crate::refusal::Refusal;
use crate::shared::Shared;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use slipway_types::agent::Stream;
use slipway_types::api::{DeploymentEvent, DeploymentView};
use slipway_types::{DeploymentId, Phase};
use std::io;
use std::sync::Arc;

/// `GET /v1/deployments/{deployment}/events`
pub(super) async fn deployment_events(
    State(api): State<Api>,
    DeploymentPath(deployment): DeploymentPath,
    params: Params,
) -> Result<Response, Refusal> {
    deployment_stream(&api, deployment, params.follow).await
}

async fn deployment_stream(api: &Api, deployment: DeploymentId, follow: bool) -> Result<Response, Refusal> {
    let failed = |error: io::Error| Refusal::internal("could not open the deployment's log", &error);
    let view = api.shared.deployment_view(&deployment).await?;
    let log = api.shared.logs.deployment(&deployment).map_err(failed)?;
    if view.status.is_settled() && log.segments().map_err(failed)?.is_empty() {
        return Ok(gone(view));
    }
    let limit = api.shared.logs.limit_of(&log);
    let selection = OfDeployment { deployment, shared: Arc::clone(&api.shared), follow, limit };
    Ok(stream::lines(log, selection, follow, api.shutdown.clone()))
}

/// Stands for a log that was removed: what is still known is how it ended.
fn gone(view: DeploymentView) -> Response {
    let at = view.finished_at.unwrap_or(view.created_at);
    let line = format!(
        "… the log of this deployment was removed: the newest {LOGS_KEPT} of a service are kept, as far as `logs.server_bytes` goes"
    );
    let note = DeploymentEvent::Log { at, phase: view.phase.unwrap_or(Phase::Source), stream: Stream::Stderr, line };
    let events = [Some(note), outcome_event(at, view)];
    let lines = events.iter().flatten().filter_map(|event| serde_json::to_string(event).ok());
    let text: String = lines.map(|line| line + "\n").collect();
    ([(http::header::CONTENT_TYPE, "application/x-ndjson")], text).into_response()
}

/// `GET …/logs`: of the running service, or with `build=` of a deployment's phases.
pub(super) async fn service_logs(
    State(api): State<Api>,
    path: ServicePath,
    params: Params,
) -> Result<Response, Refusal> {
    let row = service::existing(&api, &path).await?;
    match params.build.as_deref() {
        None | Some("false") => {}
        Some("true" | "") => {
            let newest = api.shared.store.deployments_of(&row.service_id, None, 1).await?.pop();
            let none = || Refusal::not_found("deployment-unknown", "the service has no deployment yet");
            return deployment_stream(&api, newest.ok_or_else(none)?.deployment, params.follow).await;
        }
        Some(text) => {
            let id = DeploymentId::parse(text).map_err(|error| Refusal::bad_request("bad-id", error.to_string()))?;
            let view = api.shared.deployment_view(&id).await?;
            if (&view.project, &view.service) != (&path.project, &path.service) {
                let message = format!("the service has no deployment `{id}`");
                return Err(Refusal::not_found("deployment-unknown", message));
            }
            return deployment_stream(&api, id, params.follow).await;
        }
    }
    logs::replicas(&api, row.service_id, params).await
}

/// All events of one deployment; a follower is let go at its outcome.
struct OfDeployment {
    follow: bool,
    deployment: DeploymentId,
    shared: Arc<Shared>,
    /// Whose the lines that are gone were too many for.
    limit: String,
}

impl Selection for OfDeployment {
    fn verdict(&self, line: &[u8]) -> Verdict {
        #[derive(Deserialize)]
        struct Tag<'l> {
            event: &'l str,
        }
        match serde_json::from_slice::<Tag<'_>>(line) {
            Ok(Tag { event: "deployed" | "failed" }) if self.follow => Verdict::SendAndEnd,
            Ok(_) => Verdict::Send,
            // Half a line from before a crash.
            Err(_) => Verdict::Leave,
        }
    }

    fn gap(&self) -> String {
        let line = format!("… lines were removed here: {}", self.limit);
        let event = DeploymentEvent::Log { at: self.shared.now(), phase: Phase::Build, stream: Stream::Stderr, line };
        serde_json::to_string(&event).unwrap_or_default()
    }

    /// The outcome from the database, should the server have died between storing and logging it.
    async fn end(&self) -> End {
        if !self.follow {
            return End::NotYet;
        }
        let view = match self.shared.deployment_view(&self.deployment).await {
            Ok(view) => view,
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => return End::Now,
            Err(_) => return End::NotYet,
        };
        let at = view.finished_at.unwrap_or_else(|| self.shared.now());
        let line = outcome_event(at, view).and_then(|event| serde_json::to_string(&event).ok());
        line.map_or(End::NotYet, End::With)
    }
}
