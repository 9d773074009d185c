//! What stands in a host's store of layers, what of it is kept, and what a sweep removes: between control and the host, and
//! in the API.
//!
//! Retention is pulled: the host asks, control answers with everything that it needs at that moment, and the host removes
//! nothing that was used after its question. So no layer falls between an answer and a sweep.

use crate::image::{LayerKind, LayerRef, WrittenBy};
use crate::{DeploymentId, ProjectName, ServiceId, ServiceName, TimestampMs};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Entries of one inventory; of more, the largest are named and the rest is counted.
pub const INVENTORY_ITEMS_MAX: usize = 20_000;
/// Entries that a report of a sweep names, the largest first; the rest is counted.
pub const REMOVED_ITEMS_MAX: usize = 1000;
/// Releases of a service whose layers are kept, unless the server is told otherwise.
pub const KEEP_RELEASES_DEFAULT: u32 = 10;

/// Control to host: the answer to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Of the question.
    pub request: u64,
    /// Everything that must stay: the whole set, never a change to one before.
    pub layers: BTreeSet<LayerRef>,
    /// Services of this server. A store may be shared: what was made for others is not this one's to judge.
    pub services: BTreeSet<ServiceId>,
}

/// What is to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum SweepOrder {
    /// What nothing needs and, under the quotas, what was not used for longest.
    Unneeded {
        #[serde(default)]
        dry_run: bool,
    },
    /// What deployments of a destroyed service made for themselves, and its build caches.
    Destroyed { service: ServiceId },
    /// Build caches, and every layer that nothing needs; of one service, or all.
    Caches {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceId>,
    },
}

impl SweepOrder {
    pub fn is_dry_run(&self) -> bool {
        matches!(self, SweepOrder::Unneeded { dry_run: true })
    }
}

/// One thing in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum CacheId {
    Layer {
        layer: LayerRef,
    },
    /// Of a framework: what its builds keep from one to the next.
    BuildCache {
        service: ServiceId,
        branch: String,
    },
}

impl std::fmt::Display for CacheId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CacheId::Layer { layer } => write!(f, "{layer}"),
            CacheId::BuildCache { branch, .. } => write!(f, "cache-{branch}"),
        }
    }
}

/// Where the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheTier {
    Hot,
    Cold,
    Both,
}

impl CacheTier {
    pub fn as_str(self) -> &'static str {
        match self {
            CacheTier::Hot => "hot",
            CacheTier::Cold => "cold",
            CacheTier::Both => "both",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheItem {
    pub id: CacheId,
    /// That it was made for.
    pub service: Option<ServiceId>,
    /// On the disk; 0 when it is only in the cold tier.
    pub hot_bytes: u64,
    pub tier: CacheTier,
    pub used_at: TimestampMs,
    /// By this server or another one of the same directory.
    pub pinned: bool,
    /// A build stands on it now.
    pub in_use: bool,
}

/// Bounds of a store; None: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheLimits {
    pub quota_bytes: Option<u64>,
    pub service_quota_bytes: Option<u64>,
    pub keep_free_bytes: u64,
}

/// All that a host has, after a sweep.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheInventory {
    pub at: TimestampMs,
    pub items: Vec<CacheItem>,
    /// Not named because there were too many.
    pub items_left_out: u64,
    /// Of the hot tier, all of it.
    pub hot_bytes: u64,
    /// Of the disk.
    pub free_bytes: u64,
    pub limits: CacheLimits,
    /// Endpoint and bucket of the cold tier, when there is one.
    pub cold: Option<String>,
}

/// Why something went, or would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    /// Made for one deployment that nothing will go back to.
    Unneeded,
    /// The hot tier is larger than its quota.
    Quota,
    /// The service has more than its quota.
    ServiceQuota,
    /// The disk has too little room.
    DiskFree,
    /// It was asked for.
    Cleared,
}

impl RemovalReason {
    /// In a few words, for people.
    pub fn title(self) -> &'static str {
        match self {
            RemovalReason::Unneeded => "no release needs it",
            RemovalReason::Quota => "over the quota",
            RemovalReason::ServiceQuota => "over the service's quota",
            RemovalReason::DiskFree => "room on the disk",
            RemovalReason::Cleared => "cleared",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub id: CacheId,
    pub service: Option<ServiceId>,
    pub bytes: u64,
    pub reason: RemovalReason,
}

/// What a sweep did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepOutcome {
    pub dry_run: bool,
    /// The largest first.
    pub removed: Vec<Removed>,
    /// Not named because there were too many.
    pub removed_left_out: u64,
    pub freed_bytes: u64,
    /// Still over quota, or missing on the disk, after all that may go.
    pub short_bytes: u64,
}

/// Host to control: how an order ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepEnded {
    pub sweep: String,
    /// Err: one sentence.
    pub outcome: Result<SweepOutcome, String>,
}

