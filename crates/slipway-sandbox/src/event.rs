//! What a sandbox tells its supervisor.

use serde::{Deserialize, Serialize};
use slipway_types::agent::{ListeningSocket, Stream};
use slipway_types::host::ExitFacts;

/// Why a sandbox is gone that was stopped, and of which all is in order: a kept image is whole. Whatever else happened is said
/// instead or behind it.
pub const STOPPED: &str = "it was stopped";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum SandboxEvent {
    Started {
        task: u32,
        /// As the sandbox counts it.
        pid: i32,
    },
    StartFailed {
        task: u32,
        errno: i32,
        message: String,
    },
    Output {
        task: u32,
        stream: Stream,
        #[serde(with = "base64_text")]
        bytes: Vec<u8>,
    },
    /// Output that was written while no supervisor was connected and did not fit what a shim holds.
    Dropped {
        bytes: u64,
    },
    /// Output that was left out because the task wrote faster than its rate.
    Skipped {
        task: u32,
        stream: Stream,
        bytes: u64,
        lines: u64,
    },
    /// All output of the task came before this.
    Exited {
        task: u32,
        facts: ExitFacts,
        /// The writable image was full while the task ran or when it ended.
        disk_full: bool,
    },
    Listening {
        sockets: Vec<ListeningSocket>,
    },
    /// The app's variables are in their file, and it was told so where that was asked for; or why not.
    ValuesWritten {
        revision: u64,
        trouble: Option<String>,
    },
    /// A command could not be carried out by the agent.
    Refused {
        message: String,
    },
    /// The last event: the sandbox and all that belonged to it are gone.
    Gone {
        reason: String,
    },
}

/// What a shim knows of a task; told when a supervisor attaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskState {
    pub task: u32,
    /// None: it runs, or is about to.
    pub exit: Option<ExitFacts>,
    pub disk_full: bool,
}

/// Output as text in JSON.
mod base64_text {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        STANDARD.decode(text.as_bytes()).map_err(de::Error::custom)
    }
}
