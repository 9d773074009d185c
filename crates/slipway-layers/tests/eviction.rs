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
    let flags = (any::<bool>(), any::<bool>());
    (limit(), limit(), 0..20_000_u64, flags, 0..20_000_u64).prop_map(|(hot, service_limit, min, (cold, own), free)| {
        let own_services = if own { (0..2).map(service).collect() } else { BTreeSet::new() };
        let quota = Quota {
            hot_bytes: hot,
            service_bytes: service_limit,
            free_bytes_min: min,
            requires_cold: cold,
            own_services,
            destroyed_services: BTreeSet::new(),
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_keeps_its_promises(stored in any_stored(), (quota, free) in any_quota(), hour in 0..24_u64) {
        let asked_at = at(hour * 3600);
        let report = eviction::plan(&stored, &quota, free, asked_at);
        let gone = ids(&report);
        prop_assert_eq!(gone.len(), report.evicted.len(), "each goes once");

        let find = |id: &StoredId| stored.iter().find(|one| one.id == *id).unwrap();
        let may_go = |one: &Stored| {
            let is_cache = matches!(one.id, StoredId::Cache { .. });
            one.hot_bytes > 0 && !one.pinned && !one.leased && one.synced && one.used_at < asked_at
                && (is_cache || one.cold || !quota.requires_cold)
        };
        for eviction in &report.evicted {
            prop_assert!(may_go(find(&eviction.id)), "{eviction:?} is protected");
            prop_assert_eq!(find(&eviction.id).hot_bytes, eviction.bytes);
        }
        prop_assert_eq!(report.freed_bytes, report.evicted.iter().map(|eviction| eviction.bytes).sum::<u64>());

        // What one deployment made for itself goes when nobody needs it: at once of own services, else when it is old.
        let unneeded = |one: &Stored| {
            let StoredId::Layer(layer) = &one.id else { return false };
            let own = one.service.as_ref().is_some_and(|service| quota.own_services.contains(service));
            let age = asked_at.duration_since(one.used_at).unwrap_or_default();
            matches!(layer.kind, LayerKind::Source | LayerKind::Output | LayerKind::Site)
                && (own || age > Duration::from_secs(24 * 3600))
        };
        for one in stored.iter().filter(|one| may_go(one) && unneeded(one)) {
            prop_assert!(gone.contains(&one.id), "{one:?} is of no use");
        }

        // Never more than is needed: without the last one of a reason (and of a service) that limit would be exceeded.
        for (n, eviction) in report.evicted.iter().enumerate() {
            if eviction.reason == EvictionReason::Unneeded {
                prop_assert!(unneeded(find(&eviction.id)), "{eviction:?} is of use");
                continue;
            }
            let same = |other: &&slipway_layers::Eviction| {
                other.reason == eviction.reason
                    && (eviction.reason != EvictionReason::ServiceQuota
                        || find(&other.id).service == find(&eviction.id).service)
            };
            if !report.evicted[n + 1..].iter().any(|other| same(&other)) {
                let before: BTreeSet<_> = report.evicted[..n].iter().map(|eviction| eviction.id.clone()).collect();
                let short = excess(&stored, &quota, free, &before, eviction.reason);
                prop_assert!(short.iter().any(|bytes| *bytes > 0), "{eviction:?} was not needed");
            }
        }

        // Enough, or all that may go for it; what is missing then is said.
        let mut short = 0;
        for reason in REASONS {
            for (n, bytes) in excess(&stored, &quota, free, &gone, reason).into_iter().enumerate() {
                short = short.max(bytes);
                let concerned = |one: &&Stored| {
                    reason != EvictionReason::ServiceQuota || one.service.as_ref() == Some(&service(n))
                };
                let left = stored.iter().filter(concerned).any(|one| may_go(one) && !gone.contains(&one.id));
                prop_assert!(bytes == 0 || !left, "{reason:?} is exceeded and something could go");
            }
        }
        prop_assert!(report.short_bytes >= short, "{} < {short}", report.short_bytes);
        prop_assert!((report.short_bytes > 0) == (short > 0));

        // By use: what stays of those that one limit could have taken was used no earlier, to the minute.
        let by_use = |eviction: &&slipway_layers::Eviction| {
            matches!(eviction.reason, EvictionReason::DiskFree | EvictionReason::HotQuota)
        };
        for eviction in report.evicted.iter().filter(by_use) {
            for kept in stored.iter().filter(|one| may_go(one) && !gone.contains(&one.id)) {
                prop_assert!(find(&eviction.id).used_at <= kept.used_at);
            }
        }
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
