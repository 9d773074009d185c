//! Logs on disk: one bounded log of events for each deployment, one rotated log for each service's replicas, and one bound for all.
//!
//! Files are the truth, a [`tokio::sync::watch`] is the doorbell: a follower reads the files at its own pace, so a slow
//! one costs nobody else anything. What is written here has been masked before ([`mask::Masker`]).

pub(crate) mod budget;
pub(crate) mod form;
pub(crate) mod mask;
pub(crate) mod restart;
mod room;
pub(crate) mod search;
pub(crate) mod segment;

use crate::config::LogLimits;
use budget::Budget;
use segment::{SegmentLog, Shape};
use slipway_types::{DeploymentId, ServiceId};
use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio_util::sync::CancellationToken;

/// Of all files of logs.
pub(crate) const STEM: &str = "log";
/// Of a service's log: so much of it is lost at most when its oldest segment goes.
const SERVICE_SEGMENTS: u64 = 8;
/// Of a deployment's log, of which each phase is a chapter: what came first there (the first error) and last is worth keeping.
const DEPLOYMENT_SEGMENTS: u64 = 16;

/// All logs of a data directory. Each is open at most once, so that its writers and followers meet.
#[derive(Debug)]
pub(crate) struct Logs {
    dir: PathBuf,
    limits: LogLimits,
    budget: Arc<Budget>,
    open: Mutex<HashMap<PathBuf, Weak<SegmentLog>>>,
}

impl Logs {
    pub(crate) fn open(dir: PathBuf, limits: LogLimits) -> io::Result<Self> {
        std::fs::create_dir_all(dir.join("deployments"))?;
        std::fs::create_dir_all(dir.join("services"))?;
        Ok(Self { dir, limits, budget: Arc::new(Budget::new(limits.server_bytes)), open: Mutex::default() })
    }

    pub(crate) fn deployment(&self, deployment: &DeploymentId) -> io::Result<Arc<SegmentLog>> {
        let bytes_max = self.limits.deployment_bytes;
        let shape = Shape { segment_bytes: bytes_max / DEPLOYMENT_SEGMENTS, bytes_max, keep_heads: true };
        self.log(self.dir.join("deployments").join(deployment.as_str()), shape)
    }

    pub(crate) fn service(&self, service: &ServiceId) -> io::Result<Arc<SegmentLog>> {
        let bytes_max = self.limits.service_bytes;
        let shape = Shape { segment_bytes: bytes_max / SERVICE_SEGMENTS, bytes_max, keep_heads: false };
        self.log(self.dir.join("services").join(service.as_str()), shape)
    }

    /// Each log has its own directory: listing its segments costs the same however many logs there are.
    fn log(&self, dir: PathBuf, shape: Shape) -> io::Result<Arc<SegmentLog>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = open.get(&dir).and_then(Weak::upgrade) {
            return Ok(log);
        }
        open.retain(|_, log| log.strong_count() > 0);
        let log = Arc::new(SegmentLog::open(dir.clone(), STEM, shape, Arc::clone(&self.budget))?);
        open.insert(dir, Arc::downgrade(&log));
        Ok(log)
    }

    /// Whose limit took the oldest lines of a log, in words.
    pub(crate) fn limit_of(&self, log: &SegmentLog) -> String {
        let size = |bytes| slipway_types::settings::ByteSize(bytes);
        match log.extent() {
            // Its own bound leaves more than this.
            Ok((bytes, bytes_max)) if bytes >= bytes_max / 2 => match bytes_max == self.limits.service_bytes {
                true => format!("limit `logs.service_bytes` ({})", size(bytes_max)),
                false => format!("limit `logs.deployment_bytes` ({})", size(bytes_max)),
            },
            _ => format!("limit `logs.server_bytes` ({})", size(self.budget.bytes_max())),
        }
    }

    /// Keeps all logs together within their bound, until `stop`.
    pub(crate) async fn keep_within_bound(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(self.budget.due()).await.is_some() {
            let logs = Arc::clone(&self);
            let swept =
                tokio::task::spawn_blocking(move || logs.budget.sweep(&logs.dir, |dir| logs.is_open(dir))).await;
            match swept {
                Ok(Ok(0)) => {}
                Ok(Ok(bytes)) => tracing::info!(bytes, "the oldest logs were removed: limit `logs.server_bytes`"),
                Ok(Err(error)) => tracing::warn!(%error, "old logs could not be removed"),
                Err(error) => tracing::error!(%error, "the removal of old logs ended abnormally"),
            }
        }
    }

    fn is_open(&self, dir: &Path) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(dir).is_some_and(|log| log.strong_count() > 0)
    }

    /// Removes the log of a deployment that nobody can ask for any more.
    pub(crate) fn remove_deployment(&self, deployment: &DeploymentId) -> io::Result<()> {
        self.deployment(deployment)?.remove()
    }

    pub(crate) fn remove_service(&self, service: &ServiceId) -> io::Result<()> {
        self.service(service)?.remove()
    }
}
