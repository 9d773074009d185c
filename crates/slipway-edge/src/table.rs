//! The present route table: host name to route, and the choice of a target.
//!
//! A table is immutable and replaced as a whole; backends that both tables name are shared, with their connections.

use crate::backend::{Backend, Permit};
use crate::rules::Rules;
use crate::wake::Waits;
use slipway_types::site::SiteRules;
use slipway_types::{DeploymentId, ProjectName, ServiceName};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one generation says.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) generation: u64,
    pub(crate) routes: HashMap<String, Arc<RouteEntry>>,
    /// Each backend once, in no order.
    pub(crate) backends: Vec<Arc<Backend>>,
}

/// Who answers for a host name.
#[derive(Debug)]
pub(crate) struct RouteEntry {
    pub(crate) project: ProjectName,
    pub(crate) service: ServiceName,
    pub(crate) deployment: Option<DeploymentId>,
    /// What the table says, and what it is compiled to.
    pub(crate) written_rules: Arc<SiteRules>,
    pub(crate) rules: Arc<Rules>,
    pub(crate) unavailable_because: Option<String>,
    /// Its owner has stopped it.
    pub(crate) stopped: bool,
    /// Some: without a target, requests wait for one.
    pub(crate) waits: Option<Waits>,
    pub(crate) backends: Vec<Arc<Backend>>,
    /// Where the next choice starts, so that equals take turns.
    pub(crate) turn: AtomicUsize,
}

/// The outcome of a choice.
pub(crate) enum Picked {
    Permit(Permit),
    /// The route has no target.
    Nobody,
    /// Every target was closed: a newer table is there.
    Outdated,
}

impl RouteEntry {
    /// Takes the target with the fewest requests in flight, one that was not `tried` before if there is one.
    pub(crate) fn pick(&self, tried: &[Arc<Backend>]) -> Picked {
        if self.backends.is_empty() {
            return Picked::Nobody;
        }
        match self.least_busy(tried).and_then(Permit::enter) {
            Some(permit) => Picked::Permit(permit),
            None => Picked::Outdated,
        }
    }

    fn least_busy(&self, tried: &[Arc<Backend>]) -> Option<&Arc<Backend>> {
        if let [only] = self.backends.as_slice() {
            return Some(only);
        }
        let count = self.backends.len();
        let start = self.turn.fetch_add(1, Ordering::Relaxed) % count;
        let load = |backend: &Arc<Backend>| {
            let again = tried.iter().any(|other| Arc::ptr_eq(other, backend));
            (backend.is_broken(), backend.gate.is_closed(), again, backend.gate.in_flight())
        };
        (0..count).map(|offset| &self.backends[(start + offset) % count]).min_by_key(|backend| load(backend))
    }
}
