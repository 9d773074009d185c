//! Layers and build caches: what there is, and what a sweep removed.

use super::quantity::{age, bytes};
use super::table::Table;
use crate::output::Palette;
use slipway_types::cache::{
    CacheId, CacheItemView, CacheTier, CacheView, RemovalReason, Removed, ServiceTitle, SweepOutcome, what,
};
use slipway_types::{ServiceId, TimestampMs};

/// Of a key, which is 32 characters of a digest where it is no name.
const KEY_CHARS: usize = 20;
/// Of those that keep a layer: the base stands under everything.
const KEEPERS_SHOWN: usize = 3;

#[derive(Debug)]
pub(crate) struct Lines {
    /// For standard output; None: nothing to show.
    pub(crate) table: Option<String>,
    /// For people, below it.
    pub(crate) notes: Vec<String>,
}

/// `slipway cache ls`
pub(crate) fn cache_lines(view: &CacheView, now: TimestampMs, palette: Palette) -> Lines {
    let mut table = Table::new(&["WHAT", "KEY", "SERVICE", "SIZE", "TIER", "USED", "KEPT FOR"]);
    for one in &view.items {
        table.row(vec![
            one.what.clone(),
            key(&one.item.id),
            one.name.as_ref().map(ToString::to_string).unwrap_or_default(),
            if one.item.hot_bytes == 0 { String::new() } else { bytes(one.item.hot_bytes) },
            one.item.tier.as_str().to_owned(),
            age(one.item.used_at, now),
            kept_for(one),
        ]);
    }
    let mut notes = Vec::new();
    if view.items_left_out > 0 {
        notes.push(format!("{} more, all smaller, are not shown", view.items_left_out));
    }
    notes.push(totals(view));
    notes.push(disk(view));
    notes.extend(cold(view));
    let seconds = now.saturating_sub(view.at) / 1000;
    if seconds >= 60 {
        notes.push(format!("as of {}; `slipway cache gc` looks again", age(view.at, now)));
    }
    Lines { table: (!view.items.is_empty()).then(|| table.render(palette)), notes }
}

