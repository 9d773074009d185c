//! What replicas write: masked, and into the log of their service. And what becomes of their runs: a mark in that log, an event.
//!
//! Each line is written once: a host tells lines again of which it does not know that they were written, and those are known by
//! their numbers.

use super::Executor;
use crate::log::restart::last_number;
use crate::log::segment::SegmentLog;
use slipway_types::agent::Stream;
use slipway_types::host::{ExitFacts, HostCommand};
use slipway_types::log::{LogLine, LogMark, LogStream, ReplicaLine, ReplicaLines, RunChange, RunReport};
use slipway_types::{Phase, RunId, ServiceId};
use std::collections::btree_map::Entry;
use std::io;
use std::sync::Arc;

impl Executor {
    pub(super) fn replica_lines(&mut self, lines: ReplicaLines) {
        let ReplicaLines { replica, run, service_id, .. } = &lines;
        // Of a service that was destroyed: nobody can read it, and its secrets are no longer known.
        if self.services.contains_key(service_id) {
            let after = self.runs.get(run).copied();
            let is_new = |line: &&ReplicaLine| line.number.zip(after).is_none_or(|(number, after)| number > after);
            let fresh: Vec<LogLine> = lines.lines.iter().filter(is_new).map(|line| self.masked(&lines, line)).collect();
            self.start_lines(&fresh);
            if let Err(error) = self.write_service_log(service_id, &fresh) {
                tracing::error!(service = %service_id, %error, "could not write to a service's log");
            }
            if let (Some(after), Some(newest)) =
                (self.runs.get_mut(run), fresh.iter().filter_map(|line| line.number).max())
            {
                *after = newest.max(*after);
            }
        }
        let taken = HostCommand::LinesTaken { replica: replica.clone(), run: run.clone(), through: lines.through };
        // A later one says more.
        self.outbox.retain(|command| !matches!(command, HostCommand::LinesTaken { run: of, .. } if of == run));
        self.outbox.push_back(taken);
    }

    fn masked(&self, of: &ReplicaLines, line: &ReplicaLine) -> LogLine {
        LogLine {
            deployment: Some(of.deployment.clone()),
            replica: Some(of.replica.clone()),
            run: Some(of.run.clone()),
            stream: line.stream,
            number: line.number,
            ..LogLine::of_system(line.at, None, self.masker(&of.service_id).mask(&line.line))
        }
    }

    /// While a deployment starts, what its replicas say is part of its own log.
    fn start_lines(&mut self, lines: &[LogLine]) {
        let Some(deployment) = lines.first().and_then(|line| line.deployment.clone()) else { return };
        let Some(phase) = self.active_phase(&deployment).filter(|phase| matches!(phase, Phase::Start | Phase::Health))
        else {
            return;
        };
        let Some(active) = self.active.get_mut(&deployment) else { return };
        for line in lines {
            let stream = if line.stream == LogStream::Stdout { Stream::Stdout } else { Stream::Stderr };
            active.journal.start_line(line.at, phase, stream, line.line.clone());
        }
    }

    pub(super) async fn run_report(&mut self, report: RunReport) {
        let RunReport { replica, deployment, service_id, run, at, change } = report;
        if !self.services.contains_key(&service_id) {
            return;
        }
        let marked = |mark, exit, text: String| LogLine {
            deployment: Some(deployment.clone()),
            replica: Some(replica.clone()),
            run: Some(run.clone()),
            exit,
            ..LogLine::of_system(at, Some(mark), text)
        };
        let (line, event) = match change {
            RunChange::Adopted => {
                self.adopt_run(&service_id, &run);
                self.shared.fleet().set_run(&replica, run, false);
                return;
            }
            RunChange::Started => {
                self.runs.insert(run.clone(), 0);
                self.shared.fleet().set_run(&replica, run.clone(), true);
                let text = format!("replica {replica} started (run {run})");
                (marked(LogMark::Started, None, text.clone()), Some(("replica-started", text)))
            }
            RunChange::Ended { asked, exit, why } => {
                self.runs.remove(&run);
                let text = format!("replica {replica} {} (run {run})", ended(asked, exit, &why));
                let mark = if asked { LogMark::Stopped } else { LogMark::Ended };
                // What ended by itself is told with its diagnosis.
                (marked(mark, exit, text.clone()), asked.then_some(("replica-stopped", text)))
            }
        };
        let line = LogLine { line: self.masker(&service_id).mask(&line.line).into_owned(), ..line };
        if let Err(error) = self.write_service_log(&service_id, &[line]) {
            tracing::error!(service = %service_id, %error, "could not write to a service's log");
        }
        if let Some((kind, text)) = event {
            self.tell_of_run((&service_id, &deployment), (&replica, Some(&run)), kind, &text).await;
        }
    }

    /// Lines of it that an earlier server wrote are not written again.
    fn adopt_run(&mut self, service: &ServiceId, run: &RunId) {
        let number = self.service_log(service).and_then(|log| last_number(&log, run));
        let number = number.unwrap_or_else(|error| {
            tracing::warn!(%service, %error, "could not read back a service's log: lines may stand there twice");
            None
        });
        self.runs.insert(run.clone(), number.unwrap_or(0));
    }

    fn write_service_log(&mut self, service: &ServiceId, lines: &[LogLine]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let texts = lines.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
        self.service_log(service)?.append_all(&texts)
    }

    fn service_log(&mut self, service: &ServiceId) -> io::Result<Arc<SegmentLog>> {
        Ok(match self.service_logs.entry(service.clone()) {
            Entry::Occupied(log) => Arc::clone(log.get()),
            Entry::Vacant(slot) => Arc::clone(slot.insert(self.shared.logs.service(service)?)),
        })
    }
}

/// Such as `ended: out of memory; it was ended by SIGKILL`.
fn ended(asked: bool, exit: Option<ExitFacts>, why: &str) -> String {
    match exit {
        _ if asked => "was stopped".to_owned(),
        Some(exit) if exit.out_of_memory => format!("ended: out of memory; it {}", slipway_build::exit_words(exit)),
        Some(exit) => format!("ended: it {}", slipway_build::exit_words(exit)),
        None => format!("ended: {why}"),
    }
}
