//! One replica: at an address, with the idle connections to it, or a site with its files.
//!
//! The pool belongs to the backend: a new replica at a reused address never gets a connection of the old one. Each
//! thread has its own shelf, so a connection is used only on the runtime that drives it.

use crate::body::RequestBody;
use crate::gate::Gate;
use crate::limits::UPSTREAM_IDLE_MAX;
use crate::site::Site;
use hyper::client::conn::http1::SendRequest;
use slipway_types::route::Target;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub(crate) type Sender = SendRequest<RequestBody>;

/// One target of the route table.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) target: Target,
    pub(crate) gate: Arc<Gate>,
    pub(crate) service: Service,
    shelves: Box<[Mutex<Vec<Idle>>]>,
}

/// What answers at a target.
#[derive(Debug, Clone)]
pub(crate) enum Service {
    Process(SocketAddr),
    Site(Arc<Site>),
    /// A site whose manifest cannot be read.
    Broken,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
    /// How long the upstream keeps it, less a margin.
    keep: Duration,
}

impl Idle {
    fn is_usable(&self, now: Instant, idle_max: Duration) -> bool {
        now.duration_since(self.since) < self.keep.min(idle_max) && self.sender.is_ready()
    }
}

impl Backend {
    pub(crate) fn new(target: Target, gate: Arc<Gate>, service: Service, threads: usize) -> Self {
        let shelves = (0..threads).map(|_| Mutex::default()).collect();
        Self { target, gate, service, shelves }
    }

    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.service, Service::Broken)
    }

    /// The idle connection that was used last, if it is at most `idle_max` old.
    pub(crate) fn take_idle(&self, thread: usize, idle_max: Duration) -> Option<Sender> {
        let mut shelf = self.shelf(thread);
        let now = Instant::now();
        // Last in, first out: when the youngest is too old for this request, all are.
        if shelf.last().is_some_and(|idle| now.duration_since(idle.since) >= idle.keep.min(idle_max)) {
            return None;
        }
        while let Some(idle) = shelf.pop() {
            if idle.is_usable(now, idle_max) {
                return Some(idle.sender);
            }
        }
        None
    }

    /// Keeps a connection for the next request, unless the replica gets no more of them.
    pub(crate) fn keep_idle(&self, thread: usize, sender: Sender, keep: Duration) {
        if keep.is_zero() || !sender.is_ready() {
            return;
        }
        let mut shelf = self.shelf(thread);
        // Read under the lock: `close` clears the shelves after it closed the gate.
        if !self.gate.is_closed() && shelf.len() < UPSTREAM_IDLE_MAX {
            shelf.push(Idle { sender, since: Instant::now(), keep });
        }
    }

    /// Drops what is too old or was closed by the replica.
    pub(crate) fn sweep(&self, thread: usize, idle_max: Duration) {
        let now = Instant::now();
        self.shelf(thread).retain(|idle| idle.is_usable(now, idle_max));
    }

    /// No more requests; idle connections are closed, so that the app can end at once.
    pub(crate) fn close(&self) {
        self.gate.close();
        for thread in 0..self.shelves.len() {
            self.shelf(thread).clear();
        }
    }

    fn shelf(&self, thread: usize) -> MutexGuard<'_, Vec<Idle>> {
        // A panic elsewhere leaves a list of connections as good as before.
        self.shelves[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is in flight at a backend. Dropping it takes the request out of the count.
#[derive(Debug)]
pub(crate) struct Permit {
    backend: Arc<Backend>,
}

impl Permit {
    /// None when the backend is no target any more: the table that named it is an old one.
    pub(crate) fn enter(backend: &Arc<Backend>) -> Option<Self> {
        backend.gate.try_enter().then(|| Self { backend: backend.clone() })
    }

    pub(crate) fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Clone for Permit {
    fn clone(&self) -> Self {
        self.backend.gate.enter_again();
        Self { backend: self.backend.clone() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.backend.gate.leave();
    }
}