fn key(id: &CacheId) -> String {
    let text = match id {
        CacheId::Layer { layer } => layer.key.as_str(),
        CacheId::BuildCache { branch, .. } => branch.as_str(),
    };
    match text.char_indices().nth(KEY_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn kept_for(one: &CacheItemView) -> String {
    let more = one.kept_for.len().saturating_sub(KEEPERS_SHOWN);
    let shown = one.kept_for.iter().take(KEEPERS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

fn totals(view: &CacheView) -> String {
    let hot = |wanted: &dyn Fn(&CacheItemView) -> bool| -> u64 {
        view.items.iter().filter(|one| wanted(one)).map(|one| one.item.hot_bytes).sum()
    };
    let kept = hot(&|one| !one.kept_for.is_empty() || one.item.pinned || one.item.in_use);
    let all = hot(&|_| true);
    let of = match view.limits.quota_bytes {
        Some(quota) => format!("{} of {} (`layers.quota`)", bytes(view.hot_bytes), bytes(quota)),
        None => format!("{}, no quota", bytes(view.hot_bytes)),
    };
    // Of a filtered listing the sum is another one than that of the tier.
    let shown = if all == view.hot_bytes { String::new() } else { format!("; shown: {}", bytes(all)) };
    format!("hot tier: {of}{shown}; kept: {}, may go: {}", bytes(kept), bytes(all - kept))
}

fn disk(view: &CacheView) -> String {
    let (free, keep) = (view.free_bytes, view.limits.keep_free_bytes);
    let text = format!("disk: {} free, {} must stay free (`layers.keep_free`)", bytes(free), bytes(keep));
    if free < keep { format!("{text}: nothing is built until there is more room") } else { text }
}

fn cold(view: &CacheView) -> Option<String> {
    let name = view.cold.as_ref()?;
    let count = view.items.iter().filter(|one| one.item.tier != CacheTier::Hot).count();
    Some(format!("cold tier: {count} of these are in {name}"))
}

/// `slipway cache gc` and `slipway cache clear`
pub(crate) fn sweep_lines(
    outcome: &SweepOutcome,
    names: &[(ServiceId, ServiceTitle)],
    clear: bool,
    palette: Palette,
) -> Lines {
    let mut table = Table::new(&["WHAT", "KEY", "SERVICE", "SIZE", "WHY"]);
    for Removed { id, service, bytes: size, reason } in &outcome.removed {
        let name = names.iter().find(|(id, _)| Some(id) == service.as_ref()).map(|(_, name)| name.to_string());
        table.row(vec![
            what(id).to_owned(),
            key(id),
            name.unwrap_or_default(),
            bytes(*size),
            reason.title().to_owned(),
        ]);
    }
    let mut notes = Vec::new();
    if outcome.removed_left_out > 0 {
        notes.push(format!("and {} more, all smaller", outcome.removed_left_out));
    }
    notes.push(summary(outcome, clear));
    if outcome.short_bytes > 0 {
        notes.extend(short(outcome));
    }
    Lines { table: (!outcome.removed.is_empty()).then(|| table.render(palette)), notes }
}

fn summary(outcome: &SweepOutcome, clear: bool) -> String {
    let count = outcome.removed.len() as u64 + outcome.removed_left_out;
    let things = if count == 1 { "1 layer or build cache" } else { "layers and build caches" };
    let things = if count == 1 { things.to_owned() } else { format!("{count} {things}") };
    let freed = bytes(outcome.freed_bytes);
    match (count, outcome.dry_run) {
        (0, true) => "nothing would be removed".to_owned(),
        (0, false) if clear => "nothing to clear: all that is there is needed".to_owned(),
        (0, false) => "nothing to remove".to_owned(),
        (_, true) => format!("would remove {things}: {freed}"),
        (_, false) => format!("removed {things}: {freed} freed"),
    }
}

/// What is still missing, and what helps.
fn short(outcome: &SweepOutcome) -> [String; 2] {
    let short = format!("still {} over what is allowed: all the rest is needed or in use", bytes(outcome.short_bytes));
    let disk = outcome.removed.iter().any(|one| one.reason == RemovalReason::DiskFree);
    let limit = if disk { "give the server a larger disk" } else { "raise `layers.quota` or give it a larger disk" };
    [short, format!("hint: keep fewer releases (`layers.keep_releases` of the server), destroy services, or {limit}")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_types::cache::{CacheItem, CacheLimits};
    use slipway_types::{LayerKind, LayerRef, ProjectName, ServiceName};

    fn title() -> ServiceTitle {
        ServiceTitle { project: ProjectName::parse("shop").unwrap(), service: ServiceName::parse("web").unwrap() }
    }

    fn item(id: CacheId, hot_bytes: u64, tier: CacheTier, kept_for: &[&str]) -> CacheItemView {
        CacheItemView {
            what: what(&id).to_owned(),
            name: Some(title()),
            kept_for: kept_for.iter().map(ToString::to_string).collect(),
            item: CacheItem {
                id,
                service: Some(ServiceId::parse("svc-1").unwrap()),
                hot_bytes,
                tier,
                used_at: 0,
                pinned: !kept_for.is_empty(),
                in_use: false,
            },
        }
    }

    fn layer(kind: LayerKind, key: &str) -> CacheId {
        CacheId::Layer { layer: LayerRef::new(kind, key) }
    }

    fn view() -> CacheView {
        let branch = CacheId::BuildCache { service: ServiceId::parse("svc-1").unwrap(), branch: "main".into() };
        let keepers = ["v12 (live)", "v11", "v10", "v9", "shop/api v2"];
        let key = "0123456789abcdef0123456789abcdef";
        CacheView {
            at: 0,
            items: vec![
                item(layer(LayerKind::Dependencies, key), 400 << 20, CacheTier::Both, &keepers),
                item(branch, 100 << 20, CacheTier::Hot, &[]),
                item(layer(LayerKind::Output, "dpl-1"), 0, CacheTier::Cold, &[]),
            ],
            items_left_out: 0,
            hot_bytes: 500 << 20,
            free_bytes: 1 << 30,
            limits: CacheLimits { quota_bytes: Some(5 << 30), service_quota_bytes: None, keep_free_bytes: 2 << 30 },
            cold: Some("https://s3.example, bucket layers".into()),
        }
    }

    #[test]
    fn a_listing_says_what_stays_for_whom_and_what_may_go() {
        let lines = cache_lines(&view(), 90_000, Palette::of_nothing());
        insta::assert_snapshot!(format!("{}\n{}", lines.table.unwrap(), lines.notes.join("\n")), @"");
    }

    #[test]
    fn an_empty_store_has_no_table() {
        let empty = CacheView { items: Vec::new(), hot_bytes: 0, cold: None, free_bytes: 9 << 30, ..view() };
        let lines = cache_lines(&empty, 0, Palette::of_nothing());
        assert!(lines.table.is_none());
        assert!(lines.notes[0].starts_with("hot tier: 0 B of 5.0 GB"), "{:?}", lines.notes);
    }

    #[test]
    fn a_sweep_says_what_went_why_and_what_is_still_missing() {
        let removed = |id, bytes, reason| Removed { id, service: ServiceId::parse("svc-1").ok(), bytes, reason };
        let mut outcome = SweepOutcome {
            dry_run: true,
            removed: vec![
                removed(layer(LayerKind::Output, "dpl-1"), 90 << 20, RemovalReason::Unneeded),
                removed(layer(LayerKind::Dependencies, "abc"), 40 << 20, RemovalReason::Quota),
            ],
            removed_left_out: 0,
            freed_bytes: 130 << 20,
            short_bytes: 3 << 30,
        };
        let names = [(ServiceId::parse("svc-1").unwrap(), title())];
        let lines = sweep_lines(&outcome, &names, false, Palette::of_nothing());
        insta::assert_snapshot!(format!("{}\n{}", lines.table.unwrap(), lines.notes.join("\n")), @"");
        outcome = SweepOutcome::default();
        assert_eq!(sweep_lines(&outcome, &names, false, Palette::of_nothing()).notes, ["nothing to remove"]);
        outcome.dry_run = true;
        assert_eq!(sweep_lines(&outcome, &names, false, Palette::of_nothing()).notes, ["nothing would be removed"]);
    }
}
