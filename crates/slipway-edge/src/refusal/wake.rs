//! Why a request that waited for a deployment, because that sleeps or starts again, was not answered.

use super::{Refusal, sentence, who};
use crate::table::RouteEntry;
use http::StatusCode;
use std::time::Duration;

impl Refusal {
    pub(crate) fn wake_timed_out(route: &RouteEntry, after: Duration) -> Self {
        let (who, seconds) = (who(route), after.as_secs_f32());
        Self::not_awake("wake-timeout", format!("{who} is starting and is not ready after {seconds} s."))
    }

    pub(crate) fn wake_failed(route: &RouteEntry) -> Self {
        let why = route.unavailable_because.as_deref().unwrap_or("it could not start");
        Self::not_awake("wake-failed", format!("{} cannot answer: {}", who(route), sentence(why)))
    }

    pub(crate) fn wake_crowded(route: &RouteEntry, waiting: usize) -> Self {
        let who = who(route);
        Self::not_awake("wake-crowded", format!("{who} is starting; {waiting} requests wait for it."))
    }

    pub(crate) fn stopping() -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "edge-stopping",
            title: "Restarting",
            detail: "The server is being restarted.".to_owned(),
            hint: "Try again in a moment.",
        }
    }

    fn not_awake(code: &'static str, detail: String) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code,
            title: "Not ready yet",
            detail,
            hint: "Try again in a moment. If this is your service, `slipway ps` and `slipway events` say more.",
        }
    }
}
