//! Whether the server can do its work: asked without a token, so an answer says which part can't, and nothing else.

use crate::shared::Shared;
use serde::Serialize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// With less room nothing new can be stored or built.
const DISK_FREE_BYTES_MIN: u64 = 64 << 20;
/// Whoever asks more often gets the answer of a moment ago: each look takes the database's only writer.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A write that waits so long is one that can't be done.
const DATABASE_TIME_MAX: Duration = Duration::from_secs(5);

/// Who has said something since the start.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    host: AtomicBool,
    edge: AtomicBool,
}

impl Heard {
    pub(crate) fn host(&self) {
        self.host.store(true, Ordering::Relaxed);
    }

    /// It has a table in force.
    pub(crate) fn edge(&self) {
        self.edge.store(true, Ordering::Relaxed);
    }
}

/// `GET /readyz`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    /// Parts that are not.
    pub(crate) not_ready: Vec<&'static str>,
}

/// The newest answer.
pub(crate) type LastLook = tokio::sync::Mutex<Option<(Instant, Readiness)>>;

impl Shared {
    /// `serves`: the executor takes commands.
    pub(crate) async fn readiness(&self, serves: bool) -> Readiness {
        let mut last = self.last_look.lock().await;
        if let Some((at, readiness)) = &*last
            && at.elapsed() < LOOK_INTERVAL
        {
            return readiness.clone();
        }
        let mut not_ready = Vec::new();
        let mut check = |part, ok: bool| not_ready.extend((!ok).then_some(part));
        let written = tokio::time::timeout(DATABASE_TIME_MAX, self.store.check_writable()).await;
        check("database", matches!(written, Ok(Ok(()))));
        check("executor", serves);
        check("host", self.metrics.heard.host.load(Ordering::Relaxed));
        check("edge", self.metrics.heard.edge.load(Ordering::Relaxed));
        check("disk", disk(&self.data_dir).is_none_or(|(free, _)| free >= DISK_FREE_BYTES_MIN));
        let readiness = Readiness { ready: not_ready.is_empty(), not_ready };
        *last = Some((Instant::now(), readiness.clone()));
        readiness
    }
}

/// Free bytes and all bytes of the disk that a directory is on.
pub(crate) fn disk(dir: &Path) -> Option<(u64, u64)> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
}
