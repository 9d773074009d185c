//! The lives of a replica's sandboxes, each with an id that outlives the server: it lies beside the sandbox's image.

use super::output::{self, Ended, Observed, Reader};
use super::{End, Replica};
use crate::blocking;
use crate::host::replica_sandbox_id;
use slipway_sandbox::{Sandbox, SandboxError};
use slipway_types::host::HostReport;
use slipway_types::log::{LogStream, ReplicaLine, ReplicaLines, RunChange, RunReport};
use slipway_types::{ReplicaId, RunId};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::{SystemTime, UNIX_EPOCH};

/// An id that no other run has.
pub(super) fn new_id(replica: &ReplicaId) -> RunId {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let digest = blake3::hash(format!("{replica} {} {}", since.as_nanos(), std::process::id()).as_bytes());
    let mut first = [0; RunId::DIGEST_BYTES];
    first.copy_from_slice(&digest.as_bytes()[..RunId::DIGEST_BYTES]);
    RunId::of_digest(first)
}

impl Replica {
    pub(super) fn run(&self) -> RunId {
        self.run.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn run_path(&self) -> PathBuf {
        self.host.run_path(&replica_sandbox_id(&self.spec.replica))
    }

    /// A new life. What cannot be written down costs its name after a restart of the server, and nothing else.
    pub(super) async fn begin_run(&self) {
        let run = new_id(&self.spec.replica);
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = run.clone();
        let path = self.run_path();
        if let Err(error) = tokio::fs::write(&path, run.as_str()).await {
            tracing::warn!(%error, path = %path.display(), "cannot write down the run of a replica");
        }
    }

    /// There is none any more whose name a later server could ask for.
    pub(super) async fn forget_run(&self) {
        // A leftover is removed at the next start.
        let _ = tokio::fs::remove_file(self.run_path()).await;
    }

    /// The life that an earlier server began.
    pub(super) async fn adopt_run(&self) {
        let path = self.run_path();
        let text = blocking(move || std::fs::read_to_string(path)).await;
        if let Some(run) = text.ok().and_then(|text| RunId::parse(text).ok()) {
            *self.run.lock().unwrap_or_else(PoisonError::into_inner) = run;
        }
        self.tell_run(RunChange::Adopted).await;
    }

    pub(super) async fn tell_run(&self, change: RunChange) {
        let report = RunReport {
            replica: self.spec.replica.clone(),
            deployment: self.spec.deployment.clone(),
            service_id: self.spec.service_id.clone(),
            run: self.run(),
            at: output::now(),
            change,
        };
        let _ = self.reports.send(HostReport::Run(Box::new(report))).await;
    }

    pub(super) fn reader<'r>(&'r self, sandbox: &Sandbox, observed: &'r Observed) -> Reader<'r> {
        Reader::new(sandbox, &self.spec, self.run(), &self.reports, self.written.clone(), observed)
    }

    /// Into the log of its service, as the host's word.
    pub(super) async fn say(&self, line: String) {
        let line = ReplicaLine { at: output::now(), stream: LogStream::System, number: None, line };
        let lines = ReplicaLines {
            replica: self.spec.replica.clone(),
            deployment: self.spec.deployment.clone(),
            service_id: self.spec.service_id.clone(),
            run: self.run(),
            lines: vec![line],
            through: 0,
        };
        let _ = self.reports.send(HostReport::ReplicaLines(Box::new(lines))).await;
    }
}

/// How a life ended, for its log.
pub(super) fn ended(end: &Result<End, SandboxError>) -> RunChange {
    let by_itself = |exit, why: &str| RunChange::Ended { asked: false, exit, why: why.to_owned() };
    match end {
        Ok(End::NotWanted) => RunChange::Ended { asked: true, exit: None, why: "it was stopped".to_owned() },
        Ok(End::Exited(Ended::Exit { facts, .. })) => by_itself(Some(*facts), "its process ended"),
        Ok(End::Exited(Ended::Lost(message))) => by_itself(None, message),
        Ok(End::Unhealthy { .. }) => by_itself(None, "it did not answer its health check, and was ended"),
        Err(error) => by_itself(None, &crate::phase::with_causes(error)),
    }
}
