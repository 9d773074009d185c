//! The host's layers: what there is, and sweeps. A sweep is ordered, not waited for: its report is asked for by its id.

use super::Api;
use super::body::{Json, Params, ServicePath};
use crate::cache::Sweep;
use crate::executor::Command;
use crate::refusal::Refusal;
use axum::extract::{Path, State};
use http::StatusCode;
use slipway_types::ServiceId;
use slipway_types::cache::{CacheView, ServiceTitle, SweepOrder, SweepParams, SweepState, SweepView};

/// `GET /v1/cache`, with `project` and `service` for what was made for those.
pub(super) async fn show(State(api): State<Api>, params: Params) -> Result<axum::Json<CacheView>, Refusal> {
    let keepers = api.shared.keepers().await?;
    let view = api.shared.cache().view(&keepers);
    let mut view = view.ok_or_else(|| {
        Refusal::unavailable("no-inventory", "the host has not said yet what it has").hint("try again in a moment")
    })?;
    let wanted = |name: &ServiceTitle| {
        params.project.as_ref().is_none_or(|project| project == name.project.as_str())
            && params.service.as_ref().is_none_or(|service| service == name.service.as_str())
    };
    if params.project.is_some() || params.service.is_some() {
        view.items.retain(|item| item.name.as_ref().is_some_and(wanted));
    }
    Ok(axum::Json(view))
}

/// `POST /v1/cache/sweeps`
pub(super) async fn sweep(
    State(api): State<Api>,
    Json(params): Json<SweepParams>,
) -> Result<(StatusCode, axum::Json<SweepView>), Refusal> {
    let order = order(&api, params).await?;
    let sweep = api.ask(|reply| Command::Sweep { order, reply }).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(SweepView { sweep, state: SweepState::Waiting })))
}

async fn order(api: &Api, params: SweepParams) -> Result<SweepOrder, Refusal> {
    let SweepParams { clear, dry_run, of } = params;
    match (clear, dry_run, of) {
        (false, dry_run, None) => Ok(SweepOrder::Unneeded { dry_run }),
        (true, false, None) => Ok(SweepOrder::Caches { service: None }),
        (true, false, Some(ServiceTitle { project, service })) => {
            let row = super::service::existing(api, &ServicePath { project, service }).await?;
            Ok(SweepOrder::Caches { service: Some(row.service_id) })
        }
        (false, _, Some(_)) => Err(Refusal::bad_request("bad-json", "`of` goes with `clear` only")),
        (true, true, _) => Err(Refusal::bad_request("bad-json", "`clear` has no dry run")),
    }
}

/// `GET /v1/cache/sweeps/{sweep}`
pub(super) async fn sweep_view(
    State(api): State<Api>,
    Path(sweep): Path<String>,
) -> Result<axum::Json<SweepView>, Refusal> {
    let unknown = || {
        Refusal::not_found("sweep-unknown", format!("there is no report of a sweep `{sweep}`"))
            .hint("the server keeps the newest reports until it stops; sweep again")
    };
    let Sweep { id, outcome } = api.shared.cache().sweep(&sweep).ok_or_else(unknown)?;
    let state = match outcome {
        None => SweepState::Waiting,
        Some(Err(message)) => SweepState::Failed { message },
        Some(Ok(outcome)) => {
            let of = |service: &ServiceId| outcome.removed.iter().any(|one| one.service.as_ref() == Some(service));
            let mut names = Vec::new();
            for overview in api.shared.store.overviews().await? {
                let (project, service) = (overview.service.project, overview.service.service);
                if of(&overview.service.service_id) {
                    names.push((overview.service.service_id, ServiceTitle { project, service }));
                }
            }
            SweepState::Done { outcome, names }
        }
    };
    Ok(axum::Json(SweepView { sweep: id, state }))
}
