//! Which layers and caches go, and why: a pure decision over an inventory.
//!
//! Never what is pinned, leased, not yet on the disk, or used since the question was asked; with a cold tier only what has its
//! copy there. Least recently used first, and never more than is needed.

use crate::inventory::{Stored, StoredId};
use crate::record::TOUCH_EVERY;
use slipway_types::{LayerKind, ServiceId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// A layer that one deployment made for itself, of a server that does not say whether it needs it, goes after this.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// What the hot tier may take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// All layers and caches together.
    pub hot_bytes: Option<u64>,
    /// Layers and caches of one service that no release needs.
    pub service_bytes: Option<u64>,
    /// What must be free on the disk.
    pub free_bytes_min: u64,
    /// Only layers with a cold copy may go. Caches go in any case: losing one costs only time.
    pub requires_cold: bool,
    /// Services of the server that asks. What one deployment of theirs made for itself goes at once when nothing holds it;
    /// of other servers' services it goes when it is old.
    pub own_services: BTreeSet<ServiceId>,
    /// Of those that are destroyed the caches go too.
    pub destroyed_services: BTreeSet<ServiceId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepMode {
    /// Says what would go.
    DryRun,
    Apply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvictionReason {
    /// Made for one deployment, to which nothing goes back.
    Unneeded,
    DiskFree,
    HotQuota,
    ServiceQuota,
    /// Somebody asked for it.
    Cleared,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eviction {
    pub id: StoredId,
    pub bytes: u64,
    pub reason: EvictionReason,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// In the order in which they go.
    pub evicted: Vec<Eviction>,
    pub freed_bytes: u64,
    /// How much is still missing after all that may go: the worst of the limits.
    pub short_bytes: u64,
}

/// What goes, so that `quota` holds. `free_bytes` is what the disk has free now; what is used at or after `asked_at` stays.
pub fn plan(stored: &[Stored], quota: &Quota, free_bytes: u64, asked_at: SystemTime) -> SweepReport {
    let mut candidates: Vec<&Stored> = stored.iter().filter(|one| may_go(one, quota, asked_at)).collect();
    candidates.sort_by_cached_key(|one| order(one));
    let mut plan = Plan { candidates, report: SweepReport::default() };
    plan.evict(u64::MAX, EvictionReason::Unneeded, |one| is_unneeded(one, quota, asked_at));
    plan.report.short_bytes = 0;
    let free_bytes = free_bytes.saturating_add(plan.report.freed_bytes);
    plan.evict(quota.free_bytes_min.saturating_sub(free_bytes), EvictionReason::DiskFree, |_| true);
    if let Some(limit) = quota.hot_bytes {
        let hot: u64 = stored.iter().map(|one| one.hot_bytes).sum();
        let over = hot.saturating_sub(plan.report.freed_bytes).saturating_sub(limit);
        plan.evict(over, EvictionReason::HotQuota, |_| true);
    }
    if let Some(limit) = quota.service_bytes {
        for (service, bytes) in plan.left_by_service(stored) {
            let of_service = |one: &Stored| one.service.as_ref() == Some(service);
            plan.evict(bytes.saturating_sub(limit), EvictionReason::ServiceQuota, of_service);
        }
    }
    plan.report
}

/// All that may go of a service, or of everything, whatever its age.
pub(crate) fn plan_clear(stored: &[Stored], service: Option<&ServiceId>) -> SweepReport {
    let may_go = |one: &&Stored| {
        let wanted = service.is_none_or(|service| one.service.as_ref() == Some(service));
        wanted && !one.pinned && !one.leased && one.hot_bytes > 0
    };
    let mut candidates: Vec<&Stored> = stored.iter().filter(may_go).collect();
    candidates.sort_by_cached_key(|one| order(one));
    let mut plan = Plan { candidates, report: SweepReport::default() };
    plan.evict(u64::MAX, EvictionReason::Cleared, |_| true);
    plan.report.short_bytes = 0;
    plan.report
}

fn may_go(one: &Stored, quota: &Quota, asked_at: SystemTime) -> bool {
    let is_cache = matches!(one.id, StoredId::Cache { .. });
    let kept = one.pinned || one.leased || !one.synced || one.used_at >= asked_at;
    one.hot_bytes > 0 && !kept && (is_cache || one.cold || !quota.requires_cold)
}

fn is_unneeded(one: &Stored, quota: &Quota, asked_at: SystemTime) -> bool {
    let is_of = |services: &BTreeSet<ServiceId>| one.service.as_ref().is_some_and(|service| services.contains(service));
    let is_destroyed = is_of(&quota.destroyed_services);
    let StoredId::Layer(layer) = &one.id else { return is_destroyed };
    let is_own = is_destroyed || is_of(&quota.own_services);
    let age = asked_at.duration_since(one.used_at).unwrap_or_default();
    slipway_types::cache::is_of_one_deployment(layer.kind) && (is_own || age > ORPHAN_AGE)
}

/// Least recently used first. Uses are noted by the minute; of equal age goes last what many services share and what takes
/// longest to make again.
fn order(one: &Stored) -> (u64, bool, SystemTime, StoredId) {
    let minute = age(one.used_at).as_secs() / TOUCH_EVERY.as_secs();
    let is_shared = matches!(&one.id, StoredId::Layer(layer)
        if matches!(layer.kind, LayerKind::Base | LayerKind::Toolchain));
    (minute, is_shared, one.used_at, one.id.clone())
}

fn age(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

struct Plan<'a> {
    /// That are not evicted yet, in order.
    candidates: Vec<&'a Stored>,
    report: SweepReport,
}

impl<'a> Plan<'a> {
    fn evict(&mut self, needed_bytes: u64, reason: EvictionReason, wanted: impl Fn(&Stored) -> bool) {
        let mut missing = needed_bytes;
        self.candidates.retain(|one| {
            if missing == 0 || !wanted(one) {
                return true;
            }
            missing = missing.saturating_sub(one.hot_bytes);
            self.report.freed_bytes += one.hot_bytes;
            self.report.evicted.push(Eviction { id: one.id.clone(), bytes: one.hot_bytes, reason });
            false
        });
        self.report.short_bytes = self.report.short_bytes.max(missing);
    }

    /// What each service takes beside what its releases stand on, less what goes already.
    fn left_by_service(&self, stored: &'a [Stored]) -> BTreeMap<&'a ServiceId, u64> {
        let gone: BTreeSet<&StoredId> = self.report.evicted.iter().map(|eviction| &eviction.id).collect();
        let mut bytes = BTreeMap::new();
        for one in stored.iter().filter(|one| !one.pinned && !gone.contains(&one.id)) {
            if let Some(service) = &one.service {
                *bytes.entry(service).or_default() += one.hot_bytes;
            }
        }
        bytes
    }
}
