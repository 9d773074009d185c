//! What was and what comes: the events of services, the stream of a deployment, the logs of replicas.

use super::body::{DeploymentPath, Params, ServicePath};
use super::stream::{End, Selection, Verdict};
use super::{Api, service, stream};
use crate::executor::outcome_event;
use crate::refusal::Refusal;
use crate::shared::Shared;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use slipway_store::{EventFilter, StoreError};
use slipway_types::agent::Stream;
use slipway_types::api::{DeploymentEvent, EventView, LogLine};
use slipway_types::{DeploymentId, Phase, ReplicaId, ServiceId, TimestampMs};
use std::sync::Arc;

/// Events of a listing that does not say how many.
const EVENTS_DEFAULT: u32 = 50;

pub(super) async fn events(State(api): State<Api>, params: Params) -> Result<axum::Json<Vec<EventView>>, Refusal> {
    let limit = params.limit_or(EVENTS_DEFAULT);
    match (&params.project, &params.service) {
        (Some(project), Some(name)) => {
            let path = ServicePath::parse(project.clone(), name.clone())?;
            service_events_of(&api, &path, limit).await
        }
        (None, None) => newest(&api, EventFilter::All, limit).await,
        _ => Err(Refusal::bad_request("bad-query", "`project` and `service` go together")),
    }
}

pub(super) async fn service_events(
    State(api): State<Api>,
    path: ServicePath,
    params: Params,
) -> Result<axum::Json<Vec<EventView>>, Refusal> {
    service_events_of(&api, &path, params.limit_or(EVENTS_DEFAULT)).await
}

async fn service_events_of(api: &Api, path: &ServicePath, limit: u32) -> Result<axum::Json<Vec<EventView>>, Refusal> {
    let row = service::existing(api, path).await?;
    newest(api, EventFilter::Service(&row.service_id), limit).await
}

/// Newest first.
async fn newest(api: &Api, filter: EventFilter<'_>, limit: u32) -> Result<axum::Json<Vec<EventView>>, Refusal> {
    let events = api.shared.store.events(filter, None, limit).await?;
    Ok(axum::Json(events.into_iter().map(|(_, event)| event).collect()))
}

/// `GET /v1/deployments/{deployment}/events`
pub(super) async fn deployment_events(
    State(api): State<Api>,
    DeploymentPath(deployment): DeploymentPath,
    params: Params,
) -> Result<Response, Refusal> {
    api.shared.deployment_view(&deployment).await?;
    deployment_stream(&api, deployment, params.follow)
}

fn deployment_stream(api: &Api, deployment: DeploymentId, follow: bool) -> Result<Response, Refusal> {
    let log = api
        .shared
        .logs
        .deployment(&deployment)
        .map_err(|error| Refusal::internal("could not open the deployment's log", &error))?;
    let selection = OfDeployment { deployment, shared: Arc::clone(&api.shared), follow };
    Ok(stream::lines(log, selection, follow, api.shutdown.clone()))
}

/// `GET …/logs`: of the running service, or with `build=` of a deployment's phases.
pub(super) async fn logs(State(api): State<Api>, path: ServicePath, params: Params) -> Result<Response, Refusal> {
    let row = service::existing(&api, &path).await?;
    match params.build.as_deref() {
        None | Some("false") => {}
        Some("true" | "") => {
            let newest = api.shared.store.deployments_of(&row.service_id, None, 1).await?.pop();
            let none = || Refusal::not_found("deployment-unknown", "the service has no deployment yet");
            return deployment_stream(&api, newest.ok_or_else(none)?.deployment, params.follow);
        }
        Some(text) => {
            let id = DeploymentId::parse(text).map_err(|error| Refusal::bad_request("bad-id", error.to_string()))?;
            let view = api.shared.deployment_view(&id).await?;
            if (&view.project, &view.service) != (&path.project, &path.service) {
                let message = format!("the service has no deployment `{id}`");
                return Err(Refusal::not_found("deployment-unknown", message));
            }
            return deployment_stream(&api, id, params.follow);
        }
    }
    let log = api
        .shared
        .logs
        .service(&row.service_id)
        .map_err(|error| Refusal::internal("could not open the service's log", &error))?;
    let since = params.since.unwrap_or(TimestampMs::MIN);
    let selection = OfService { service: row.service_id, shared: Arc::clone(&api.shared), since };
    Ok(stream::lines(log, selection, params.follow, api.shutdown.clone()))
}

/// All events of one deployment; a follower is let go at its outcome.
struct OfDeployment {
    follow: bool,
    deployment: DeploymentId,
    shared: Arc<Shared>,
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
        let line = "… lines were left out here: the log was full".to_owned();
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

/// The lines of a service's replicas since an instant.
struct OfService {
    service: ServiceId,
    shared: Arc<Shared>,
    since: TimestampMs,
}

impl Selection for OfService {
    fn verdict(&self, line: &[u8]) -> Verdict {
        #[derive(Deserialize)]
        struct At {
            at: TimestampMs,
        }
        match serde_json::from_slice::<At>(line) {
            Ok(At { at }) if at >= self.since => Verdict::Send,
            _ => Verdict::Leave,
        }
    }

    /// A service's log begins anywhere: that older lines are gone is no news. Only lines lost to a slow client are.
    fn gap(&self) -> String {
        let Ok(replica) = ReplicaId::parse("slipway") else { return String::new() };
        let line = "… older lines are gone: the log keeps the newest only".to_owned();
        serde_json::to_string(&LogLine { at: self.since.max(0), replica, stream: Stream::Stderr, line })
            .unwrap_or_default()
    }

    async fn end(&self) -> End {
        match self.shared.store.service(&self.service).await {
            Err(StoreError::Missing { .. }) => End::Now,
            _ => End::NotYet,
        }
    }
}
