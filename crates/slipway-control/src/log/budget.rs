//! What all logs of a server may take together: beyond it the oldest segments go, whosever they are.
//!
//! A log's newest segment stays while somebody may write to it, and that of a service always: its number says where a follower is.

use super::segment::{number, segments_in};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::sync::Notify;

/// A sweep makes room for this part of the limit, and comes again when it was written.
const SLACK_PARTS: u64 = 16;

#[derive(Debug)]
pub(crate) struct Budget {
    bytes_max: u64,
    /// Since the last sweep.
    written: AtomicU64,
    due: Notify,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(slipway_types::log::SERVER_LOG_BYTES)
    }
}

/// A file that may go.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Old {
    at: SystemTime,
    path: PathBuf,
    bytes: u64,
}

impl Budget {
    pub(crate) fn new(bytes_max: u64) -> Self {
        let due = Notify::new();
        // What an earlier server left is looked at first.
        due.notify_one();
        Self { bytes_max, written: AtomicU64::new(0), due }
    }

    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    pub(super) fn written(&self, bytes: u64) {
        let slack = self.bytes_max / SLACK_PARTS;
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        if before <= slack && before + bytes > slack {
            self.due.notify_one();
        }
    }

    /// Waits until enough was written.
    pub(crate) async fn due(&self) {
        self.due.notified().await;
    }

    /// Removes the oldest segments. `is_open`: whether somebody may write to the log in that directory.
    pub(crate) fn sweep(&self, dir: &Path, is_open: impl Fn(&Path) -> bool) -> io::Result<u64> {
        self.written.store(0, Ordering::Relaxed);
        let (mut old, mut bytes) = (Vec::new(), 0);
        for kind in ["deployments", "services"] {
            for log in entries(&dir.join(kind))? {
                let keeps_newest = kind == "services" || is_open(&log);
                bytes += segments(&log, keeps_newest, &mut old)?;
            }
        }
        old.sort();
        let bound = self.bytes_max - self.bytes_max / SLACK_PARTS;
        let mut removed = 0;
        for file in old {
            if bytes - removed <= bound {
                break;
            }
            match fs::remove_file(&file.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => removed += file.bytes,
            }
            // Of a deployment of which nothing is left.
            let _ = file.path.parent().map(fs::remove_dir);
        }
        Ok(removed)
    }
}

/// Adds the segments of a log that may go, and answers how much all take.
fn segments(log: &Path, keeps_newest: bool, old: &mut Vec<Old>) -> io::Result<u64> {
    let newest = segments_in(log, super::STEM)?.last().copied();
    let mut bytes = 0;
    for path in entries(log)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let segment = number(&name, &format!("{}.", super::STEM));
        let Ok(metadata) = fs::metadata(&path) else { continue };
        bytes += metadata.len();
        if segment.is_some() && !(keeps_newest && segment == newest) {
            let at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            old.push(Old { at, path, bytes: metadata.len() });
        }
    }
    Ok(bytes)
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}
