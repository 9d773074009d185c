//! `logs`: of the running service's replicas, or of a deployment's phases.

use super::args::{GlobalOptions, LogsOptions, ReplicaLogOptions};
use super::reconnect::{Away, Next};
use super::{Session, follow, listing};
use crate::client::{Client, Query};
use crate::failure::Failure;
use crate::output::{self, Palette, printable};
use crate::render::{Listener, Received, clock};
use serde::Deserialize;
use slipway_types::api::DeploymentEvent;
use slipway_types::log::{LogLine, LogMark, LogStream};
use slipway_types::{DeploymentId, Phase};

/// Ctrl-C ends it as any other program; there is nothing to clean up.
pub(super) async fn print(global: &GlobalOptions, options: &LogsOptions) -> Result<(), Failure> {
    if let Some(deployment) = &options.deployment {
        let client = Client::discover(global)?;
        return phases(global, &client, deployment, options).await;
    }
    // What is wrong with it is said before a server is looked for.
    let wanted = query(&options.of_replicas, options.follow)?;
    let session = Session::here(global)?;
    if options.build || options.phase.is_some() {
        let deployment = newest(&session).await?;
        return phases(global, &session.client, &deployment, options).await;
    }
    replicas(global, session, &wanted, options).await
}

/// What the server is asked for, without the place to go on from.
fn query(options: &ReplicaLogOptions, follow: bool) -> Result<Query, Failure> {
    let now = listing::now();
    let instant = |when: Option<super::since::Since>| when.map(|when| when.instant(now));
    let (since, until) = (instant(options.since), instant(options.until));
    if since.zip(until).is_some_and(|(since, until)| until <= since) {
        return Err(Failure::usage("`--until` is not after `--since`: no line can be between them"));
    }
    let mut query = Query::default();
    query.add("follow", &follow.to_string());
    query.add_some("since", since);
    query.add_some("until", until);
    query.add_some("grep", options.grep.as_ref());
    query.add_some("replica", options.replica.as_ref());
    query.add_some("restart", options.restart.as_ref());
    if follow {
        query.add("positions", "true");
    }
    Ok(query)
}

async fn replicas(
    global: &GlobalOptions,
    mut session: Session,
    wanted: &Query,
    options: &LogsOptions,
) -> Result<(), Failure> {
    let mut printer = Printer { json: global.json, palette: Palette::of_stdout(), cursor: None };
    let mut away = Away::default();
    loop {
        let mut query = wanted.clone();
        match &printer.cursor {
            Some(cursor) => query.add("after", cursor),
            None => query.add_some("tail", options.of_replicas.tail),
        }
        let lost = 'lost: {
            let mut lines = match session.client.logs(session.path(), &query).await {
                Ok(lines) => lines,
                Err(error) => break 'lost Some(error),
            };
            loop {
                match lines.next().await {
                    Ok(Some(line)) => printer.line(&line)?,
                    Ok(None) => break 'lost None,
                    Err(error) => break 'lost Some(error),
                }
                away.is_back();
            }
        };
        if !options.follow {
            return lost.map_or(Ok(()), |error| Err(error.into()));
        }
        match away.lost(lost).await? {
            Next::Again => {}
            Next::Gone => return Ok(()),
        }
        // It may have come back under another address.
        if let Ok(client) = Client::discover(global) {
            session.client = client;
        }
    }
}

struct Printer {
    json: bool,
    palette: Palette,
    /// Behind the last line that was printed.
    cursor: Option<String>,
}

/// A place without a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    cursor: String,
}

impl Printer {
    fn line(&mut self, line: &str) -> Result<(), Failure> {
        if let Ok(Position { cursor }) = serde_json::from_str(line) {
            self.cursor = Some(cursor);
            return Ok(());
        }
        let entry = serde_json::from_str::<LogLine>(line);
        match &entry {
            _ if self.json => output::data(line)?,
            Ok(entry) if entry.mark == Some(LogMark::Removed) => output::say(&printable(&entry.line)),
            Ok(entry) => output::data(&shown(entry, self.palette))?,
            // A newer server's: not lost, only not pretty.
            Err(_) => output::data(&printable(line))?,
        }
        // Printed first: a line is rather shown twice than never.
        if let Some(cursor) = entry.ok().and_then(|entry| entry.cursor) {
            self.cursor = Some(cursor);
        }
        Ok(())
    }
}

fn shown(entry: &LogLine, palette: Palette) -> String {
    let (at, text) = (palette.dim(&clock(entry.at)), printable(&entry.line));
    let text = if entry.stream == LogStream::System { palette.dim(&text) } else { text };
    match &entry.replica {
        Some(replica) => format!("{at} {} {text}", palette.of_kind(kind(replica.as_str()), replica.as_str())),
        None => format!("{at} {text}"),
    }
}

/// Neighbours differ.
fn kind(replica: &str) -> usize {
    replica.bytes().map(usize::from).sum()
}

async fn newest(session: &Session) -> Result<DeploymentId, Failure> {
    let service = session.client.service(session.path()).await?;
    let newest = service.newest.or(service.live).ok_or_else(|| {
        Failure::usage(format!("{} has no deployment", session.target)).hint("`slipway up` makes one")
    })?;
    Ok(newest.deployment)
}

async fn phases(
    global: &GlobalOptions,
    client: &Client,
    deployment: &DeploymentId,
    options: &LogsOptions,
) -> Result<(), Failure> {
    let mut printer = PhasePrinter { json: global.json, palette: Palette::of_stdout(), only: options.phase };
    if options.follow {
        return follow::until_outcome(client, deployment, &mut printer).await.map(|_| ());
    }
    let mut lines = client.deployment_events(deployment, false).await?;
    while let Some(received) = follow::next(&mut lines).await? {
        printer.event(&received)?;
    }
    Ok(())
}

/// Of a deployment: what its phases print, and nothing else.
struct PhasePrinter {
    json: bool,
    palette: Palette,
    only: Option<Phase>,
}

impl Listener for PhasePrinter {
    fn event(&mut self, received: &Received) -> Result<(), Failure> {
        match &received.event {
            Some(DeploymentEvent::Log { phase, .. }) if self.only.is_some_and(|only| only != *phase) => Ok(()),
            Some(DeploymentEvent::Log { .. }) if self.json => output::data(&received.line),
            Some(DeploymentEvent::Log { phase, line, .. }) => {
                output::data(&format!("{} {}", self.palette.dim(&format!("[{phase}]")), printable(line)))
            }
            _ => Ok(()),
        }
    }

    fn outcome(&mut self, _: &DeploymentEvent) -> Result<(), Failure> {
        Ok(())
    }
}
