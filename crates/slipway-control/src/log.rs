//! Logs on disk: one bounded log of events for each deployment, one rotated log for each service's replicas.
//!
//! Files are the truth, a [`tokio::sync::watch`] is the doorbell: a follower reads the files at its own pace, so a slow
//! one costs nobody else anything. What is written here has been masked before ([`mask::Masker`]).

pub(crate) mod form;
pub(crate) mod mask;
pub(crate) mod segment;

use segment::{SegmentLog, Shape};
use slipway_types::{DeploymentId, ServiceId};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A deployment's log: what came first (the plan, the first error) and what came last are worth keeping.
const DEPLOYMENT_SHAPE: Shape = Shape { segment_bytes: 4 << 20, tail_segments: 2, keep_head: true };
/// A service's log: the newest lines.
const SERVICE_SHAPE: Shape = Shape { segment_bytes: 8 << 20, tail_segments: 4, keep_head: false };

/// All logs of a data directory. Each is open at most once, so that its writers and followers meet.
#[derive(Debug)]
pub(crate) struct Logs {
    dir: PathBuf,
    open: Mutex<HashMap<PathBuf, Weak<SegmentLog>>>,
}

impl Logs {
    pub(crate) fn open(dir: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(dir.join("deployments"))?;
        std::fs::create_dir_all(dir.join("services"))?;
        Ok(Self { dir, open: Mutex::default() })
    }

    pub(crate) fn deployment(&self, deployment: &DeploymentId) -> io::Result<Arc<SegmentLog>> {
        self.log(self.dir.join("deployments").join(deployment.as_str()), DEPLOYMENT_SHAPE)
    }

    pub(crate) fn service(&self, service: &ServiceId) -> io::Result<Arc<SegmentLog>> {
        self.log(self.dir.join("services").join(service.as_str()), SERVICE_SHAPE)
    }

    /// Each log has its own directory: listing its segments costs the same however many logs there are.
    fn log(&self, dir: PathBuf, shape: Shape) -> io::Result<Arc<SegmentLog>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = open.get(&dir).and_then(Weak::upgrade) {
            return Ok(log);
        }
        open.retain(|_, log| log.strong_count() > 0);
        let log = Arc::new(SegmentLog::open(dir.clone(), "log", shape)?);
        open.insert(dir, Arc::downgrade(&log));
        Ok(log)
    }

    /// Removes the log of a deployment that nobody can ask for any more.
    pub(crate) fn remove_deployment(&self, deployment: &DeploymentId) -> io::Result<()> {
        self.deployment(deployment)?.remove()
    }

    pub(crate) fn remove_service(&self, service: &ServiceId) -> io::Result<()> {
        self.service(service)?.remove()
    }
}
