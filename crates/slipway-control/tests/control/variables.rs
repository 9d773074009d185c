//! Changed variables reach what is live: by a restart one by one, or while it runs.

use crate::client::PATIENCE;
use crate::fake::ready;
use crate::world::{WEB, World, replica, targets, wait};
use http::Method;
use serde_json::json;
use slipway_types::api::{DeploymentView, EnvAction, EnvApplyView, EventView};
use slipway_types::host::{Evidence, ExitFacts, HostReport, ReplicaSpec, ReplicaState, Restart};
use slipway_types::route::EdgeReport;
use slipway_types::{DeploymentStatus, Phase, ReplicaId};
use std::collections::BTreeMap;

const HOST: &str = "web-shop.localhost";
const SIGNAL: &str = "replicas = 2\n[run]\nreload = \"signal\"\n";

/// A live deployment with nothing left to do.
async fn live(world: &World, manifest: &str) -> DeploymentView {
    world.fake.script(|script| script.manifest = Some(manifest.to_owned()));
    let live = world.deploy_to_end().await;
    let live = world.until(&live, |view| view.phase == Some(Phase::CleanUp)).await;
    assert_eq!(live.status, DeploymentStatus::Live);
    live
}

async fn set(world: &World, name: &str, value: &str, build: bool) {
    let body = json!({"set": {name: {"value": value, "build": build}}});
    let answer = world.client.call(Method::PATCH, &format!("{WEB}/env"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn apply(world: &World) -> EnvApplyView {
    let answer = world.client.post(&format!("{WEB}/env/apply"), json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Of the set that the host has now.
fn specs(world: &World) -> Vec<ReplicaSpec> {
    world.fake.seen(|seen| seen.sets.last().map(|set| set.replicas.clone()).unwrap_or_default())
}

/// The value of `A` that each replica is to have, by number.
fn values(world: &World) -> BTreeMap<String, Option<String>> {
    let value = |spec: &ReplicaSpec| spec.env.get("A").map(|value| value.expose().to_owned());
    specs(world).iter().map(|spec| (spec.replica.as_str().rsplit('-').next().unwrap().into(), value(spec))).collect()
}

fn wanted(values: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    values.iter().map(|(number, value)| ((*number).to_owned(), value.map(str::to_owned))).collect()
}

async fn until_values(world: &World, all: &[(&str, Option<&str>)]) {
    let all = wanted(all);
    wait(|| values(world) == all).await;
}

async fn report(world: &World, replica: &ReplicaId, state: ReplicaState) {
    world.fake.report(HostReport::Replica { replica: replica.clone(), state }).await;
}

async fn events(world: &World) -> Vec<EventView> {
    world.client.get(&format!("{WEB}/events?limit=100")).await.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_variables_come_with_new_replicas_one_by_one_and_a_rollback_undoes_them() {
    let world = World::new().await;
    let before = apply_before_anything(&world).await;
    assert!(matches!(before.action, EnvAction::Nothing { .. }));
    let live = live(&world, "replicas = 2\n").await;
    assert!(matches!(apply(&world).await.action, EnvAction::Nothing { .. }), "it has them already");
    world.fake.script(|script| script.hold_replicas = true);
    set(&world, "A", "new", false).await;
    let applied = apply(&world).await;
    assert_eq!((applied.variables, applied.under_way), (vec!["A".to_owned()], None));
    assert_eq!(applied.action, EnvAction::Restarting { release: 2, replicas: 2 });
    until_values(&world, &[("1", Some("old")), ("2", Some("old")), ("3", Some("new"))]).await;
    assert_eq!(targets(&world.tables.borrow(), HOST).len(), 2, "what is not ready gets nothing");
    // A server that comes back in the middle of it goes on.
    let world = world.restart_with(|fake| fake.script(|script| script.hold_replicas = false)).await;
    until_values(&world, &[("3", Some("new")), ("4", Some("new"))]).await;
    let service = world.until_web(|service| service.replicas.len() == 2).await;
    assert_eq!(service.live.unwrap().release, Some(2));
    assert_eq!(world.fake.seen(|seen| seen.work.len()), 4, "nothing was built again");
    assert!(
        events(&world).await.iter().any(|event| event.kind == "variables-changed" && event.message.contains("`A`"))
    );

    let answer = world.client.post(&format!("{WEB}/rollback"), json!({})).await;
    let back: DeploymentView = answer.json();
    world.until(&back, |view| view.status == DeploymentStatus::Live && view.phase == Some(Phase::CleanUp)).await;
    until_values(&world, &[("1", Some("old")), ("2", Some("old"))]).await;
    assert_ne!(back.deployment, live.deployment);
    // And forth: the newest variables count, for what was rolled back to as well.
    assert_eq!(apply(&world).await.action, EnvAction::Restarting { release: 3, replicas: 2 });
    until_values(&world, &[("3", Some("new")), ("4", Some("new"))]).await;
}

async fn apply_before_anything(world: &World) -> EnvApplyView {
    set(world, "A", "old", false).await;
    apply(world).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_that_no_replica_starts_with_are_not_taken() {
    let world = World::new().await;
    set(&world, "A", "old", false).await;
    live(&world, "replicas = 2\n").await;
    world.fake.script(|script| script.fail_replicas = true);
    set(&world, "A", "bad", false).await;
    assert!(matches!(apply(&world).await.action, EnvAction::Restarting { .. }));
    world
        .until_web(|service| {
            let failed = service.restart.as_ref().is_some_and(|restart| restart.failed.is_some());
            failed && service.live.as_ref().is_some_and(|live| live.release == Some(1))
        })
        .await;
    until_values(&world, &[("1", Some("old")), ("2", Some("old"))]).await;
    world.fake.script(|script| script.fail_replicas = false);
    // A replica that comes later has what is in force, after a restart of the server too.
    let scaled = world.client.post(&format!("{WEB}/scale"), json!({"replicas": 3})).await;
    assert_eq!(scaled.status, 200);
    until_values(&world, &[("1", Some("old")), ("2", Some("old")), ("4", Some("old"))]).await;
    let world = world.restart().await;
    until_values(&world, &[("1", Some("old")), ("2", Some("old")), ("4", Some("old"))]).await;
    set(&world, "A", "good", false).await;
    apply(&world).await;
    until_values(&world, &[("5", Some("good")), ("6", Some("good")), ("7", Some("good"))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_build_reads_needs_a_build_and_changes_nothing_that_runs() {
    let world = World::new().await;
    live(&world, "").await;
    set(&world, "A", "new", false).await;
    set(&world, "B", "baked in", true).await;
    let applied = apply(&world).await;
    let EnvAction::NeedsBuild { because } = applied.action else { panic!("{applied:?}") };
    assert_eq!((because.as_str(), applied.variables), ("the build reads `B`", vec!["A".to_owned(), "B".to_owned()]));
    assert_eq!((values(&world), world.web().await.live.unwrap().release), (wanted(&[("1", None)]), Some(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_began_before_the_change_is_named() {
    let world = World::new().await;
    live(&world, "").await;
    world.fake.script(|script| script.hold = Some(Phase::Build));
    let under_way = world.deploy().await;
    world.until_held(&under_way, Phase::Build).await;
    set(&world, "A", "new", false).await;
    assert_eq!(apply(&world).await.under_way, Some(under_way.deployment));
    until_values(&world, &[("2", Some("new"))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_wants_it_is_told_while_it_runs() {
    let world = World::new().await;
    set(&world, "A", "old", false).await;
    live(&world, SIGNAL).await;
    world.fake.script(|script| script.hold_values = true);
    set(&world, "A", "new", false).await;
    assert_eq!(apply(&world).await.action, EnvAction::Reloading { release: 2, replicas: 2 });
    let reload = world.web().await.reload.unwrap();
    assert_eq!((reload.taken, reload.of, reload.is_over()), (0, 2, false));
    // The host is told again by a server that comes back, and by whatever else changes.
    let world = world.restart_with(|fake| fake.script(|script| script.hold_values = false)).await;
    until_values(&world, &[("1", Some("new")), ("2", Some("new"))]).await;
    wait(|| world.fake.seen(|seen| seen.running.keys().all(|replica| seen.values[replica] == 2))).await;
    set(&world, "A", "newer", false).await;
    apply(&world).await;
    let service = world.until_web(|service| service.reload.as_ref().is_some_and(|reload| reload.is_over())).await;
    assert_eq!((service.reload.unwrap().failed, service.replicas.len()), (None, 2));
    until_values(&world, &[("1", Some("newer")), ("2", Some("newer"))]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_told_is_restarted_and_what_dies_of_it_is_named() {
    let world = World::new().await;
    let live = live(&world, SIGNAL).await;
    world.fake.script(|script| script.values_trouble = Some("the agent is of an older version".to_owned()));
    set(&world, "A", "one", false).await;
    apply(&world).await;
    until_values(&world, &[("3", Some("one")), ("4", Some("one"))]).await;
    let kinds: Vec<_> = events(&world).await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "replica-not-told").count(), 1, "{kinds:?}");

    world.until_web(|service| service.replicas.len() == 2).await;
    world.fake.script(|script| script.hold_values = true);
    set(&world, "A", "two", false).await;
    apply(&world).await;
    let exit = Some(ExitFacts { code: None, signal: Some(10), out_of_memory: false });
    let restart = Some(Restart { crashes: 1, pause_ms: 1000 });
    let evidence = Box::new(Evidence { exit, restart, was_signaled: true, ..Evidence::default() });
    report(&world, &replica(&live, 3), ReplicaState::Unready { evidence }).await;
    let service =
        world.until_web(|service| service.reload.as_ref().is_some_and(|reload| reload.failed.is_some())).await;
    assert!(service.reload.unwrap().failed.unwrap().contains("SIGUSR1"));
    let trouble = service.replicas.iter().find_map(|replica| replica.trouble.clone()).unwrap();
    assert_eq!(trouble.code, "app-exited");
    report(&world, &replica(&live, 3), ready(&replica(&live, 3))).await;
    world.until_web(|service| service.replicas.iter().all(|replica| replica.state == "ready")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stopped_or_asleep_begins_with_them() {
    let world = World::new().await;
    let live = live(&world, "[sleep]\nafter = \"10m\"\n[run]\nreload = \"signal\"\n").await;
    world.client.post(&format!("{WEB}/stop"), json!({})).await;
    set(&world, "A", "one", false).await;
    assert_eq!(apply(&world).await.action, EnvAction::NextStart { release: 2 });
    world.client.post(&format!("{WEB}/start"), json!({})).await;
    until_values(&world, &[("2", Some("one"))]).await;
    world.until_web(|service| service.replicas.iter().any(|replica| replica.state == "ready")).await;
    let asleep = async {
        while world.web().await.sleep != Some(slipway_types::api::SleepView::Asleep) {
            world.fake.report_of_edge(EdgeReport::Idle { deployment: live.deployment.clone() }).await;
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asleep).await.expect("it to sleep");
    set(&world, "A", "two", false).await;
    assert_eq!(apply(&world).await.action, EnvAction::NextStart { release: 3 });
    world.fake.report_of_edge(EdgeReport::WakeWanted { deployment: live.deployment.clone() }).await;
    wait(|| world.fake.seen(|seen| !seen.running.is_empty())).await;
    until_values(&world, &[("2", Some("two"))]).await;
}
