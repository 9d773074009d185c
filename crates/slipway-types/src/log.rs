//! What replicas write: as the host tells it, and as a log has it.
//!
//! A run is one life of a replica's sandbox. Lines of a run are numbered, so that what is told twice (a server was killed between
//! writing a line and saying so) is written once.

use crate::agent::Stream;
use crate::host::ExitFacts;
use crate::{DeploymentId, ReplicaId, RunId, ServiceId, TimestampMs};
use serde::{Deserialize, Serialize};

/// An app may write that much a second for ever, before what it writes is dropped and counted: ten thousand lines, more than
/// anybody reads.
pub const REPLICA_RATE_BYTES: u64 = 1 << 20;
/// And that much at once: the answer to a signal, a report of a test run.
pub const REPLICA_BURST_BYTES: u64 = 8 << 20;
/// A service's log on the disk.
pub const SERVICE_LOG_BYTES: u64 = 32 << 20;
/// The log of one deployment's phases.
pub const DEPLOYMENT_LOG_BYTES: u64 = 12 << 20;
/// All logs of a server.
pub const SERVER_LOG_BYTES: u64 = 4 << 30;
/// Longest pattern of a search, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;
/// Lines that a reader may ask for from the end.
pub const TAIL_LINES_MAX: u32 = 100_000;

/// Host to control: lines of one run, in order. Never more than an agent's window of output.
#[derive(Debug, Clone)]
pub struct ReplicaLines {
    pub replica: ReplicaId,
    pub deployment: DeploymentId,
    pub service_id: ServiceId,
    pub run: RunId,
    pub lines: Vec<ReplicaLine>,
    /// What the host holds for these lines, and may forget once they are written.
    pub through: u64,
}

#[derive(Debug, Clone)]
pub struct ReplicaLine {
    pub at: TimestampMs,
    pub stream: LogStream,
    /// Grows within a run, also over restarts of the server. None: the host's own word, which is told once.
    pub number: Option<u64>,
    pub line: String,
}

/// Host to control: a run begins, goes on or has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    pub replica: ReplicaId,
    pub deployment: DeploymentId,
    pub service_id: ServiceId,
    pub run: RunId,
    pub at: TimestampMs,
    pub change: RunChange,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunChange {
    Started,
    /// It was started by an earlier server, and goes on.
    Adopted,
    /// All its lines came before. `asked`: somebody wanted it to end.
    Ended {
        asked: bool,
        exit: Option<ExitFacts>,
        why: String,
    },
}

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    Stdout,
    Stderr,
    /// Not the app: its start, its end, what was dropped or removed.
    System,
}

impl From<Stream> for LogStream {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }
}

/// What a line of the system marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogMark {
    /// A run begins.
    Started,
    /// A run ended by itself.
    Ended,
    /// A run ended because somebody wanted it to.
    Stopped,
    /// Lines that were here are not any more.
    Removed,
}

/// One line of a service's log. Lines stand in the order in which the server got them: those of one run and stream in the order
/// in which they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Behind this line; where a reader goes on. Not part of what is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    pub at: TimestampMs,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    pub stream: LogStream,
    /// As [`ReplicaLine::number`].
    #[serde(default, rename = "n", skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<LogMark>,
    /// Of a run that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitFacts>,
    pub line: String,
}

impl LogLine {
    /// A line of the system's own.
    pub fn of_system(at: TimestampMs, mark: Option<LogMark>, line: impl Into<String>) -> Self {
        Self {
            cursor: None,
            at,
            deployment: None,
            replica: None,
            run: None,
            stream: LogStream::System,
            number: None,
            mark,
            exit: None,
            line: line.into(),
        }
    }
}
