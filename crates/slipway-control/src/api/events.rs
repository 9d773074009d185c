//! The history of services: what became of deployments and replicas, as a listing, and as a stream that goes on.

use super::body::{Params, ServicePath};
use super::stream::{self, Chunks, send};
use super::{Api, service};
use crate::refusal::Refusal;
use crate::shared::Shared;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use slipway_store::{EventFilter, EventPage, StoreError};
use slipway_types::api::{EventView, LIMIT_MAX};
use slipway_types::{ProjectName, ServiceId, TimestampMs};
use std::io;
use std::sync::Arc;

/// Events of a listing that does not say how many.
const EVENTS_DEFAULT: u32 = 50;

/// Whose events.
enum Of {
    All,
    Project(ProjectName),
    Service(ServiceId),
}

impl Of {
    fn filter(&self) -> EventFilter<'_> {
        match self {
            Of::All => EventFilter::All,
            Of::Project(project) => EventFilter::Project(project),
            Of::Service(service) => EventFilter::Service(service),
        }
    }
}

pub(super) async fn events(State(api): State<Api>, params: Params) -> Result<Response, Refusal> {
    let of = match (&params.project, &params.service) {
        (Some(project), Some(name)) => {
            let path = ServicePath::parse(project.clone(), name.clone())?;
            Of::Service(service::existing(&api, &path).await?.service_id)
        }
        (Some(project), None) => {
            let name = ProjectName::parse(project.clone());
            Of::Project(name.map_err(|error| Refusal::bad_request("bad-name", error.to_string()))?)
        }
        (None, None) => Of::All,
        (None, Some(_)) => return Err(Refusal::bad_request("bad-query", "`service` goes with `project` only")),
    };
    answer(&api, of, &params).await
}

pub(super) async fn service_events(
    State(api): State<Api>,
    path: ServicePath,
    params: Params,
) -> Result<Response, Refusal> {
    let row = service::existing(&api, &path).await?;
    answer(&api, Of::Service(row.service_id), &params).await
}

/// Newest first; a follower gets them oldest first and then what comes, one to a line.
async fn answer(api: &Api, of: Of, params: &Params) -> Result<Response, Refusal> {
    let after = params.after.as_deref().map(str::parse::<u64>).transpose();
    let after = after.map_err(|_| Refusal::bad_request("bad-query", "`after` is no id of an event"))?;
    let since = params.since.unwrap_or(TimestampMs::MIN);
    let limit = params.limit_or(EVENTS_DEFAULT);
    let page = EventPage::Newest { before: None };
    // Asked first: what happens meanwhile comes behind the listing.
    let newest = newest(&api.shared).await?;
    let mut events = match after {
        Some(_) => Vec::new(),
        None => api.shared.store.event_page(of.filter(), page, limit).await?,
    };
    events.retain(|event| event.at >= since);
    if !params.follow {
        return Ok(axum::Json(events).into_response());
    }
    events.reverse();
    let shared = Arc::clone(&api.shared);
    let last = after.or(events.last().map(|event| event.id)).unwrap_or(newest);
    let stream = move |to| async move { follow(&shared, &of, last, events, &to).await };
    Ok(stream::respond(api.shutdown.clone(), stream))
}

async fn follow(shared: &Shared, of: &Of, mut last: u64, mut events: Vec<EventView>, to: &Chunks) -> io::Result<()> {
    let mut doorbell = shared.store.doorbell();
    loop {
        if !events.is_empty() {
            let mut text = Vec::new();
            for event in &events {
                last = last.max(event.id);
                serde_json::to_writer(&mut text, event).map_err(io::Error::other)?;
                text.push(b'\n');
            }
            send(to, text).await?;
        }
        drop(doorbell.borrow_and_update());
        events =
            shared.store.event_page(of.filter(), EventPage::After(last), LIMIT_MAX).await.map_err(io::Error::other)?;
        if !events.is_empty() {
            continue;
        }
        if let Of::Service(service) = of
            && matches!(shared.store.service(service).await, Err(StoreError::Missing { .. }))
        {
            return Ok(());
        }
        // An error would mean that the store is gone, but it is held here.
        let _ = doorbell.changed().await;
    }
}

async fn newest(shared: &Shared) -> Result<u64, StoreError> {
    let newest = shared.store.event_page(EventFilter::All, EventPage::Newest { before: None }, 1).await?;
    Ok(newest.first().map_or(0, |event| event.id))
}
