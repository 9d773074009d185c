//! Ending everything in the sandbox.

use crate::statistics;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// After SIGKILL: to reap, and to send the last events. Then the agent exits whatever is left; as PID 1 that ends it too.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shutdown {
    kill_at: Instant,
    /// A slow machine gets to it late: what follows is counted from here.
    killed_at: Option<Instant>,
}

impl Shutdown {
    /// Sends SIGTERM to all.
    pub(crate) fn begin(grace: Duration, now: Instant) -> Self {
        signal_all(libc::SIGTERM);
        Self { kill_at: now + grace, killed_at: None }
    }

    /// A second request may only hurry.
    pub(crate) fn hurry(&mut self, grace: Duration, now: Instant) {
        self.kill_at = self.kill_at.min(now + grace);
    }

    /// Kills when it is time to. `true` when waiting any longer is pointless.
    pub(crate) fn advance(&mut self, now: Instant) -> bool {
        if now >= self.kill_at && self.killed_at.is_none() {
            signal_all(libc::SIGKILL);
            self.killed_at = Some(Instant::now());
        }
        self.killed_at.is_some_and(|killed_at| now >= killed_at + LAST_WORDS_MAX)
    }

    pub(crate) fn wake_at(&self) -> Instant {
        self.killed_at.map_or(self.kill_at, |killed_at| killed_at + LAST_WORDS_MAX)
    }
}

/// As PID 1 everything else is in the sandbox; as any other process only the descendants are.
fn signal_all(signal: i32) {
    if std::process::id() == 1 {
        // SAFETY: a plain system call; the kernel spares the caller and whatever is outside the PID namespace.
        unsafe { libc::kill(-1, signal) };
        return;
    }
    for pid in descendants(std::process::id().cast_signed()) {
        // SAFETY: a plain system call; orphans come back to this process, so a descendant's number is not reused before it is reaped.
        unsafe { libc::kill(pid, signal) };
    }
}

fn descendants(root: i32) -> Vec<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for stat in statistics::process_stats() {
        let pid = stat.split_once(' ').and_then(|(pid, _)| pid.parse().ok());
        let parent = statistics::fields(&stat).get(1).and_then(|parent| parent.parse().ok());
        if let (Some(pid), Some(parent)) = (pid, parent) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = children.remove(&root).unwrap_or_default();
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    found
}
