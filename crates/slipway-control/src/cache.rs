//! What control knows of the host's layers: the newest inventory, what was made since, and the sweeps that were asked for.
//!
//! All of it is in memory: the host says it again after the next start. A sweep that was asked for is remembered until
//! [`SWEEPS_KEPT`] newer ones were.

use slipway_types::cache::{
    CacheId, CacheInventory, CacheItem, CacheItemView, CacheView, Keeper, ServiceTitle, SweepEnded, SweepOutcome, what,
};
use slipway_types::{LayerKind, LayerRef, ServiceId, TimestampMs};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Reports of sweeps; who asked for one reads it within minutes.
const SWEEPS_KEPT: usize = 64;
/// That the host has not answered. It takes one after the other.
const SWEEPS_WAITING_MAX: usize = 16;
/// An order that was lost on its way is never answered, and counts no longer than this.
const SWEEP_WAIT_MAX: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Default)]
pub(crate) struct CacheState {
    inventory: Option<CacheInventory>,
    /// As the host was last told: what it pinned for this server.
    told: BTreeSet<LayerRef>,
    /// Reported by phases since that inventory.
    made_since: BTreeSet<LayerRef>,
    sweeps: VecDeque<Sweep>,
}

#[derive(Debug, Clone)]
pub(crate) struct Sweep {
    pub(crate) id: String,
    begun_at: Instant,
    /// None: the host has not answered yet.
    pub(crate) outcome: Option<Result<SweepOutcome, String>>,
}

impl CacheState {
    pub(crate) fn take_inventory(&mut self, inventory: CacheInventory) {
        self.inventory = Some(inventory);
        self.made_since.clear();
    }

    pub(crate) fn inventory(&self) -> Option<&CacheInventory> {
        self.inventory.as_ref()
    }

    pub(crate) fn told(&mut self, layers: BTreeSet<LayerRef>) {
        self.told = layers;
    }

    pub(crate) fn made(&mut self, layers: impl IntoIterator<Item = LayerRef>) {
        if self.inventory.is_some() {
            self.made_since.extend(layers);
        }
    }

    /// Layers that are not there any more, as far as is known: of an image from before `since`. An inventory that left
    /// something out says nothing about what is missing, nor does one beside a cold tier, which may have more than was noted.
    pub(crate) fn gone(&self, layers: &[LayerRef], since: TimestampMs) -> Vec<LayerRef> {
        let complete = |one: &&CacheInventory| one.items_left_out == 0 && one.cold.is_none() && since < one.at;
        let known = self.inventory.as_ref().filter(complete);
        let Some(inventory) = known else { return Vec::new() };
        let has = |layer: &LayerRef| {
            self.made_since.contains(layer)
                || inventory.items.iter().any(|item| matches!(&item.id, CacheId::Layer { layer: one } if one == layer))
        };
        layers.iter().filter(|layer| !has(layer)).cloned().collect()
    }

    /// False: too many wait already.
    pub(crate) fn begin(&mut self, id: &str, now: Instant) -> bool {
        let waits = |sweep: &&Sweep| sweep.outcome.is_none() && now.duration_since(sweep.begun_at) < SWEEP_WAIT_MAX;
        if self.sweeps.iter().filter(waits).count() >= SWEEPS_WAITING_MAX {
            return false;
        }
        self.sweeps.push_back(Sweep { id: id.to_owned(), begun_at: now, outcome: None });
        if self.sweeps.len() > SWEEPS_KEPT {
            self.sweeps.pop_front();
        }
        true
    }

    pub(crate) fn end(&mut self, ended: SweepEnded) {
        if let Some(sweep) = self.sweeps.iter_mut().find(|sweep| sweep.id == ended.sweep) {
            sweep.outcome = Some(ended.outcome);
        }
    }

    pub(crate) fn sweep(&self, id: &str) -> Option<Sweep> {
        self.sweeps.iter().find(|sweep| sweep.id == id).cloned()
    }

    /// For people. None: the host has not said anything yet.
    pub(crate) fn view(&self, keepers: &Keepers) -> Option<CacheView> {
        let CacheInventory { at, items, items_left_out, hot_bytes, free_bytes, limits, cold } =
            self.inventory.clone()?;
        let items = items.into_iter().map(|item| keepers.view(item, &self.told)).collect();
        Some(CacheView { at, items, items_left_out, hot_bytes, free_bytes, limits, cold })
    }
}

/// Who keeps what, and how services are called.
#[derive(Debug, Default)]
pub(crate) struct Keepers {
    pub(crate) of: BTreeMap<LayerRef, BTreeSet<Keeper>>,
    pub(crate) names: BTreeMap<ServiceId, ServiceTitle>,
}

impl Keepers {
    fn view(&self, item: CacheItem, told: &BTreeSet<LayerRef>) -> CacheItemView {
        CacheItemView {
            name: item.service.as_ref().and_then(|service| self.names.get(service)).cloned(),
            what: what(&item.id).to_owned(),
            kept_for: self.kept_for(&item, told),
            item,
        }
    }

    fn kept_for(&self, item: &CacheItem, told: &BTreeSet<LayerRef>) -> Vec<String> {
        let CacheId::Layer { layer } = &item.id else { return Vec::new() };
        let keepers = self.of.get(layer).into_iter().flatten();
        let mut kept: Vec<String> = Vec::new();
        let mut known = BTreeSet::new();
        for keeper in keepers {
            // What is live is one of the newest releases too, and mostly runs: it is named once.
            let number = match keeper {
                Keeper::Live { release, .. } => *release,
                Keeper::Release { release, .. } => Some(*release),
                Keeper::Running { .. } | Keeper::Building { .. } | Keeper::Newest { .. } => None,
            };
            let is_news = match number {
                Some(number) => known.insert((keeper.service(), number)),
                None => !known.iter().any(|(service, _)| *service == keeper.service()),
            };
            if is_news {
                kept.push(self.title(keeper, item.service.as_ref()));
            }
        }
        if kept.is_empty() && item.pinned {
            match layer.kind {
                LayerKind::Base => kept.push("new builds".to_owned()),
                // Else this server needed it when it was last asked: the next sweep sees to it.
                _ if !told.contains(layer) => kept.push("another server".to_owned()),
                _ => {}
            }
        }
        if kept.is_empty() && item.in_use {
            kept.push("a running build".to_owned());
        }
        kept
    }

    fn title(&self, keeper: &Keeper, of: Option<&ServiceId>) -> String {
        match self.names.get(keeper.service()).filter(|_| of != Some(keeper.service())) {
            Some(name) => format!("{name} {}", keeper.title()),
            None => keeper.title(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_is_never_answered_counts_for_minutes_alone() {
        let mut state = CacheState::default();
        let begun = Instant::now();
        for number in 0..SWEEPS_WAITING_MAX {
            assert!(state.begin(&format!("swp-{number}"), begun));
        }
        assert!(!state.begin("swp-more", begun + SWEEP_WAIT_MAX / 2));
        state.end(SweepEnded { sweep: "swp-0".to_owned(), outcome: Err("x".to_owned()) });
        assert!(state.begin("swp-more", begun + SWEEP_WAIT_MAX / 2));
        assert!(!state.begin("swp-other", begun + SWEEP_WAIT_MAX / 2));
        assert!(state.begin("swp-other", begun + SWEEP_WAIT_MAX));
    }
}
