//! The eviction plan: properties over any inventory, and the order in which things go.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use slipway_layers::eviction::{self, EvictionReason, Quota};
use slipway_layers::{Stored, StoredId, SweepReport};
use slipway_types::{LayerKind, LayerRef, ServiceId};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

const SERVICES: [&str; 3] = ["web", "api", "docs"];

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn service(n: usize) -> ServiceId {
    ServiceId::parse(SERVICES[n]).unwrap()
}

fn stored(kind: LayerKind, key: &str, bytes: u64, used_at: u64) -> Stored {
    Stored {
        id: StoredId::Layer(LayerRef::new(kind, key)),
        hot_bytes: bytes,
        service: None,
        used_at: at(used_at),
        pinned: false,
        leased: false,
        cold: false,
        synced: true,
    }
}

/// Anything that a directory may hold: many protected, many of equal age.
fn any_stored() -> impl Strategy<Value = Vec<Stored>> {
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1), any::<bool>(), prop::bool::weighted(0.9));
    let one = (0..LayerKind::ALL.len() + 1, 0..4_usize, 0..1000_u64, 0..20_u64, flags);
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let make = |(n, (kind, of, bytes, hour, flags)): (usize, (usize, usize, u64, u64, _))| {
            let (pinned, leased, cold, synced) = flags;
            let mut stored = stored(LayerKind::Base, "x", bytes, hour * 3600);
            stored.id = match LayerKind::ALL.get(kind) {
                Some(kind) => StoredId::Layer(LayerRef::new(*kind, n.to_string())),
                None => StoredId::Cache { service: service(of % 3), branch: n.to_string() },
            };
            stored.service = (of < 3).then(|| service(of));
            Stored { pinned, leased, cold, synced, ..stored }
        };
        all.into_iter().enumerate().map(make).collect()
    })
}

fn any_quota() -> impl Strategy<Value = (Quota, u64)> {
    let limit = || prop::option::of(0..15_000_u64);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (limit(), limit(), 0..20_000_u64, flags, 0..20_000_u64).prop_map(|(hot, service_limit, min, flags, free)| {
        let (cold, own, destroyed) = flags;
        let of = |wanted: bool, services: std::ops::Range<usize>| services.filter(|_| wanted).map(service).collect();
        let own_services: BTreeSet<_> = of(own, 0..2);
        let quota = Quota {
            hot_bytes: hot,
            service_bytes: service_limit,
            free_bytes_min: min,
            requires_cold: cold,
            own_services,
            destroyed_services: of(destroyed, 1..3),
        };
        (quota, free)
    })
}

/// How much each limit is exceeded by when those are gone.
fn excess(stored: &[Stored], quota: &Quota, free: u64, gone: &BTreeSet<StoredId>, reason: EvictionReason) -> Vec<u64> {
    let left = |wanted: &dyn Fn(&Stored) -> bool| -> u64 {
        stored.iter().filter(|one| wanted(one) && !gone.contains(&one.id)).map(|one| one.hot_bytes).sum()
    };
    let all: u64 = stored.iter().map(|one| one.hot_bytes).sum();
    let freed = all - left(&|_| true);
    match reason {
        EvictionReason::DiskFree => vec![quota.free_bytes_min.saturating_sub(free + freed)],
        EvictionReason::HotQuota => {
            vec![quota.hot_bytes.map_or(0, |limit| left(&|_| true).saturating_sub(limit))]
        }
        EvictionReason::ServiceQuota => (0..3)
            .map(|n| {
                let bytes = left(&|one| !one.pinned && one.service.as_ref() == Some(&service(n)));
                quota.service_bytes.map_or(0, |limit| bytes.saturating_sub(limit))
            })
            .collect(),
        EvictionReason::Unneeded | EvictionReason::Cleared => Vec::new(),
    }
}

const REASONS: [EvictionReason; 3] = [EvictionReason::DiskFree, EvictionReason::HotQuota, EvictionReason::ServiceQuota];

fn ids(report: &SweepReport) -> BTreeSet<StoredId> {
    report.evicted.iter().map(|eviction| eviction.id.clone()).collect()
}

