//! One round: asked, pinned, swept, reported.

use super::report::{inventory, outcome};
use super::{Custodian, Due};
use crate::host::Host;
use crate::phase::with_causes;
use slipway_layers::{LayerError, Lease, Quota, SweepMode};
use slipway_types::cache::{CacheInventory, Retention, SweepEnded, SweepOrder, SweepOutcome};
use slipway_types::host::HostReport;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::time::Instant;

/// What a round did.
struct Done {
    ended: Vec<SweepEnded>,
    inventory: Result<CacheInventory, LayerError>,
    /// What still has to be held.
    leases: Vec<Lease>,
}

impl Custodian {
    pub(super) async fn round(&mut self) {
        // Before the question: what is used from here on stays.
        let asked_at = SystemTime::now();
        let due = std::mem::take(&mut self.due);
        self.swept_at = Instant::now();
        let Some(retention) = self.ask().await else {
            tracing::warn!("control did not say which layers must stay; nothing is removed");
            return self.give_up(due).await;
        };
        let Due { orders, rooms, leases, at } = due;
        let mut orders: Vec<(Option<String>, SweepOrder)> =
            orders.into_iter().map(|(sweep, order)| (Some(sweep), order)).collect();
        if at.is_some() || !rooms.is_empty() {
            orders.insert(0, (None, SweepOrder::Unneeded { dry_run: false }));
        }
        let host = Arc::clone(&self.host);
        let done = crate::blocking(move || sweep_all(&host, &retention, leases, orders, asked_at)).await;
        self.due.leases.extend(done.leases);
        for ended in done.ended {
            let _ = self.reports.send(HostReport::Swept(ended)).await;
        }
        match done.inventory {
            Ok(inventory) => {
                let _ = self.reports.send(HostReport::Inventory(Box::new(inventory))).await;
            }
            Err(error) => tracing::error!(error = with_causes(&error), "the layers can't be listed"),
        }
        // After the inventory: who waits for room looks at what there is now.
        for room in rooms {
            let _ = room.send(());
        }
    }

    /// What is held stays held, and who waits hears that nothing came of it.
    async fn give_up(&mut self, due: Due) {
        self.due.leases.extend(due.leases);
        for (sweep, _) in due.orders {
            let outcome = Err("the server could not tell which layers must stay, so nothing was removed".to_owned());
            let _ = self.reports.send(HostReport::Swept(SweepEnded { sweep, outcome })).await;
        }
    }
}

fn sweep_all(
    host: &Host,
    retention: &Retention,
    mut leases: Vec<Lease>,
    orders: Vec<(Option<String>, SweepOrder)>,
    asked_at: SystemTime,
) -> Done {
    let mut keep = retention.layers.clone();
    // The next build stands on it, whether or not one did before.
    keep.insert(host.base.clone());
    let pinned = host.store.pin(&host.server_id, &keep);
    if pinned.is_ok() {
        // They were taken over before the question: what is needed of them is pinned now.
        leases.clear();
    }
    let mut ended = Vec::new();
    for (sweep, order) in orders {
        let outcome = match &pinned {
            Ok(()) => swept(host, retention, &order, asked_at).map_err(|error| with_causes(&error)),
            Err(error) => Err(with_causes(error)),
        };
        if let Err(error) = &outcome {
            tracing::error!(error, "layers could not be swept");
        }
        ended.extend(sweep.map(|sweep| SweepEnded { sweep, outcome }));
    }
    Done { ended, inventory: inventory(host), leases }
}

fn swept(
    host: &Host,
    retention: &Retention,
    order: &SweepOrder,
    asked_at: SystemTime,
) -> Result<SweepOutcome, LayerError> {
    let store = &host.store;
    let before = store.inventory()?;
    let mode = if order.is_dry_run() { SweepMode::DryRun } else { SweepMode::Apply };
    let report = match order {
        SweepOrder::Unneeded { .. } | SweepOrder::Destroyed { .. } => {
            let layers = &host.config.layers;
            let destroyed = match order {
                SweepOrder::Destroyed { service } => [service.clone()].into(),
                _ => BTreeSet::new(),
            };
            let quota = Quota {
                hot_bytes: layers.quota,
                service_bytes: layers.service_quota,
                free_bytes_min: host.keep_free_bytes(),
                requires_cold: layers.cold.is_some(),
                own_services: retention.services.clone(),
                destroyed_services: destroyed,
            };
            store.sweep(&quota, asked_at, mode)?
        }
        SweepOrder::Caches { service } => store.clear(service.as_ref(), mode)?,
    };
    let outcome = outcome(report, &before, mode);
    if mode == SweepMode::Apply && outcome.freed_bytes > 0 {
        tracing::info!(freed_bytes = outcome.freed_bytes, count = outcome.removed.len(), "layers were removed");
    }
    Ok(outcome)
}
