//! The network of sandboxes: each has a namespace and a veth pair of its own, made ahead.
//!
//! Guarantees: a sandbox that claims a slot finds it ready; a slot's rules are in force before it is handed out; a
//! slot that is released leaves nothing behind. Two servers on one machine are kept apart by their subnets.

pub(crate) mod cidr;
mod resolver;
mod slot;
mod table;

pub(crate) use resolver::resolvers;
pub(crate) use slot::{Slot, inside};

use crate::config::NetworkConfig;
use crate::program::ProgramError;
use slot::Layout;
use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Slots that stand ready. Four cover a worker and a few replicas that start at once; more are made while these boot.
const IDLE_SLOTS: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("the subnet `{subnet}` cannot be used: the prefix must be 16 to 24")]
    Subnet { subnet: String },
    #[error("all {count} network slots are in use")]
    Exhausted { count: u32 },
    #[error("cannot {action} `{path}`")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot enter the network namespace `{name}`")]
    Enter {
        name: String,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("a background step ended early: {why}")]
    Background { why: String },
}

/// Takes away the rules that servers with this network leave in force, when nothing of theirs runs any more.
///
/// # Errors
/// When the subnet is none for sandboxes, or `nft` is missing or fails.
pub fn remove_rules(config: &NetworkConfig) -> Result<(), NetworkError> {
    table::remove(&Layout::new(config.subnet)?)
}

/// All slots of one server.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    mtu: u32,
    dns: Vec<Ipv4Addr>,
    slots: Mutex<Slots>,
    /// One refill at a time.
    refilling: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Slots {
    idle: VecDeque<Slot>,
    /// Indexes that are idle, in use or being made.
    taken: BTreeSet<u32>,
    /// Where the search for a free index begins: a freed address rests as long as possible, because a route may still
    /// name it for a moment.
    next: u32,
    /// No slot is made any more.
    closed: bool,
}

impl Network {
    /// Puts the rules in force in one step, removes slots that nobody uses, and begins to make slots. Blocking.
    pub(crate) fn open(config: &NetworkConfig, in_use: &[Slot]) -> Result<Self, NetworkError> {
        let layout = Layout::new(config.subnet)?;
        let dns = resolvers(&config.dns);
        table::enable_forwarding()?;
        table::install(&layout, &config.allow, &dns, in_use)?;
        slot::remove_strays(&layout, in_use);
        let slots = Slots { taken: in_use.iter().map(|slot| slot.index).collect(), ..Slots::default() };
        let inner =
            Inner { layout, mtu: slot::host_mtu(), dns, slots: Mutex::new(slots), refilling: Default::default() };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn dns(&self) -> &[Ipv4Addr] {
        &self.inner.dns
    }

    /// Name of the cgroup above all sandboxes of this server.
    pub(crate) fn cgroup(&self) -> String {
        format!("slipway-{}", self.inner.layout.tag())
    }

    /// A slot that is ready: at once when one stands idle.
    pub(crate) async fn claim(&self) -> Result<Slot, NetworkError> {
        let idle = self.slots().idle.pop_front();
        let slot = match idle {
            Some(slot) => slot,
            None => self.make().await?,
        };
        self.refill();
        Ok(slot)
    }

    /// Makes slots in the background until [`IDLE_SLOTS`] stand ready. What is returned ends when that is done.
    pub(crate) fn refill(&self) -> tokio::task::JoinHandle<()> {
        let network = self.clone();
        tokio::spawn(async move {
            let _one = network.inner.refilling.lock().await;
            while network.wants_more() {
                match network.make().await {
                    Ok(slot) => network.put_idle(slot).await,
                    Err(error) => {
                        tracing::warn!(%error, "cannot prepare a network slot");
                        return;
                    }
                }
            }
        })
    }

    /// Removes a slot that was claimed. What cannot be removed is left to the next start, and logged.
    pub(crate) async fn release(&self, slot: Slot) {
        let layout = self.inner.layout;
        let index = slot.index;
        let removed = tokio::task::spawn_blocking(move || slot::remove(&layout, &slot)).await;
        match removed {
            Ok(Ok(())) => {
                self.slots().taken.remove(&index);
            }
            // The index stays taken: a half-removed slot is not handed out again.
            Ok(Err(error)) => tracing::warn!(%error, index, "cannot remove a network slot"),
            Err(error) => tracing::warn!(%error, index, "cannot remove a network slot"),
        }
    }

    /// Removes the idle slots. The rules stay: running sandboxes outlive the server.
    pub(crate) async fn close(&self) {
        let idle = {
            let mut slots = self.slots();
            slots.closed = true;
            std::mem::take(&mut slots.idle)
        };
        let _one = self.inner.refilling.lock().await;
        futures_util::future::join_all(idle.into_iter().map(|slot| self.release(slot))).await;
    }

    async fn put_idle(&self, slot: Slot) {
        let refused = {
            let mut slots = self.slots();
            if slots.closed {
                Some(slot)
            } else {
                slots.idle.push_back(slot);
                None
            }
        };
        if let Some(slot) = refused {
            self.release(slot).await;
        }
    }

    fn wants_more(&self) -> bool {
        let slots = self.slots();
        !slots.closed && slots.idle.len() < IDLE_SLOTS
    }

    async fn make(&self) -> Result<Slot, NetworkError> {
        let (layout, mtu) = (self.inner.layout, self.inner.mtu);
        let index = self.take_index()?;
        let made = tokio::task::spawn_blocking(move || slot::make(&layout, index, mtu)).await;
        let made = made.unwrap_or_else(|error| Err(NetworkError::Background { why: error.to_string() }));
        if made.is_err() {
            self.slots().taken.remove(&index);
        }
        made
    }

    fn take_index(&self) -> Result<u32, NetworkError> {
        let count = self.inner.layout.count();
        let mut slots = self.slots();
        let from = slots.next;
        let mut candidates = (0..count).map(|step| (from + step) % count);
        let index = candidates.find(|index| !slots.taken.contains(index)).ok_or(NetworkError::Exhausted { count })?;
        slots.next = (index + 1) % count;
        slots.taken.insert(index);
        Ok(index)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
