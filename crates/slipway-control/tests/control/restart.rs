//! A server that stops at any point and comes back.

use crate::world::{World, targets, wait};
use slipway_types::{DeploymentStatus, Phase};

const HOST: &str = "web-shop.localhost";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_live_is_wanted_under_the_same_ids() {
    let world = World::new().await;
    let live = world.deploy_to_end().await;
    world.until(&live, |view| view.phase == Some(Phase::CleanUp)).await;
    let (before, tables) = world.fake.seen(|seen| (seen.sets.len(), seen.tables.len()));
    let world = world.restart().await;
    let table = world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    wait(|| world.fake.seen(|seen| seen.tables.len() > tables)).await;
    // The edge begins with the first: it must not answer that nothing is ready.
    world.fake.seen(|seen| assert!(!targets(&seen.tables[tables], HOST).is_empty(), "{:?}", seen.tables[tables]));
    assert_eq!(targets(&table, HOST), [format!("{}-1", live.deployment)]);
    world.fake.seen(|seen| {
        assert!(seen.sets.len() > before);
        for set in &seen.sets[before..] {
            assert_eq!(set.replicas.len(), 1, "no set ever left the live replica out");
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_begins_again() {
    for phase in [Phase::Source, Phase::Install, Phase::Build] {
        let world = World::new().await;
        world.fake.script(|script| script.hold = Some(phase));
        let view = world.deploy().await;
        world.until_held(&view, phase).await;
        let world = world.restart_with(|fake| fake.script(|script| script.hold = None)).await;
        world.client.follow(view.deployment.as_str()).await;
        assert_eq!(world.deployment(&view).await.status, DeploymentStatus::Live, "{phase}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_is_not_run_twice() {
    let world = World::new().await;
    world.fake.script(|script| {
        script.manifest = Some("pre_deploy_command = \"npm run migrate\"".to_owned());
        script.hold = Some(Phase::PreDeploy);
    });
    let view = world.deploy().await;
    world.until_held(&view, Phase::PreDeploy).await;
    let world = world.restart_with(|fake| fake.script(|script| script.hold = None)).await;
    world.client.follow(view.deployment.as_str()).await;
    let view = world.deployment(&view).await;
    assert_eq!(view.diagnosis.unwrap().code, "interrupted-pre-deploy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_goes_on() {
    let world = World::new().await;
    world.fake.script(|script| script.hold_replicas = true);
    let view = world.deploy().await;
    world.until(&view, |view| view.phase == Some(Phase::Health)).await;
    let world = world.restart_with(|fake| fake.script(|script| script.hold_replicas = false)).await;
    world.client.follow(view.deployment.as_str()).await;
    assert_eq!(world.deployment(&view).await.status, DeploymentStatus::Live);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_goes_on() {
    let world = World::new().await;
    world.deploy_to_end().await;
    world.fake.script(|script| script.hold_drain = true);
    let second = world.deploy_to_end().await;
    world.until(&second, |view| view.phase == Some(Phase::Drain)).await;
    let world = world.restart().await;
    world.until(&second, |view| view.phase == Some(Phase::CleanUp)).await;
    let table = world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    assert_eq!(targets(&table, HOST), [format!("{}-1", second.deployment)]);
}