/// Why something is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "because")]
pub enum Keeper {
    /// What is live.
    Live { service: ServiceId, release: Option<u32> },
    /// Replicas of it run, or are to run.
    Running { service: ServiceId, deployment: DeploymentId },
    /// A deployment that has not ended.
    Building { service: ServiceId, deployment: DeploymentId },
    /// One of the newest releases.
    Release { service: ServiceId, release: u32 },
    /// The newest build: a redeploy takes it.
    Newest { service: ServiceId },
}

impl Keeper {
    pub fn service(&self) -> &ServiceId {
        match self {
            Keeper::Live { service, .. }
            | Keeper::Running { service, .. }
            | Keeper::Building { service, .. }
            | Keeper::Release { service, .. }
            | Keeper::Newest { service } => service,
        }
    }

    /// Without the service.
    pub fn title(&self) -> String {
        match self {
            Keeper::Live { release: Some(number), .. } => format!("v{number} (live)"),
            Keeper::Live { release: None, .. } => "live".to_owned(),
            Keeper::Running { .. } => "running".to_owned(),
            Keeper::Building { deployment, .. } => deployment.to_string(),
            Keeper::Release { release, .. } => format!("v{release}"),
            Keeper::Newest { .. } => "the newest build".to_owned(),
        }
    }
}

/// `GET /v1/cache`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheView {
    /// Of the host's newest inventory.
    pub at: TimestampMs,
    pub items: Vec<CacheItemView>,
    pub items_left_out: u64,
    pub hot_bytes: u64,
    pub free_bytes: u64,
    pub limits: CacheLimits,
    pub cold: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheItemView {
    #[serde(flatten)]
    pub item: CacheItem,
    /// Of [`CacheItem::service`]; None too when the service is gone.
    pub name: Option<ServiceTitle>,
    /// One word of what it is: `dependencies`, `build cache`, …
    pub what: String,
    /// What it stands under, for people; empty: it may go when its space is needed.
    pub kept_for: Vec<String>,
}

/// A service as people call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceTitle {
    pub project: ProjectName,
    pub service: ServiceName,
}

impl std::fmt::Display for ServiceTitle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.project, self.service)
    }
}

/// `POST /v1/cache/sweeps`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepParams {
    /// Also what would stay without need; else only what nothing needs and what is over a quota.
    #[serde(default)]
    pub clear: bool,
    #[serde(default)]
    pub dry_run: bool,
    /// With `clear`: of this service alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<ServiceTitle>,
}

/// `GET /v1/cache/sweeps/{sweep}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepView {
    pub sweep: String,
    pub state: SweepState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum SweepState {
    /// The host has not answered yet.
    Waiting,
    Done {
        outcome: SweepOutcome,
        /// The names of [`Removed::service`].
        names: Vec<(ServiceId, ServiceTitle)>,
    },
    Failed {
        message: String,
    },
}

/// What it is called.
pub fn what(id: &CacheId) -> &'static str {
    match id {
        CacheId::Layer { layer } => layer.kind.as_str(),
        CacheId::BuildCache { .. } => "build cache",
    }
}

/// Layers that one deployment makes for itself: what nothing keeps of them is of no use to anybody.
pub fn is_of_one_deployment(kind: LayerKind) -> bool {
    match kind {
        LayerKind::Source | LayerKind::Output | LayerKind::Site => true,
        LayerKind::Base | LayerKind::Toolchain | LayerKind::Dependencies => false,
    }
}

/// Those layers of a deployment, there or not.
pub fn layers_of(deployment: &DeploymentId) -> impl Iterator<Item = LayerRef> + '_ {
    let kinds = LayerKind::ALL.into_iter().filter(|kind| is_of_one_deployment(*kind));
    kinds.flat_map(|kind| {
        let layer = LayerRef::new(kind, deployment.as_str());
        // Whichever driver makes it.
        let by_guest = kind.is_written_in_a_sandbox().then(|| layer.clone().written(WrittenBy::Guest));
        std::iter::once(layer).chain(by_guest)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A client reads what a server says: no field of one part hides that of another.
    #[test]
    fn what_is_listed_or_removed_comes_back_as_it_was() {
        let service = ServiceId::parse("svc-1").unwrap();
        for id in [
            CacheId::Layer { layer: LayerRef::new(LayerKind::Output, "dpl-1") },
            CacheId::BuildCache { service: service.clone(), branch: "main".into() },
        ] {
            let (service, hot_bytes, tier) = (Some(service.clone()), 1, CacheTier::Hot);
            let item = CacheItem {
                id: id.clone(),
                service: service.clone(),
                hot_bytes,
                tier,
                used_at: 2,
                pinned: true,
                in_use: false,
            };
            let view = CacheItemView { item, name: None, what: "w".into(), kept_for: vec!["v1".into()] };
            let text = serde_json::to_string(&view).unwrap();
            assert_eq!(serde_json::from_str::<CacheItemView>(&text).unwrap(), view, "{text}");
            let removed = Removed { id, service, bytes: 3, reason: RemovalReason::Quota };
            let text = serde_json::to_string(&removed).unwrap();
            assert_eq!(serde_json::from_str::<Removed>(&text).unwrap(), removed, "{text}");
        }
    }
}
