//! `ps` and `events`.

use super::args::GlobalOptions;
use crate::client::{Client, ServicePath};
use crate::failure::Failure;
use crate::output::{self, Palette};
use crate::render::{Table, age, clock};
use slipway_types::TimestampMs;
use slipway_types::api::{DeploymentView, EventView, LIMIT_MAX, ServiceView, SleepView};

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
        status(live, service.sleep.as_ref(), service.newest.as_ref()),
        live.and_then(|deployment| deployment.release).map(|number| format!("v{number}")).unwrap_or_default(),
        format!("{ready}/{}", service.replicas_wanted),
        changed.map(|instant| age(instant, now)).unwrap_or_default(),
        service.url.clone().unwrap_or_default(),
    ]
}

/// What is live and whether it sleeps, and what became of the newest deployment when it is another one.
fn status(live: Option<&DeploymentView>, sleep: Option<&SleepView>, newest: Option<&DeploymentView>) -> String {
    let newest = newest.map(|newest| match newest.phase.filter(|_| !newest.status.is_settled()) {
        Some(phase) => format!("{} ({phase})", newest.status),
        None => newest.status.to_string(),
    });
    let live = live.map(|_| match sleep {
        None | Some(SleepView::Awake) => "live".to_owned(),
        Some(SleepView::Asleep) => "live, asleep".to_owned(),
        Some(SleepView::Waking) => "live, waking".to_owned(),
        Some(SleepView::WakeFailed { diagnosis }) => format!("live, does not wake ({})", diagnosis.code),
    });
    match (live, newest) {
        (Some(live), None) => live,
        (Some(live), Some(newest)) => format!("{live}, newest {newest}"),
        (None, Some(newest)) => newest,
        (None, None) => String::new(),
    }
}

pub(super) async fn events(global: &GlobalOptions, limit: u32) -> Result<(), Failure> {
    let client = Client::discover(global)?;
    let events = wanted_events(&client, global, limit).await?;
    if global.json {
        return output::json(&events);
    }
    if events.is_empty() {
        output::say("nothing happened yet");
        return Ok(());
    }
    let mut table = Table::new(&["AT", "SERVICE", "DEPLOYMENT", "EVENT", "MESSAGE"]);
    for event in events {
        table.row(vec![
            clock(event.at),
            format!("{}/{}", event.project, event.service),
            event.deployment.map(String::from).unwrap_or_default(),
            event.kind,
            event.message,
        ]);
    }
    output::data(&table.render(Palette::of_stdout()))
}

/// The newest `limit`, oldest first.
async fn wanted_events(client: &Client, global: &GlobalOptions, limit: u32) -> Result<Vec<EventView>, Failure> {
    let mut events = match (&global.project, &global.service) {
        (Some(project), Some(service)) => client.events(Some(ServicePath { project, service }), limit).await?,
        (None, None) => client.events(None, limit).await?,
        // The server knows events of one service or of all: what lies between is looked for in the newest of all.
        (project, service) => {
            let mut events = client.events(None, LIMIT_MAX).await?;
            events.retain(|event| {
                project.as_ref().is_none_or(|name| *name == event.project)
                    && service.as_ref().is_none_or(|name| *name == event.service)
            });
            events
        }
    };
    events.sort_by_key(|event| std::cmp::Reverse(event.at));
    events.truncate(limit as usize);
    events.reverse();
    Ok(events)
}

pub(super) fn now() -> TimestampMs {
    jiff::Timestamp::now().as_millisecond()
}
