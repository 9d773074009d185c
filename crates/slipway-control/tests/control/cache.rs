//! What the host is told to keep, what it says it has, and sweeps that people order.

use crate::world::{WEB, World, wait};
use serde_json::{Value, json};
use slipway_types::cache::{
    CacheId, CacheInventory, CacheItem, CacheTier, RemovalReason, Removed, SweepEnded, SweepOrder, SweepOutcome,
};
use slipway_types::host::HostReport;
use slipway_types::{LayerKind, LayerRef, Phase, ServiceId};

fn layer(kind: LayerKind, key: &str) -> LayerRef {
    LayerRef::new(kind, key)
}

fn item(layer: LayerRef, service: &ServiceId) -> CacheItem {
    CacheItem {
        id: CacheId::Layer { layer },
        service: Some(service.clone()),
        hot_bytes: 10,
        tier: CacheTier::Hot,
        used_at: 1,
        pinned: true,
        in_use: false,
    }
}

/// Everything that the fake host makes, without those named.
fn inventory(service: &ServiceId, without: &[&str]) -> CacheInventory {
    let all = [
        layer(LayerKind::Base, "b"),
        layer(LayerKind::Toolchain, "t"),
        layer(LayerKind::Dependencies, "d"),
        layer(LayerKind::Source, "s"),
        layer(LayerKind::Output, "o"),
    ];
    let items = all.into_iter().filter(|one| !without.contains(&one.key.as_str()));
    CacheInventory { at: i64::MAX, items: items.map(|one| item(one, service)).collect(), ..CacheInventory::default() }
}

async fn report_inventory(world: &World, inventory: CacheInventory) {
    world.fake.report(HostReport::Inventory(Box::new(inventory.clone()))).await;
    let shown = || async {
        let answer = world.client.get("/v1/cache").await;
        answer.status == 200 && answer.json::<Value>()["items"].as_array().unwrap().len() == inventory.items.len()
    };
    while !shown().await {
        tokio::task::yield_now().await;
    }
}