/// One plan, and what it was made for.
struct Case<'a> {
    stored: &'a [Stored],
    quota: &'a Quota,
    free: u64,
    asked_at: SystemTime,
    report: &'a SweepReport,
    gone: BTreeSet<StoredId>,
}

impl Case<'_> {
    fn find(&self, id: &StoredId) -> &Stored {
        self.stored.iter().find(|one| one.id == *id).unwrap()
    }

    fn may_go(&self, one: &Stored) -> bool {
        let is_cache = matches!(one.id, StoredId::Cache { .. });
        let kept = one.pinned || one.leased || !one.synced || one.used_at >= self.asked_at;
        one.hot_bytes > 0 && !kept && (is_cache || one.cold || !self.quota.requires_cold)
    }

    /// What one deployment made for itself: at once of own and of destroyed services, else when it is old; and caches of the latter.
    fn is_unneeded(&self, one: &Stored) -> bool {
        let is_of =
            |services: &BTreeSet<ServiceId>| one.service.as_ref().is_some_and(|service| services.contains(service));
        let destroyed = is_of(&self.quota.destroyed_services);
        let StoredId::Layer(layer) = &one.id else { return destroyed };
        let age = self.asked_at.duration_since(one.used_at).unwrap_or_default();
        matches!(layer.kind, LayerKind::Source | LayerKind::Output | LayerKind::Site)
            && (destroyed || is_of(&self.quota.own_services) || age > Duration::from_secs(24 * 3600))
    }

    fn only_what_may_go_goes_once(&self) -> Result<(), TestCaseError> {
        let evicted = &self.report.evicted;
        prop_assert_eq!(self.gone.len(), evicted.len(), "each goes once");
        for eviction in evicted {
            prop_assert!(self.may_go(self.find(&eviction.id)), "{eviction:?} is protected");
            prop_assert_eq!(self.find(&eviction.id).hot_bytes, eviction.bytes);
        }
        prop_assert_eq!(self.report.freed_bytes, evicted.iter().map(|eviction| eviction.bytes).sum::<u64>());
        Ok(())
    }

    fn what_is_of_no_use_goes(&self) -> Result<(), TestCaseError> {
        for one in self.stored.iter().filter(|one| self.may_go(one) && self.is_unneeded(one)) {
            prop_assert!(self.gone.contains(&one.id), "{one:?} is of no use");
        }
        let unneeded = self.report.evicted.iter().filter(|eviction| eviction.reason == EvictionReason::Unneeded);
        for eviction in unneeded {
            prop_assert!(self.is_unneeded(self.find(&eviction.id)), "{eviction:?} is of use");
        }
        Ok(())
    }

    /// Without the last one of a reason (and of a service) that limit would be exceeded.
    fn never_more_than_is_needed(&self) -> Result<(), TestCaseError> {
        let evicted = &self.report.evicted;
        for (n, eviction) in evicted.iter().enumerate().filter(|(_, one)| one.reason != EvictionReason::Unneeded) {
            let same = |other: &&slipway_layers::Eviction| {
                other.reason == eviction.reason
                    && (eviction.reason != EvictionReason::ServiceQuota
                        || self.find(&other.id).service == self.find(&eviction.id).service)
            };
            if !evicted[n + 1..].iter().any(|other| same(&other)) {
                let before: BTreeSet<_> = evicted[..n].iter().map(|eviction| eviction.id.clone()).collect();
                let short = excess(self.stored, self.quota, self.free, &before, eviction.reason);
                prop_assert!(short.iter().any(|bytes| *bytes > 0), "{eviction:?} was not needed");
            }
        }
        Ok(())
    }

    /// Or all that may go for it; what is missing then is said.
    fn enough_goes(&self) -> Result<(), TestCaseError> {
        let mut short = 0;
        for reason in REASONS {
            for (n, bytes) in excess(self.stored, self.quota, self.free, &self.gone, reason).into_iter().enumerate() {
                short = short.max(bytes);
                let concerned =
                    |one: &&Stored| reason != EvictionReason::ServiceQuota || one.service.as_ref() == Some(&service(n));
                let mut left = self.stored.iter().filter(concerned);
                let left = left.any(|one| self.may_go(one) && !self.gone.contains(&one.id));
                prop_assert!(bytes == 0 || !left, "{reason:?} is exceeded and something could go");
            }
        }
        prop_assert!(self.report.short_bytes >= short, "{} < {short}", self.report.short_bytes);
        prop_assert!((self.report.short_bytes > 0) == (short > 0));
        Ok(())
    }

    /// What stays of those that one limit could have taken was used no earlier, to the minute.
    fn the_oldest_go_first(&self) -> Result<(), TestCaseError> {
        let by_use = |eviction: &&slipway_layers::Eviction| {
            matches!(eviction.reason, EvictionReason::DiskFree | EvictionReason::HotQuota)
        };
        for eviction in self.report.evicted.iter().filter(by_use) {
            for kept in self.stored.iter().filter(|one| self.may_go(one) && !self.gone.contains(&one.id)) {
                prop_assert!(self.find(&eviction.id).used_at <= kept.used_at);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_keeps_its_promises(stored in any_stored(), (quota, free) in any_quota(), hour in 0..24_u64) {
        let asked_at = at(hour * 3600);
        let report = eviction::plan(&stored, &quota, free, asked_at);
        let case = Case { stored: &stored, quota: &quota, free, asked_at, report: &report, gone: ids(&report) };
        case.only_what_may_go_goes_once()?;
        case.what_is_of_no_use_goes()?;
        case.never_more_than_is_needed()?;
        case.enough_goes()?;
        case.the_oldest_go_first()?;
    }
}

#[test]
fn of_equal_age_what_is_shared_goes_last() {
    let all = [
        stored(LayerKind::Base, "debian", 10, 60),
        stored(LayerKind::Toolchain, "node", 10, 60),
        stored(LayerKind::Dependencies, "young", 10, 180),
        stored(LayerKind::Output, "a", 10, 70),
        stored(LayerKind::Dependencies, "old", 10, 65),
    ];
    let quota = Quota { hot_bytes: Some(0), ..Quota::default() };
    let report = eviction::plan(&all, &quota, 0, at(1000));
    let order: Vec<_> = report
        .evicted
        .iter()
        .map(|eviction| match &eviction.id {
            StoredId::Layer(layer) => layer.key.as_str(),
            StoredId::Cache { branch, .. } => branch,
        })
        .collect();
    assert_eq!(order, ["old", "a", "debian", "node", "young"]);
    assert_eq!((report.freed_bytes, report.short_bytes), (50, 0));
}

#[test]
fn a_cache_that_no_build_used_for_a_month_goes() {
    let month = eviction::CACHE_AGE.as_secs();
    let cache = |branch: &str, used_at| Stored {
        id: StoredId::Cache { service: service(0), branch: branch.to_owned() },
        service: Some(service(0)),
        ..stored(LayerKind::Base, "x", 10, used_at)
    };
    let all = [cache("main", 1000), cache("gone", 998), Stored { leased: true, ..cache("building", 1) }];
    let report = eviction::plan(&all, &Quota::default(), 0, at(month + 999));
    assert_eq!(ids(&report), [all[1].id.clone()].into());
    assert_eq!(report.evicted[0].reason, EvictionReason::Unneeded);
}

#[test]
fn each_limit_names_itself_and_none_counts_twice() {
    let of = |n: usize, one: Stored| Stored { service: Some(service(n)), ..one };
    let all = [
        stored(LayerKind::Output, "1", 100, 100),
        stored(LayerKind::Output, "2", 100, 200),
        of(0, stored(LayerKind::Output, "3", 100, 300)),
        of(0, stored(LayerKind::Output, "4", 100, 400)),
        Stored { pinned: true, ..of(0, stored(LayerKind::Output, "live", 900, 100)) },
    ];
    let quota = Quota { hot_bytes: Some(1100), service_bytes: Some(100), free_bytes_min: 60, ..Quota::default() };
    let report = eviction::plan(&all, &quota, 10, at(1000));
    let reasons: Vec<_> = report.evicted.iter().map(|eviction| eviction.reason).collect();
    assert_eq!(reasons, REASONS);
    assert_eq!(report.short_bytes, 0);

    let only_cold = Quota { requires_cold: true, ..quota };
    let report = eviction::plan(&all, &only_cold, 10, at(1000));
    assert_eq!((report.evicted.len(), report.freed_bytes, report.short_bytes), (0, 0, 200));
}
