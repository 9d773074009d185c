//! What the store says, in the words of control.

use crate::host::Host;
use slipway_layers::{Eviction, EvictionReason, LayerError, Stored, StoredId, SweepMode, SweepReport};
use slipway_types::cache::{
    CacheId, CacheInventory, CacheItem, CacheLimits, CacheTier, INVENTORY_ITEMS_MAX, REMOVED_ITEMS_MAX, RemovalReason,
    Removed, SweepOutcome,
};
use slipway_types::{ServiceId, TimestampMs};
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Everything that there is now. Blocks.
pub(super) fn inventory(host: &Host) -> Result<CacheInventory, LayerError> {
    // Before the look: what is made meanwhile is newer.
    let at = timestamp(SystemTime::now());
    let mut items: Vec<CacheItem> = host.store.inventory()?.into_iter().map(item).collect();
    let hot_bytes = items.iter().map(|item| item.hot_bytes).sum();
    items.sort_by(|a, b| b.hot_bytes.cmp(&a.hot_bytes).then_with(|| a.id.cmp(&b.id)));
    let items_left_out = left_out(&mut items, INVENTORY_ITEMS_MAX);
    let layers = &host.config.layers;
    let cold = layers.cold.as_ref().map(|cold| {
        let endpoint = cold.endpoint.as_deref().unwrap_or("AWS S3");
        format!("{endpoint}, bucket {}", cold.bucket)
    });
    Ok(CacheInventory {
        at,
        items,
        items_left_out,
        hot_bytes,
        free_bytes: host.store.free_bytes()?,
        limits: CacheLimits {
            quota_bytes: layers.quota,
            service_quota_bytes: layers.service_quota,
            keep_free_bytes: host.keep_free_bytes(),
        },
        cold,
    })
}

/// `before`: the inventory that the sweep began with, for the services of what went.
pub(super) fn outcome(report: SweepReport, before: &[Stored], mode: SweepMode) -> SweepOutcome {
    let services: BTreeMap<&StoredId, Option<&ServiceId>> =
        before.iter().map(|stored| (&stored.id, stored.service.as_ref())).collect();
    let mut removed: Vec<Removed> = report
        .evicted
        .into_iter()
        .map(|Eviction { id, bytes, reason }| Removed {
            service: services.get(&id).copied().flatten().cloned(),
            id: cache_id(id),
            bytes,
            reason: removal_reason(reason),
        })
        .collect();
    removed.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.id.cmp(&b.id)));
    let removed_left_out = left_out(&mut removed, REMOVED_ITEMS_MAX);
    SweepOutcome {
        dry_run: mode == SweepMode::DryRun,
        removed,
        removed_left_out,
        freed_bytes: report.freed_bytes,
        short_bytes: report.short_bytes,
    }
}

fn left_out<T>(entries: &mut Vec<T>, most: usize) -> u64 {
    let more = entries.len().saturating_sub(most);
    entries.truncate(most);
    more as u64
}

fn item(stored: Stored) -> CacheItem {
    let tier = match (stored.hot_bytes > 0, stored.cold) {
        (true, true) => CacheTier::Both,
        (false, true) => CacheTier::Cold,
        (_, false) => CacheTier::Hot,
    };
    CacheItem {
        id: cache_id(stored.id),
        service: stored.service,
        hot_bytes: stored.hot_bytes,
        tier,
        used_at: timestamp(stored.used_at),
        pinned: stored.pinned,
        in_use: stored.leased,
    }
}

fn cache_id(id: StoredId) -> CacheId {
    match id {
        StoredId::Layer(layer) => CacheId::Layer { layer },
        StoredId::Cache { service, branch } => CacheId::BuildCache { service, branch },
    }
}

fn removal_reason(reason: EvictionReason) -> RemovalReason {
    match reason {
        EvictionReason::Unneeded => RemovalReason::Unneeded,
        EvictionReason::DiskFree => RemovalReason::DiskFree,
        EvictionReason::HotQuota => RemovalReason::Quota,
        EvictionReason::ServiceQuota => RemovalReason::ServiceQuota,
        EvictionReason::Cleared => RemovalReason::Cleared,
    }
}

fn timestamp(at: SystemTime) -> TimestampMs {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    TimestampMs::try_from(since.as_millis()).unwrap_or(TimestampMs::MAX)
}
