//! The supervisor's handle of one running sandbox.
//!
//! Dropping the last handle lets go of the sandbox and leaves it running: only [`Sandbox::stop`] ends it.

use crate::error::SandboxError;
use crate::event::{SandboxEvent, TaskState};
use crate::link::{self, Numbered, Order};
use crate::wire::AgentFacts;
use slipway_types::agent::{
    AgentCommand, ArchiveSpec, LINE_BYTES_MAX, ListeningSocket, TaskSpec, VALUES_VERSION, ValuesSpec,
};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, watch};

/// Beyond the grace time: SIGKILL, tidying, unmounting and removal, on a loaded machine. More than any driver waits, which knows
/// what to say: this is for a shim that hangs.
const STOP_MARGIN: Duration = Duration::from_secs(110);

#[derive(Debug, Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) id: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) events: Mutex<mpsc::UnboundedReceiver<Numbered>>,
    /// The last event that a consumer was given.
    pub(crate) handed: AtomicU64,
    pub(crate) acknowledged: watch::Sender<u64>,
    pub(crate) ended: watch::Receiver<bool>,
    pub(crate) tasks: Vec<TaskState>,
    pub(crate) listening: Vec<ListeningSocket>,
    pub(crate) agent: AgentFacts,
    pub(crate) boot_steps: OnceLock<Vec<(String, u64)>>,
}

impl Sandbox {
    pub(crate) fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Where the time of its boot went, in microseconds. Empty after an adoption.
    pub fn boot_steps(&self) -> &[(String, u64)] {
        self.inner.boot_steps.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn booted_in(&self, steps: Vec<(String, u64)>) {
        let _ = self.inner.boot_steps.set(steps);
    }

    /// Where the host reaches what listens in the sandbox.
    pub fn address(&self) -> Ipv4Addr {
        self.inner.address
    }

    /// The tasks as they were when this supervisor attached: empty after a boot, what ran or ended after an adoption.
    pub fn tasks(&self) -> &[TaskState] {
        &self.inner.tasks
    }

    /// The listening sockets as they were when this supervisor attached; changes come as events.
    pub fn listening(&self) -> &[ListeningSocket] {
        &self.inner.listening
    }

    /// Asks for a task; [`SandboxEvent::Started`] or [`SandboxEvent::StartFailed`] answers.
    ///
    /// # Errors
    /// When the sandbox is gone or the task does not fit one line of the protocol.
    pub async fn start_task(&self, task: TaskSpec) -> Result<(), SandboxError> {
        self.command(AgentCommand::StartTask(task)).await
    }

    /// Asks for an archive; it comes as the output of the task of that number.
    ///
    /// # Errors
    /// When the sandbox is gone.
    pub async fn start_archive(&self, archive: ArchiveSpec) -> Result<(), SandboxError> {
        self.command(AgentCommand::StartArchive(archive)).await
    }

    /// Sends a signal to the whole process group of a task.
    ///
    /// # Errors
    /// When the sandbox is gone.
    pub async fn signal(&self, task: u32, signal: i32) -> Result<(), SandboxError> {
        self.command(AgentCommand::Signal { task, signal }).await
    }

    /// Writes the app's variables, and tells it where that is asked for; [`SandboxEvent::ValuesWritten`] answers.
    ///
    /// # Errors
    /// When the sandbox is gone, was booted by a version of Slipway that does not know of this, or they do not fit one line.
    pub async fn write_values(&self, values: ValuesSpec) -> Result<(), SandboxError> {
        if self.inner.agent.version < VALUES_VERSION {
            return Err(SandboxError::OldAgent { id: self.inner.id.clone() });
        }
        self.command(AgentCommand::WriteValues(values)).await
    }

    /// Revision of the variables that the app had been given in a file when this supervisor attached.
    pub fn values(&self) -> Option<u64> {
        self.inner.agent.values
    }

    /// The events that nobody has taken yet. Two streams of one sandbox share them, each event going to one.
    pub fn events(&self) -> Events {
        Events { inner: Arc::clone(&self.inner) }
    }

    /// SIGTERM, then SIGKILL after `grace`; returns when nothing is left but a writable image that is to be kept,
    /// which is unmounted and complete. It needs nobody to read the events. Gone already: fine.
    ///
    /// # Errors
    /// When even removal by force did not end in time.
    pub async fn stop(&self, grace: Duration) -> Result<(), SandboxError> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        for (order, bound) in [(Order::Stop { grace_ms }, grace + STOP_MARGIN), (Order::Abandon, STOP_MARGIN)] {
            // Refused only when the link has ended, which `ended` tells too.
            let _ = self.inner.orders.send(order).await;
            let mut ended = self.inner.ended.clone();
            let outcome = tokio::time::timeout(bound, ended.wait_for(|ended| *ended)).await;
            match outcome {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(_)) => return Err(SandboxError::Gone { id: self.inner.id.clone() }),
                Err(_) => tracing::warn!(sandbox = self.inner.id, "the sandbox did not end in time"),
            }
        }
        let waited_s = (grace + 2 * STOP_MARGIN).as_secs();
        Err(SandboxError::StopTimeout { id: self.inner.id.clone(), waited_s })
    }

    async fn command(&self, command: AgentCommand) -> Result<(), SandboxError> {
        let line = link::agent_line(&command);
        // With its newline.
        if line.len() >= LINE_BYTES_MAX {
            return Err(SandboxError::TaskTooLarge { id: self.inner.id.clone(), bytes: line.len() });
        }
        let gone = |_| SandboxError::Gone { id: self.inner.id.clone() };
        self.inner.orders.send(Order::Agent(line)).await.map_err(gone)
    }
}

/// What a sandbox says, in order. An event counts as taken care of when the next one is asked for: after a crash of
/// the server the one before may come again, and none is lost.
#[derive(Debug)]
pub struct Events {
    inner: Arc<Inner>,
}

impl Events {
    /// The next event; none after [`SandboxEvent::Gone`].
    pub async fn next(&mut self) -> Option<SandboxEvent> {
        let mut events = self.inner.events.lock().await;
        let handed = self.inner.handed.load(Ordering::Acquire);
        self.inner.acknowledged.send_if_modified(|last| std::mem::replace(last, handed.max(*last)) < handed);
        let Numbered { sequence, event } = events.recv().await?;
        self.inner.handed.fetch_max(sequence, Ordering::AcqRel);
        Some(event)
    }

    /// The next event with its number, which stays held by the shim until [`Events::acknowledge`] says otherwise: a later
    /// supervisor gets it again. Cancel safe.
    pub async fn next_kept(&mut self) -> Option<(u64, SandboxEvent)> {
        let Numbered { sequence, event } = self.inner.events.lock().await.recv().await?;
        Some((sequence, event))
    }

    /// All events up to this one are taken care of.
    pub fn acknowledge(&self, through: u64) {
        self.inner.acknowledged.send_if_modified(|last| std::mem::replace(last, through.max(*last)) < through);
    }
}
