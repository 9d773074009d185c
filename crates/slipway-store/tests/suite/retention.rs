//! Which layers must stay.

use crate::fixture::{Fixture, build_output, done, id, image, new_deployment, planned};
use slipway_pipeline::Event;
use slipway_store::{Change, NewDeployment, ServiceRow};
use slipway_types::cache::Keeper;
use slipway_types::host::PhaseOutput;
use slipway_types::{LayerKind, LayerRef, Phase, ReleaseId, Trigger};
use std::collections::BTreeSet;

/// Keepers' titles for the layer whose key is `key`.
async fn keepers(fixture: &Fixture, keep: u32, key: &str) -> Vec<String> {
    let retained = fixture.store.retained(keep).await.unwrap();
    let of = retained.iter().filter(|entry| entry.layers.iter().any(|layer| layer.key == key));
    of.map(|entry| entry.keeper.title()).collect()
}

async fn released(fixture: &Fixture, service: &ServiceRow, names: &[&str]) {
    for (number, name) in (1_i64..).zip(names) {
        fixture.build(number * 100, service, name).await;
        fixture.go_live(number * 100 + 50, name).await;
    }
}

#[tokio::test]
async fn the_newest_releases_and_what_is_live_stay() {
    let fixture = Fixture::new().await;
    let web = fixture.service("web").await;
    released(&fixture, &web, &["d1", "d2", "d3", "d4"]).await;
    assert_eq!(keepers(&fixture, 2, "d4").await, ["v4 (live)", "v4"]);
    assert_eq!(keepers(&fixture, 2, "d3").await, ["v3"]);
    assert!(keepers(&fixture, 2, "d2").await.is_empty());
    assert_eq!(keepers(&fixture, 10, "d1").await, ["v1"]);

    // Back to the oldest: it is kept while it is on its way, and as what is live.
    let release = Some(ReleaseId::parse("rel-d1").unwrap());
    let back = NewDeployment { trigger: Trigger::Rollback, release, ..new_deployment(&web, "d5") };
    fixture.store.create_deployment(900, &back).await.unwrap();
    assert_eq!(keepers(&fixture, 2, "d1").await, ["d5"]);
    fixture.go_live(910, "d5").await;
    assert_eq!(keepers(&fixture, 2, "d1").await, ["v1 (live)"]);
    assert_eq!(keepers(&fixture, 2, "d4").await, ["v4"], "the newest stay the newest");
}

#[tokio::test]
async fn a_release_that_never_served_pushes_none_out() {
    let fixture = Fixture::new().await;
    let web = fixture.service("web").await;
    released(&fixture, &web, &["d1", "d2"]).await;
    fixture.build(500, &web, "d3").await;
    assert_eq!(keepers(&fixture, 2, "d3").await, ["d3"], "while it starts");
    fixture.tell(600, "d3", Event::ReplicaFailed { code: "app-exited".into() }).await;
    assert!(keepers(&fixture, 2, "d3").await.is_empty());
    assert_eq!(keepers(&fixture, 2, "d1").await, ["v1"]);
}

#[tokio::test]
async fn an_unfinished_deployment_keeps_what_its_phases_made_and_will_make() {
    let fixture = Fixture::new().await;
    let web = fixture.service("web").await;
    fixture.create(10, &web, "d1").await;
    // The output by either name: of a container and of a virtual machine.
    let own: Vec<LayerKind> = vec![LayerKind::Source, LayerKind::Output, LayerKind::Output, LayerKind::Site];
    let kinds = |retained: &[slipway_store::Retained]| -> Vec<LayerKind> {
        retained.iter().flat_map(|entry| &entry.layers).map(|layer| layer.kind).collect()
    };
    assert_eq!(kinds(&fixture.store.retained(1).await.unwrap()), own, "named before they are made");

    fixture.claim(11, 1).await.unwrap();
    let planned = Change { planned: Some(planned()), ..Change::default() };
    fixture.store.apply(12, &id("d1"), &done(Phase::Source), &planned).await.unwrap();
    let environment = PhaseOutput::Environment {
        layers: vec![LayerRef::new(LayerKind::Base, "debian"), LayerRef::new(LayerKind::Toolchain, "node-24.1.0")],
        runtime_versions: vec!["24.1.0".into()],
        package_manager_version: None,
        path: Vec::new(),
    };
    let output = |output| Change { output: Some(output), ..Change::default() };
    fixture.store.apply(13, &id("d1"), &done(Phase::Environment), &output(environment)).await.unwrap();
    for key in ["debian", "node-24.1.0"] {
        assert_eq!(keepers(&fixture, 1, key).await, ["d1"]);
    }
    let built = Change { image: Some(image("built")), ..output(build_output()) };
    fixture.store.apply(14, &id("d1"), &done(Phase::Build), &built).await.unwrap();
    assert_eq!(keepers(&fixture, 1, "abc").await, ["d1"]);
    assert_eq!(keepers(&fixture, 1, "built").await, ["the newest build", "d1"]);

    // A redeploy would take the image, whatever became of the deployment that built it.
    fixture.tell(15, "d1", Event::ReplicaFailed { code: "app-exited".into() }).await;
    assert_eq!(keepers(&fixture, 1, "built").await, ["the newest build"]);
    assert!(keepers(&fixture, 1, "debian").await.is_empty());
}

#[tokio::test]
async fn a_destroyed_service_keeps_nothing() {
    let fixture = Fixture::new().await;
    let (web, api) = (fixture.service("web").await, fixture.service("api").await);
    released(&fixture, &web, &["d1"]).await;
    released(&fixture, &api, &["d2"]).await;
    fixture.store.destroy(&web.service_id).await.unwrap();
    let retained = fixture.store.retained(10).await.unwrap();
    let services: BTreeSet<_> = retained.iter().map(|entry| entry.keeper.service().clone()).collect();
    assert_eq!(services, [api.service_id.clone()].into());
    assert!(retained.iter().any(|entry| matches!(entry.keeper, Keeper::Live { .. })));
}
