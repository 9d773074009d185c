//! `events`: what became of deployments and replicas, in one history.

use super::args::GlobalOptions;
use super::listing::now;
use super::reconnect::{Away, Next};
use super::since::Since;
use crate::client::{Client, ClientError, Query, ServicePath};
use crate::failure::Failure;
use crate::output::{self, Palette, printable};
use crate::render::{Table, clock};
use slipway_types::TimestampMs;
use slipway_types::api::{EventView, LIMIT_MAX};

/// Width of the column of kinds in a history that goes on.
const KIND_CHARS: usize = 22;

pub(super) async fn events(
    global: &GlobalOptions,
    limit: u32,
    since: Option<Since>,
    follow: bool,
) -> Result<(), Failure> {
    let since = since.map(|since| since.instant(now()));
    if follow {
        return go_on(global, limit, since).await;
    }
    let client = Client::discover(global)?;
    let events = wanted_events(&client, global, limit, since).await?;
    if global.json {
        return output::json(&events);
    }
    if events.is_empty() {
        output::say("nothing happened yet");
        return Ok(());
    }
    let mut table = Table::new(&["AT", "SERVICE", "DEPLOYMENT", "RUN", "EVENT", "MESSAGE"]);
    for event in events {
        table.row(vec![
            clock(event.at),
            format!("{}/{}", event.project, event.service),
            event.deployment.map(String::from).unwrap_or_default(),
            event.run.map(String::from).unwrap_or_default(),
            event.kind,
            event.message,
        ]);
    }
    output::data(&table.render(Palette::of_stdout()))
}

/// The newest `limit`, oldest first.
async fn wanted_events(
    client: &Client,
    global: &GlobalOptions,
    limit: u32,
    since: Option<TimestampMs>,
) -> Result<Vec<EventView>, Failure> {
    let query = |limit: u32| {
        let mut query = Query::default();
        query.add("limit", &limit.to_string());
        query.add_some("since", since);
        query
    };
    let mut events = match (&global.project, &global.service) {
        (Some(project), Some(service)) => client.events(Some(ServicePath { project, service }), &query(limit)).await?,
        (None, None) => client.events(None, &query(limit)).await?,
        // What lies between one service and all is looked for in the newest of all.
        _ => {
            let mut events = client.events(None, &query(LIMIT_MAX)).await?;
            events.retain(|event| is_wanted(global, event));
            events
        }
    };
    events.sort_by_key(|event| std::cmp::Reverse((event.at, event.id)));
    events.truncate(limit as usize);
    events.reverse();
    Ok(events)
}

fn is_wanted(global: &GlobalOptions, event: &EventView) -> bool {
    let project = global.project.as_ref().is_none_or(|name| *name == event.project);
    project && global.service.as_ref().is_none_or(|name| *name == event.service)
}

/// Prints what comes, over restarts of the server.
async fn go_on(global: &GlobalOptions, limit: u32, since: Option<TimestampMs>) -> Result<(), Failure> {
    let palette = Palette::of_stdout();
    let mut away = Away::default();
    let mut last = None;
    loop {
        let mut query = Query::default();
        query.add("follow", "true");
        query.add_some("since", since);
        match last {
            Some(id) => query.add("after", &u64::to_string(&id)),
            None => query.add("limit", &limit.to_string()),
        }
        let lost = 'lost: {
            let mut lines = match connect(global, &query).await {
                Ok(lines) => lines,
                Err(error) => break 'lost Some(error),
            };
            loop {
                let line = match lines.next().await {
                    Ok(Some(line)) => line,
                    Ok(None) => break 'lost None,
                    Err(error) => break 'lost Some(error),
                };
                away.is_back();
                let Ok(event) = serde_json::from_str::<EventView>(&line) else { continue };
                last = Some(event.id);
                if is_wanted(global, &event) {
                    output::data(&if global.json { line } else { shown(&event, palette) })?;
                }
            }
        };
        match away.lost(lost).await? {
            Next::Again => {}
            Next::Gone => return Ok(()),
        }
    }
}

async fn connect(global: &GlobalOptions, query: &Query) -> Result<crate::client::Lines, ClientError> {
    let client = Client::discover(global)?;
    let of = match (&global.project, &global.service) {
        (Some(project), Some(service)) => Some(ServicePath { project, service }),
        _ => None,
    };
    client.follow_events(of, query).await
}

fn shown(event: &EventView, palette: Palette) -> String {
    let of = format!("{} {}/{}", clock(event.at), event.project, event.service);
    let run = event.run.as_ref().map(|run| format!(" [{run}]")).unwrap_or_default();
    let kind = format!("{:KIND_CHARS$}", event.kind);
    format!("{} {} {}{}", palette.dim(&of), palette.bold(&kind), printable(&event.message), palette.dim(&run))
}
