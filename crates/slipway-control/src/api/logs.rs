//! `GET …/logs`: what the replicas of a service print.
//!
//! A reader says what it wants ([`Query`]); the server looks, in steps of one chunk, so that one reader's search of a large log
//! takes turns with others. Each line has a cursor, with which a reader that lost its connection goes on where it was.

use super::Api;
use super::body::Params;
use super::stream::{self, Chunks, LOOK_INTERVAL, send};
use crate::log::restart::{Around, Which, around};
use crate::log::search::{self, Query, Start};
use crate::log::segment::{Cursor, SegmentLog};
use crate::refusal::Refusal;
use crate::shared::Shared;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header;
use slipway_store::StoreError;
use slipway_types::log::{LogLine, LogMark, TAIL_LINES_MAX};
use slipway_types::{RunId, ServiceId};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Chunks that are searched at the same time, whoever asks: a search takes a core, and there are others to serve.
const SEARCHES_MAX: usize = 1;
static SEARCHES: Semaphore = Semaphore::const_new(SEARCHES_MAX);
/// Lines before and behind the end of a run, where nobody says how many.
const AROUND_DEFAULT: u32 = 20;
/// Between two positions that are told without a line.
const POSITION_INTERVAL: Duration = Duration::from_secs(5);

pub(super) async fn replicas(api: &Api, service: ServiceId, params: Params) -> Result<Response, Refusal> {
    let log = api.shared.logs.service(&service);
    let log = log.map_err(|error| Refusal::internal("could not open the service's log", &error))?;
    let count = params.tail.map(|count| count.min(TAIL_LINES_MAX));
    if let Some(which) = &params.restart {
        let which = match which.as_str() {
            "latest" => Which::Latest,
            id => Which::Of(RunId::parse(id).map_err(|error| Refusal::bad_request("bad-id", error.to_string()))?),
        };
        return restart(log, which, params.replica, count.unwrap_or(AROUND_DEFAULT)).await;
    }
    if params.follow && params.until.is_some() {
        return Err(Refusal::bad_request("bad-query", "`until` does not go with `follow`"));
    }
    let pattern = params.grep.as_deref().map(search::pattern).transpose();
    let query = Query {
        since: params.since,
        until: params.until,
        pattern: pattern.map_err(|why| Refusal::bad_request("bad-pattern", why))?,
        replica: params.replica,
    };
    let bad_cursor = || Refusal::bad_request("bad-query", "`after` is no cursor");
    let after = params.after.as_deref().map(|text| search::parsed(text).ok_or_else(bad_cursor)).transpose()?;
    let reader = Reader {
        log,
        query: Arc::new(query),
        service,
        shared: Arc::clone(&api.shared),
        count,
        follow: params.follow,
        positions: params.positions,
    };
    Ok(stream::respond(api.shutdown.clone(), move |to| async move { reader.write(after, &to).await }))
}

async fn restart(log: Arc<SegmentLog>, which: Which, replica: Option<String>, count: u32) -> Result<Response, Refusal> {
    let found = {
        let which = which.clone();
        searched(move || around(&log, &which, replica.as_deref(), count as usize)).await
    };
    match found.map_err(|error| Refusal::internal("could not read the service's log", &error))? {
        Around::Lines(lines) => {
            let stream = [(header::CONTENT_TYPE, "application/x-ndjson")];
            Ok((stream, Body::from(lines.concat())).into_response())
        }
        Around::Runs => Err(Refusal::conflict("run-goes-on", "the run has not ended")
            .hint("`--restart latest` shows the newest one that has ended by itself")),
        Around::Unknown => Err(match which {
            Which::Latest => {
                Refusal::not_found("no-restart", "no replica has ended by itself, as far as the log goes back")
            }
            Which::Of(run) => Refusal::not_found("run-unknown", format!("the log has no run `{run}`"))
                .hint("`slipway events` shows the runs; older lines of a log are removed"),
        }),
    }
}

/// One step of a search.
async fn searched<T: Send + 'static>(search: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    // It is never closed.
    let _turn = SEARCHES.acquire().await.map_err(io::Error::other)?;
    tokio::task::spawn_blocking(search).await.map_err(io::Error::other)?
}

struct Reader {
    log: Arc<SegmentLog>,
    query: Arc<Query>,
    service: ServiceId,
    shared: Arc<Shared>,
    count: Option<u32>,
    follow: bool,
    positions: bool,
}

impl Reader {
    async fn write(self, after: Option<Cursor>, to: &Chunks) -> io::Result<()> {
        let mut doorbell = self.log.doorbell();
        let start = self.start(after).await?;
        let mut cursor = start.cursor;
        if start.removed {
            self.say_removed(to).await?;
        }
        let (mut told, mut tell_at) = (None, Instant::now());
        loop {
            drop(doorbell.borrow_and_update());
            // Asked before the last read: what is gone has written its last line.
            let gone = matches!(self.shared.store.service(&self.service).await, Err(StoreError::Missing { .. }));
            let before = cursor;
            if self.send_all(&mut cursor, to).await? {
                told = Some(cursor);
            }
            if gone || !self.follow {
                return Ok(());
            }
            let now = Instant::now();
            let silent = told != Some(cursor) || before == cursor;
            if self.positions && silent && now >= tell_at {
                send(to, format!("{{\"cursor\":\"{}\"}}\n", search::written(cursor)).into_bytes()).await?;
                (told, tell_at) = (Some(cursor), now + POSITION_INTERVAL);
            }
            // An error would mean that the log is closed, but it is held here.
            let _ = tokio::time::timeout(LOOK_INTERVAL, doorbell.changed()).await;
        }
    }

    async fn start(&self, after: Option<Cursor>) -> io::Result<Start> {
        let (log, query, count) = (Arc::clone(&self.log), Arc::clone(&self.query), self.count);
        searched(move || match (after, count) {
            (Some(cursor), _) => Ok(Start { cursor: log.resume(cursor)?, removed: false }),
            (None, None) => query.start(&log),
            (None, Some(count)) => query.tail(&log, query.start(&log)?, count as usize),
        })
        .await
    }

    /// Up to the end of the log. True: the last thing that was sent was its last line.
    async fn send_all(&self, cursor: &mut Cursor, to: &Chunks) -> io::Result<bool> {
        let mut sent_last = false;
        loop {
            let (log, query, from) = (Arc::clone(&self.log), Arc::clone(&self.query), *cursor);
            let (chunk, selected) = searched(move || {
                let chunk = log.read(from)?;
                let selected = query.select(&chunk);
                Ok((chunk, selected))
            })
            .await?;
            *cursor = chunk.next;
            if chunk.bytes.is_empty() {
                return Ok(sent_last);
            }
            if chunk.gap {
                self.say_removed(to).await?;
            }
            sent_last = !selected.is_empty();
            if sent_last {
                send(to, selected).await?;
            }
        }
    }

    async fn say_removed(&self, to: &Chunks) -> io::Result<()> {
        let text = format!("older lines were removed: {}", self.shared.logs.limit_of(&self.log));
        let line = LogLine::of_system(self.shared.now(), Some(LogMark::Removed), text);
        let mut text = serde_json::to_string(&line).map_err(io::Error::other)?;
        text.push('\n');
        send(to, text.into_bytes()).await
    }
}
