//! The agent protocol: newline-delimited JSON over one persistent connection (a unix socket, or vsock).
//!
//! The host dials, the guest listens. The first line from the guest is [`AgentEvent::Hello`]. What the guest says is
//! untrusted: a line longer than [`LINE_BYTES_MAX`] or one that does not parse ends the connection.

use crate::Secret;
use crate::site::SitePlan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub const PROTOCOL_VERSION: u32 = 2;
/// An agent of this version or later is spoken to; what it does not know yet is not asked of it.
pub const PROTOCOL_VERSION_MIN: u32 = 1;
/// The first version that knows [`AgentCommand::WriteValues`].
pub const VALUES_VERSION: u32 = 2;
/// Where an app that wants it finds its variables: in memory, in containers and machines alike.
pub const VALUES_PATH: &str = "/dev/shm/slipway-env.json";
/// Longest line either way, in bytes, newline included.
pub const LINE_BYTES_MAX: usize = 256 * 1024;
/// Largest chunk of a task's output in one event, before base64.
pub const OUTPUT_CHUNK_BYTES_MAX: usize = 32 * 1024;
/// Output bytes that the agent sends before it waits for [`AgentCommand::Credit`].
pub const OUTPUT_CREDIT_BYTES: u64 = 1024 * 1024;
/// Largest chunk of a file in one [`AgentCommand::File`], before base64.
pub const FILE_CHUNK_BYTES_MAX: usize = 128 * 1024;
/// All files that a machine is given together: a certificate bundle and a few lines.
pub const FILES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// In one [`AgentEvent::Listening`]: more would not fit into a line, and nobody looks at them.
pub const LISTENING_SOCKETS_MAX: usize = 1024;
/// Where the agent of a virtual machine listens: its vsock port.
pub const VSOCK_PORT: u32 = 1024;
/// What it writes to the machine's console once it listens there.
pub const LISTENING_LINE: &str = "slipway-agent: listening";
/// What it writes there instead, and ends, when the kernel got the speed of its timer wrong.
pub const TIMER_LINE: &str = "slipway-agent: the timer is too slow";
/// On the kernel's command line: the agent is to look at the timer before it listens.
pub const CHECK_TIMER_VARIABLE: &str = "SLIPWAY_CHECK_TIMER";

/// Host to guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum AgentCommand {
    /// A part of a file that the sandbox is shown read-only; parts of one path follow each other. Only to an agent that
    /// owns a machine, and only before `configure`.
    File {
        path: String,
        base64: String,
    },
    /// Once, first: host name and clock; for an agent that owns a virtual machine, all that the machine is to become.
    Configure {
        hostname: String,
        unix_time_ms: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine: Option<Machine>,
    },
    StartTask(TaskSpec),
    /// A task of the agent's own: its standard output is an archive of what a command wrote, its standard error one line, the
    /// [`ArchiveReport`].
    StartArchive(ArchiveSpec),
    /// To the whole process group of the task.
    Signal {
        task: u32,
        signal: i32,
    },
    /// Writes the app's variables into a file, and may tell the app so. [`AgentEvent::ValuesWritten`] answers. Like
    /// `start_task` it is one line, so whatever could be started with can be written too.
    WriteValues(ValuesSpec),
    /// Lets the agent send that many more output bytes.
    Credit {
        bytes: u64,
    },
    Stats,
    /// SIGTERM to all, SIGKILL after the grace time, then the agent exits.
    Shutdown {
        grace_ms: u64,
    },
}

/// What the agent makes of a virtual machine that it is the first process of. Devices are names below `/dev`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Images of the layers, lowest first. The devices are read-only.
    pub layers: Vec<String>,
    /// The image that takes what is written.
    pub writable: String,
    pub cache: Option<CacheDevice>,
    /// The written image holds the tree of an earlier install. The agent makes it ready to be installed on before anything runs;
    /// one that is of no use is [`AgentEvent::ConfigureFailed`].
    #[serde(default)]
    pub older_tree: bool,
    /// What becomes of the written tree at the end, before the image is unmounted. An image that could not be tidied is left
    /// unclean, and so never becomes a layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tidy: Option<Tidy>,
    pub network: MachineNetwork,
    pub limits: MachineLimits,
    /// User and group that missing directories are made for.
    pub app_uid: u32,
    pub app_gid: u32,
    /// Random bytes of the host's, base64: the guest's own generator starts from them.
    pub entropy: Secret,
    /// Said again by [`AgentEvent::Reseeded`]: no other machine was asked with the same number.
    pub reseed: u64,
    /// Sizes that devices must have before they are mounted: a machine that was restored learns of its disks a moment later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceSize>,
}

/// What stays of a written tree when its sandbox ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tidy {
    /// Names at the top of the tree. Everything else there goes.
    pub keep: Vec<String>,
    /// Relative paths of directories that go all the same. A link on the way leads nowhere.
    pub remove: Vec<String>,
}