fn service_of(world: &World) -> ServiceId {
    world.fake.seen(|seen| seen.sets.last().unwrap().replicas[0].service_id.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_with_everything_that_must_stay() {
    let world = World::new().await;
    world.deploy_to_end().await;
    world.fake.script(|script| script.hold = Some(Phase::Install));
    let building = world.deploy().await;
    world.until_held(&building, Phase::Install).await;
    world.fake.report(HostReport::RetentionWanted { request: 7 }).await;
    wait(|| world.fake.seen(|seen| !seen.retained.is_empty())).await;
    let answer = world.fake.seen(|seen| seen.retained[0].clone());
    assert_eq!((answer.request, answer.services), (7, [service_of(&world)].into()));
    let own = layer(LayerKind::Source, building.deployment.as_str());
    for kept in
        [own, layer(LayerKind::Toolchain, "t"), layer(LayerKind::Output, "o"), layer(LayerKind::Dependencies, "d")]
    {
        assert!(answer.layers.contains(&kept), "{kept}: {:?}", answer.layers);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_is_ordered_and_its_report_is_asked_for() {
    let world = World::new().await;
    assert_eq!(world.client.get("/v1/cache").await.refusal(), (503, "no-inventory".into()));
    world.deploy_to_end().await;
    let service = service_of(&world);
    let begun = world.client.post("/v1/cache/sweeps", json!({"dry_run": true})).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let sweep = begun.json::<Value>()["sweep"].as_str().unwrap().to_owned();
    let path = format!("/v1/cache/sweeps/{sweep}");
    assert_eq!(world.client.get(&path).await.json::<Value>()["state"]["state"], "waiting");
    wait(|| world.fake.seen(|seen| seen.sweeps == [(sweep.clone(), SweepOrder::Unneeded { dry_run: true })])).await;

    let removed = Removed {
        id: CacheId::Layer { layer: layer(LayerKind::Output, "old") },
        service: Some(service.clone()),
        bytes: 5,
        reason: RemovalReason::Unneeded,
    };
    let outcome = SweepOutcome { dry_run: true, removed: vec![removed], freed_bytes: 5, ..SweepOutcome::default() };
    world.fake.report(HostReport::Swept(SweepEnded { sweep, outcome: Ok(outcome) })).await;
    let ended = loop {
        let view: Value = world.client.get(&path).await.json();
        if view["state"]["state"] != "waiting" {
            break view;
        }
    };
    assert_eq!(ended["state"]["outcome"]["removed"][0]["id"]["layer"]["key"], "old", "{ended}");
    assert_eq!(ended["state"]["names"][0][1], json!({"project": "shop", "service": "web"}), "{ended}");

    let cleared =
        world.client.post("/v1/cache/sweeps", json!({"clear": true, "of": {"project": "shop", "service": "web"}}));
    assert_eq!(cleared.await.status, 202);
    let order = SweepOrder::Caches { service: Some(service) };
    wait(|| world.fake.seen(|seen| seen.sweeps.last().is_some_and(|(_, last)| *last == order))).await;
    for (body, refusal) in [
        (json!({"clear": true, "dry_run": true}), (400, "bad-json")),
        (json!({"of": {"project": "shop", "service": "web"}}), (400, "bad-json")),
        (json!({"clear": true, "of": {"project": "shop", "service": "none"}}), (404, "service-unknown")),
    ] {
        let (status, code) = world.client.post("/v1/cache/sweeps", body).await.refusal();
        assert_eq!((status, code.as_str()), refusal);
    }
    assert_eq!(world.client.get("/v1/cache/sweeps/swp-none").await.refusal(), (404, "sweep-unknown".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_says_what_layers_are_kept_for() {
    let world = World::new().await;
    world.deploy_to_end().await;
    let service = service_of(&world);
    let mut inventory = inventory(&service, &[]);
    inventory.items.push(item(layer(LayerKind::Output, "of-another-server"), &service));
    report_inventory(&world, inventory).await;
    let view: Value = world.client.get("/v1/cache?project=shop").await.json();
    let kept = |key: &str| {
        let items = view["items"].as_array().unwrap();
        items.iter().find(|one| one["id"]["layer"]["key"] == key).unwrap()["kept_for"].clone()
    };
    assert_eq!(kept("o"), json!(["v1 (live)"]), "live, running and newest are one");
    assert_eq!(kept("of-another-server"), json!(["another server"]));
    assert_eq!(view["items"][0]["name"], json!({"project": "shop", "service": "web"}));
    let other: Value = world.client.get("/v1/cache?project=other").await.json();
    assert_eq!(other["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_to_a_release_whose_layers_are_gone_says_so_at_once() {
    let world = World::new().await;
    world.deploy_to_end().await;
    world.deploy_to_end().await;
    let rollback = async || world.client.post(&format!("{WEB}/rollback"), json!({"release": 1})).await;
    let service = service_of(&world);
    report_inventory(&world, inventory(&service, &["o"])).await;
    let answer = rollback().await;
    assert_eq!(answer.refusal(), (409, "release-gone".into()));
    assert!(answer.text().contains("release v1 is gone") && answer.text().contains("`output-o`"), "{}", answer.text());
    let redeploy: Value = world.client.get(&format!("{WEB}/redeploy")).await.json();
    assert_eq!(redeploy["because"], "layers of what was built last were removed to make room");

    // Beside a cold tier, and of a listing with holes, nobody knows: the start says it.
    for unsure in [
        CacheInventory { cold: Some("s3".into()), ..inventory(&service, &["o", "s"]) },
        CacheInventory { items_left_out: 1, ..inventory(&service, &["o", "s", "t"]) },
    ] {
        report_inventory(&world, unsure).await;
        let redeploy: Value = world.client.get(&format!("{WEB}/redeploy")).await.json();
        assert_eq!(redeploy["rebuilds"], false, "{redeploy}");
    }
    report_inventory(&world, inventory(&service, &[])).await;
    assert_eq!(rollback().await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destroyed_service_leaves_no_layers() {
    let world = World::new().await;
    world.deploy_to_end().await;
    let service = service_of(&world);
    let answer = world.client.call(http::Method::DELETE, WEB, json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let order = SweepOrder::Destroyed { service };
    wait(|| world.fake.seen(|seen| seen.sweeps.iter().any(|(_, one)| *one == order))).await;
}
