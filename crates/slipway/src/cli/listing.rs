//! `ps`.

use super::args::GlobalOptions;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{self, Palette};
use crate::render::{Table, age};
use slipway_types::TimestampMs;
use slipway_types::api::{DeploymentView, ReplicaView, ServiceView, SleepView};

pub(super) async fn services(global: &GlobalOptions) -> Result<(), Failure> {
    let mut services = Client::discover(global)?.services().await?;
    services.retain(|service| is_wanted(global, service));
    if global.json {
        return output::json(&services);
    }
    if services.is_empty() {
        output::say("nothing is deployed yet; `slipway up` deploys a directory");
        return Ok(());
    }
    let now = now();
    let mut table = Table::new(&["PROJECT", "SERVICE", "STATUS", "RELEASE", "REPLICAS", "CHANGED", "URL"]);
    for service in &services {
        table.row(row(service, now));
    }
    output::data(&table.render(Palette::of_stdout()))
}

fn is_wanted(global: &GlobalOptions, service: &ServiceView) -> bool {
    let project = global.project.as_ref().is_none_or(|name| *name == service.project);
    project && global.service.as_ref().is_none_or(|name| *name == service.service)
}

fn row(service: &ServiceView, now: TimestampMs) -> Vec<String> {
    let live = service.live.as_ref();
    let ready = service.replicas.iter().filter(|replica| replica.state == "ready").count();
    let changed =
        live.or(service.newest.as_ref()).map(|deployment| deployment.finished_at.unwrap_or(deployment.created_at));
    vec![
        service.project.to_string(),
        service.service.to_string(),
        status(service, now),
        live.and_then(|deployment| deployment.release).map(|number| format!("v{number}")).unwrap_or_default(),
        format!("{ready}/{}", service.replicas_wanted),
        changed.map(|instant| age(instant, now)).unwrap_or_default(),
        service.url.clone().unwrap_or_default(),
    ]
}

/// What is live and how it is, and what became of the newest deployment when it is another one.
fn status(service: &ServiceView, now: TimestampMs) -> String {
    let newest = service.newest.as_ref().map(newest_status);
    let live = service.live.as_ref().map(|live| live_status(service, live, now));
    match (live, newest) {
        (Some(live), None) => live,
        (Some(live), Some(newest)) => format!("{live}, newest {newest}"),
        (None, Some(newest)) => newest,
        (None, None) => String::new(),
    }
}

/// What runs of it, or what it waits for.
fn newest_status(newest: &DeploymentView) -> String {
    match (&newest.waiting, newest.phase.filter(|_| !newest.status.is_settled())) {
        (Some(wait), _) => format!("{}, {} (number {} of {})", newest.status, wait.because, wait.position, wait.of),
        (None, Some(phase)) => format!("{} ({phase})", newest.status),
        (None, None) => newest.status.to_string(),
    }
}

fn live_status(service: &ServiceView, live: &DeploymentView, now: TimestampMs) -> String {
    if service.stopped {
        return "stopped".to_owned();
    }
    match &service.sleep {
        Some(SleepView::Asleep) => return "live, asleep".to_owned(),
        Some(SleepView::Waking) => return "live, waking".to_owned(),
        Some(SleepView::WakeFailed { diagnosis }) => return format!("live, does not wake ({})", diagnosis.code),
        None | Some(SleepView::Awake) => {}
    }
    let troubled = service.replicas.iter().filter(|replica| replica.deployment == live.deployment);
    let worst = troubled.filter_map(|replica| Some((severity(&replica.state)?, replica))).max_by_key(|(rank, _)| *rank);
    if let Some((_, replica)) = worst {
        return format!("live, {}{}", replica.state, trouble(replica, now));
    }
    match &service.restart {
        Some(restart) if !restart.is_over() => format!("live, restarting ({} of {})", restart.replaced, restart.of),
        _ => "live".to_owned(),
    }
}

fn severity(state: &str) -> Option<usize> {
    ["unready", "restarting", "failed", "crash-looping"].iter().position(|known| *known == state)
}

/// Why, and when it starts again.
fn trouble(replica: &ReplicaView, now: TimestampMs) -> String {
    let Some(trouble) = &replica.trouble else { return String::new() };
    match trouble.next_start_at.map(|at| at.saturating_sub(now)) {
        Some(ms) if ms > 0 => format!(" ({}, next start in {} s)", trouble.code, (ms + 999) / 1000),
        Some(_) => format!(" ({}, starting)", trouble.code),
        None => format!(" ({})", trouble.code),
    }
}

pub(super) fn now() -> TimestampMs {
    jiff::Timestamp::now().as_millisecond()
}