/// An archive of what stands in the sandbox, asked of the guest because the host does not mount what a guest wrote. The format
/// is the crate `slipway-tree`'s.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveSpec {
    /// Among the numbers of the tasks.
    pub task: u32,
    /// Whoever reads: files that this user may not read are an error.
    pub uid: u32,
    pub gid: u32,
    pub of: ArchiveOf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum ArchiveOf {
    /// The regular files among these, by path relative to `/app`.
    Files { paths: Vec<String> },
    /// What a site publishes, by published path, links followed. `root` is the service's directory, relative to `/app`.
    Site { root: String, plan: SitePlan },
}

/// What the guest has to say about an archive. It is the guest's word, for the log and the diagnosis of its own deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArchiveReport {
    /// What was left out or done otherwise than expected.
    pub notes: Vec<String>,
    /// Why the archive is not whole.
    pub trouble: Option<ArchiveTrouble>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveTrouble {
    /// As in [`crate::host::HostError`].
    pub code: String,
    pub message: String,
}

/// Of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSize {
    pub device: String,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheDevice {
    pub device: String,
    /// Absolute directories.
    pub targets: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineNetwork {
    pub address: std::net::Ipv4Addr,
    pub prefix: u8,
    pub gateway: std::net::Ipv4Addr,
    pub mtu: u32,
}

/// Of the tasks together; the kernel and the agent come on top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineLimits {
    pub memory_bytes: u64,
    pub processes_max: u32,
    /// Processor time in each period of 100 ms.
    pub cpu_quota_us: u64,
}

/// One process to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// Chosen by the host, unique in a sandbox's life.
    pub task: u32,
    pub argv: Vec<String>,
    pub env: BTreeMap<String, Secret>,
    pub cwd: String,
    pub uid: u32,
    pub gid: u32,
    /// Largest number of open files.
    pub open_files_max: u64,
    /// What it writes beyond this is dropped and counted, so that it never waits for whoever reads. None: it waits, and nothing is
    /// dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_rate: Option<OutputRate>,
}

impl Default for OutputRate {
    fn default() -> Self {
        Self { bytes_per_second: crate::log::REPLICA_RATE_BYTES, burst_bytes: crate::log::REPLICA_BURST_BYTES }
    }
}

/// How fast the output of a task is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputRate {
    pub bytes_per_second: u64,
    /// At once, after it was silent for a while.
    pub burst_bytes: u64,
}

/// Variables as a file: one JSON object of names and values. It is there as a whole or not at all, and only its user reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValuesSpec {
    /// Of these values; said again by the answer.
    pub revision: u64,
    pub path: String,
    pub values: BTreeMap<String, Secret>,
    pub uid: u32,
    pub gid: u32,
    /// Sent once the file is there: to the process of the task alone, not to its group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<TaskSignal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSignal {
    pub task: u32,
    pub signal: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
}

/// Guest to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum AgentEvent {
    Hello {
        version: u32,
    },
    /// The machine's random numbers begin anew from the host's bytes, and nothing that runs in it was started before. Between
    /// `configure` and `ready`; a host does not use a machine that leaves it out.
    Reseeded {
        reseed: u64,
    },
    /// `configure` is done.
    Ready,
    /// The machine could not become what `configure` asked for. The agent ends.
    ConfigureFailed {
        message: String,
    },
    Started {
        task: u32,
        pid: i32,
    },
    /// The task could not be started at all: no such program or directory, no permission.
    StartFailed {
        task: u32,
        errno: i32,
        message: String,
    },
    Output {
        task: u32,
        stream: Stream,
        base64: String,
    },
    /// Of a task with an [`OutputRate`]: so much of this stream was left out here.
    Dropped {
        task: u32,
        stream: Stream,
        bytes: u64,
        lines: u64,
    },
    /// All output of the task was sent before this.
    Exited {
        task: u32,
        code: Option<i32>,
        signal: Option<i32>,
        /// The kernel killed a process of the sandbox for memory while the task ran.
        out_of_memory: bool,
        /// The writable file system was full while the task ran or when it ended.
        #[serde(default)]
        disk_full: bool,
    },
    /// The listening TCP sockets of the sandbox, at most [`LISTENING_SOCKETS_MAX`]; sent when the set changes.
    Listening {
        sockets: Vec<ListeningSocket>,
    },
    Stats {
        memory_bytes: u64,
        processes: u32,
        cpu_us: u64,
    },
    /// The answer to [`AgentCommand::WriteValues`].
    ValuesWritten {
        revision: u64,
        /// Why they are not there, or nobody was told. The former file is still there then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
    },
    /// A command could not be carried out.
    Refused {
        message: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListeningSocket {
    /// `0.0.0.0`, `127.0.0.1`, `::`, …
    pub address: std::net::IpAddr,
    pub port: u16,
}
