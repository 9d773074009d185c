//! What a supervisor and a shim say to each other: newline-delimited JSON over the shim's socket.
//!
//! The supervisor attaches with the last sequence that it has; the shim answers with what it knows, then sends every
//! event behind that, in order, each once. What is acknowledged is forgotten.

use crate::event::{SandboxEvent, TaskState};
use serde::{Deserialize, Serialize};
use slipway_types::agent::{AgentCommand, LINE_BYTES_MAX, ListeningSocket, PROTOCOL_VERSION_MIN};

/// A line carries one line of the agent's with a small frame around it.
pub(crate) const WIRE_LINE_BYTES_MAX: usize = 2 * LINE_BYTES_MAX;

/// Supervisor to shim.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "do")]
pub(crate) enum ToShim {
    /// First. `after` none: from the first event that nobody acknowledged.
    Attach {
        after: Option<u64>,
    },
    /// All events up to this one are taken care of.
    Acknowledge {
        sequence: u64,
    },
    Agent {
        command: Box<AgentCommand>,
    },
    Stop {
        grace_ms: u64,
    },
}

/// What a shim knows of its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentFacts {
    /// Of the protocol; one that a shim does not tell is the first.
    pub(crate) version: u32,
    /// Revision of the variables that the app was given last in a file.
    pub(crate) values: Option<u64>,
}

impl Default for AgentFacts {
    fn default() -> Self {
        Self { version: PROTOCOL_VERSION_MIN, values: None }
    }
}

/// Shim to supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub(crate) enum FromShim {
    Attached {
        tasks: Vec<TaskState>,
        listening: Vec<ListeningSocket>,
        #[serde(default)]
        agent: AgentFacts,
    },
    Event {
        sequence: u64,
        event: SandboxEvent,
    },
    /// Another supervisor attached: this connection is over, do not come back.
    Replaced,
}

/// Of the line by which a blank is claimed: a path.
pub(crate) const CLAIM_BYTES_MAX: u64 = 8 * 1024;

/// A line that a shim writes to its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "boot")]
pub(crate) enum BootReport {
    Ready { steps: Vec<(String, u64)> },
    Failed { why: String },
}
