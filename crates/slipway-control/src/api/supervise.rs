//! Other replicas of what is live: restarted, more or fewer, none, all again. The answer comes once it is stored; the service's view
//! shows how far it is.

use super::body::{Json, ServicePath};
use super::{Api, service};
use crate::executor::{Command, Order};
use crate::refusal::Refusal;
use axum::extract::State;
use slipway_types::api::{ScaleParams, ServiceView};
use slipway_types::settings::REPLICAS_MAX;

type Answer = Result<axum::Json<ServiceView>, Refusal>;

async fn order(api: Api, path: ServicePath, order: Order) -> Answer {
    let row = service::existing(&api, &path).await?;
    api.ask(|reply| Command::Supervise { service: row, order, reply }).await?;
    service::show(State(api), path).await
}

pub(super) async fn restart(State(api): State<Api>, path: ServicePath) -> Answer {
    order(api, path, Order::Restart).await
}

pub(super) async fn scale(State(api): State<Api>, path: ServicePath, Json(params): Json<ScaleParams>) -> Answer {
    let replicas = params.replicas;
    if replicas == 0 {
        return Err(Refusal::unusable("scale-zero", "a service has at least one replica")
            .hint("`slipway stop` stops it, and `slipway start` starts it again"));
    }
    if replicas > REPLICAS_MAX {
        let message = format!("a service has at most {REPLICAS_MAX} replicas, and {replicas} were asked for");
        return Err(Refusal::unusable("setting-invalid", message));
    }
    order(api, path, Order::Scale(replicas)).await
}

pub(super) async fn stop(State(api): State<Api>, path: ServicePath) -> Answer {
    order(api, path, Order::Stop).await
}

pub(super) async fn start(State(api): State<Api>, path: ServicePath) -> Answer {
    order(api, path, Order::Start).await
}
