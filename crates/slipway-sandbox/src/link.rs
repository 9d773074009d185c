//! The supervisor's side of the connection to a shim, and the end of a sandbox.
//!
//! One task per sandbox. It reads at once what comes, so that an end is noticed whoever reads events; what it holds
//! is bounded by the agent's credit, which acknowledgements renew, and by the ring of the shim. When the sandbox is
//! gone it removes what is left, then says so.

use crate::error::SandboxError;
use crate::event::{SandboxEvent, TaskState};
use crate::home::{BootSpec, Home, SHIM_SOCKET, short_path};
use crate::network::Network;
use crate::reap::reap;
use crate::sandbox::{Inner, Sandbox};
use crate::wire::{AgentFacts, FromShim, ToShim, WIRE_LINE_BYTES_MAX};
use futures_util::StreamExt;
use slipway_types::agent::{AgentCommand, ListeningSocket};
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Mutex, mpsc, watch};
use tokio_util::codec::{FramedRead, LinesCodec};

/// Orders that wait while the shim takes one; more callers wait in turn.
const ORDERS_MAX: usize = 16;
/// For connecting and the first answer. A shim does nothing else meanwhile.
const ATTACH_TIME_MAX: Duration = Duration::from_secs(10);
/// A shim whose connection broke but that lives is tried this often.
const ATTACH_TRIES: u32 = 3;
/// Between its last word and the end of a shim's process.
const SHIM_END_TIME_MAX: Duration = Duration::from_secs(5);

/// What a handle asks of the link. Not to be shown: a command may carry secrets.
pub(crate) enum Order {
    /// An encoded command for the agent.
    Agent(String),
    Stop {
        grace_ms: u64,
    },
    /// Removes the sandbox by force, with its shim.
    Abandon,
}

#[derive(Debug)]
pub(crate) struct Numbered {
    pub(crate) sequence: u64,
    pub(crate) event: SandboxEvent,
}

/// What the supervisor keeps for the end of a sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Remains {
    pub(crate) home: Home,
    pub(crate) boot: BootSpec,
    pub(crate) network: Network,
}

struct Link {
    remains: Remains,
    orders: mpsc::Receiver<Order>,
    acknowledged: watch::Receiver<u64>,
    events: mpsc::UnboundedSender<Numbered>,
    ended: watch::Sender<bool>,
    /// The last event that came.
    last: Option<u64>,
}

struct Connection {
    lines: FramedRead<OwnedReadHalf, LinesCodec>,
    writer: OwnedWriteHalf,
}

/// Why a connection is not served any more.
enum Served {
    /// Nobody holds the sandbox here, or another supervisor does.
    Detached,
    Broken,
    Gone {
        reason: String,
        shim_ends_within: Duration,
    },
}

pub(crate) fn agent_line(command: &AgentCommand) -> String {
    // Maps with text keys and numbers always encode.
    serde_json::to_string(command).unwrap_or_default()
}

/// Connects to the shim of a booted sandbox.
pub(crate) async fn attach(remains: Remains) -> Result<Sandbox, SandboxError> {
    let id = remains.boot.spec.id.clone();
    let (connection, Known { tasks, listening, agent }) = connect(&remains.home, None)
        .await
        .map_err(|source| SandboxError::file("attach to", remains.home.dir.join(SHIM_SOCKET))(source))?;
    let (orders, orders_receiver) = mpsc::channel(ORDERS_MAX);
    let (events_sender, events) = mpsc::unbounded_channel();
    let (acknowledged, acknowledged_receiver) = watch::channel(0);
    let (ended_sender, ended) = watch::channel(false);
    let address = remains.boot.slot.guest;
    let link = Link {
        remains,
        orders: orders_receiver,
        acknowledged: acknowledged_receiver,
        events: events_sender,
        ended: ended_sender,
        last: None,
    };
    tokio::spawn(link.run(connection));
    let (events, handed) = (Mutex::new(events), AtomicU64::new(0));
    let boot_steps = Default::default();
    Ok(Sandbox::new(Inner {
        id,
        address,
        orders,
        events,
        handed,
        acknowledged,
        ended,
        tasks,
        listening,
        agent,
        boot_steps,
    }))
}

/// What a shim tells a supervisor first.
struct Known {
    tasks: Vec<TaskState>,
    listening: Vec<ListeningSocket>,
    agent: AgentFacts,
}

async fn connect(home: &Home, after: Option<u64>) -> std::io::Result<(Connection, Known)> {
    let attaching = async {
        let (_dir, path) = short_path(&home.dir, SHIM_SOCKET)?;
        let (reader, writer) = UnixStream::connect(path).await?.into_split();
        let lines = FramedRead::new(reader, LinesCodec::new_with_max_length(WIRE_LINE_BYTES_MAX));
        let mut connection = Connection { lines, writer };
        connection.send(&ToShim::Attach { after }).await?;
        match connection.next().await {
            Some(FromShim::Attached { tasks, listening, agent }) => Ok((connection, Known { tasks, listening, agent })),
            _ => Err(std::io::Error::other("the shim did not answer")),
        }
    };
    tokio::time::timeout(ATTACH_TIME_MAX, attaching).await?
}

pub(crate) fn parse(line: &str) -> Option<FromShim> {
    serde_json::from_str(line).ok()
}

/// An agent's command that is encoded already, framed by hand: its values are secret and are not parsed again.
pub(crate) fn agent_frame(line: &str) -> String {
    format!("{{\"do\":\"agent\",\"command\":{line}}}\n")
}

impl Connection {
    /// None: the connection is over, or what came is not the protocol.
    async fn next(&mut self) -> Option<FromShim> {
        parse(&self.lines.next().await?.ok()?)
    }

    async fn send(&mut self, line: &ToShim) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.writer.write_all(&text).await
    }

    async fn send_agent(&mut self, line: &str) -> std::io::Result<()> {
        self.writer.write_all(agent_frame(line).as_bytes()).await
    }
}

impl Link {
    async fn run(mut self, mut connection: Connection) {
        let (reason, shim_ends_within) = loop {
            match self.serve(&mut connection).await {
                Served::Detached => return,
                Served::Gone { reason, shim_ends_within } => break (reason, shim_ends_within),
                Served::Broken => match self.reconnect().await {
                    Some(again) => connection = again,
                    None => break ("the process that held the sandbox died".to_owned(), Duration::ZERO),
                },
            }
        };
        drop(connection);
        self.finish(reason, shim_ends_within).await;
    }

    async fn serve(&mut self, connection: &mut Connection) -> Served {
        loop {
            let sent = tokio::select! {
                line = connection.next() => match line {
                    Some(FromShim::Event { sequence, event: SandboxEvent::Gone { reason } }) => {
                        let _ = connection.send(&ToShim::Acknowledge { sequence }).await;
                        return Served::Gone { reason, shim_ends_within: SHIM_END_TIME_MAX };
                    }
                    Some(FromShim::Event { sequence, event }) => {
                        self.last = Some(sequence);
                        // Nobody listens any more: the order channel is closed too and ends the link.
                        let _ = self.events.send(Numbered { sequence, event });
                        Ok(())
                    }
                    Some(FromShim::Replaced) => return Served::Detached,
                    Some(FromShim::Attached { .. }) | None => return Served::Broken,
                },
                order = self.orders.recv() => match order {
                    Some(Order::Agent(line)) => connection.send_agent(&line).await,
                    Some(Order::Stop { grace_ms }) => connection.send(&ToShim::Stop { grace_ms }).await,
                    Some(Order::Abandon) => {
                        let reason = "it was removed by force".to_owned();
                        return Served::Gone { reason, shim_ends_within: Duration::ZERO };
                    }
                    None => return Served::Detached,
                },
                Ok(()) = self.acknowledged.changed() => {
                    let sequence = *self.acknowledged.borrow_and_update();
                    connection.send(&ToShim::Acknowledge { sequence }).await
                }
            };
            if sent.is_err() {
                return Served::Broken;
            }
        }
    }

    async fn reconnect(&self) -> Option<Connection> {
        for _ in 0..ATTACH_TRIES {
            if !self.remains.home.shim_alive() {
                return None;
            }
            // After an event was sent here it is never asked for again, acknowledged or not.
            if let Ok((connection, ..)) = connect(&self.remains.home, self.last).await {
                return Some(connection);
            }
        }
        None
    }

    async fn finish(self, reason: String, shim_ends_within: Duration) {
        self.remains.remove(shim_ends_within).await;
        let sequence = self.last.unwrap_or(0) + 1;
        let _ = self.events.send(Numbered { sequence, event: SandboxEvent::Gone { reason } });
        let _ = self.ended.send(true);
    }
}

impl Remains {
    /// Removes all that is left of the sandbox. What fails is logged; the next start tries again.
    pub(crate) async fn remove(&self, shim_ends_within: Duration) {
        let home = self.home.clone();
        let removed = tokio::task::spawn_blocking(move || {
            if let Ok(state) = home.state() {
                state.shim.wait(shim_ends_within);
            }
            reap(&home)
        })
        .await;
        match removed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, dir = %self.home.dir.display(), "cannot remove a sandbox"),
            Err(error) => tracing::warn!(%error, dir = %self.home.dir.display(), "cannot remove a sandbox"),
        }
        self.network.release(self.boot.slot.clone()).await;
    }
}
