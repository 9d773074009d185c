//! What happens to what is live: crashes, restarts, other numbers of replicas, stops.

use crate::client::PATIENCE;
use crate::fake::{Seen, exited, ready};
use crate::world::{WEB, World, replica, targets, wait};
use serde_json::json;
use slipway_types::api::{DeploymentView, EventView, ServiceView};
use slipway_types::host::{Evidence, ExitFacts, HealthFacts, HostReport, ProbeResult, ReplicaState, Restart};
use slipway_types::route::{RouteTable, Sleep};
use slipway_types::settings::DurationMs;
use slipway_types::{DeploymentStatus, Phase, ReplicaId, Trigger};

const HOST: &str = "web-shop.localhost";
const RECOVERS: Sleep = Sleep::Waking { wait_max: DurationMs::seconds(10) };

/// A live deployment with nothing left to do.
async fn live(world: &World, manifest: &str) -> DeploymentView {
    world.fake.script(|script| script.manifest = Some(manifest.to_owned()));
    let live = world.deploy_to_end().await;
    let live = world.until(&live, |view| view.phase == Some(Phase::CleanUp)).await;
    assert_eq!(live.status, DeploymentStatus::Live);
    live
}

async fn post(world: &World, order: &str) -> ServiceView {
    let answer = world.client.post(&format!("{WEB}/{order}"), json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

async fn scale(world: &World, replicas: u32) -> ServiceView {
    world.client.post(&format!("{WEB}/scale"), json!({"replicas": replicas})).await.json()
}

/// Numbers of the replicas of each set that the host was given, without repetitions.
fn sets(seen: &Seen) -> Vec<Vec<u32>> {
    let number = |replica: &ReplicaId| replica.as_str().rsplit('-').next().unwrap().parse().unwrap();
    let numbers = |set: &slipway_types::host::ReplicaSet| {
        let mut numbers: Vec<u32> = set.replicas.iter().map(|spec| number(&spec.replica)).collect();
        numbers.sort_unstable();
        numbers
    };
    let mut sets: Vec<_> = seen.sets.iter().map(numbers).collect();
    sets.dedup();
    sets
}

async fn until_set(world: &World, wanted: &[u32]) {
    wait(|| world.fake.seen(|seen| sets(seen).last().is_some_and(|last| last == wanted))).await;
}

async fn kinds(world: &World) -> Vec<String> {
    let events: Vec<EventView> = world.client.get(&format!("{WEB}/events?limit=100")).await.json();
    events.into_iter().rev().map(|event| event.kind).collect()
}

async fn until_event(world: &World, kind: &str) {
    let looking = async {
        while !kinds(world).await.iter().any(|known| known == kind) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("the event to come");
}

async fn report(world: &World, replica: &ReplicaId, state: ReplicaState) {
    world.fake.report(HostReport::Replica { replica: replica.clone(), state }).await;
}

/// It ended, for the nth time since it ran well.
fn crashed(crashes: u32) -> ReplicaState {
    let restart = Some(Restart { crashes, pause_ms: 4000 });
    ReplicaState::Unready { evidence: Box::new(Evidence { restart, ..exited(Some(Phase::Start), Vec::new()) }) }
}

fn fails_probes(last_probe: ProbeResult) -> ReplicaState {
    let facts = HealthFacts {
        port: 3000,
        path: Some("/".into()),
        last_probe: Some(last_probe),
        listening: vec![],
        waited_ms: 1,
    };
    let (phase, health) = (Some(Phase::Health), Some(facts));
    ReplicaState::Unready { evidence: Box::new(Evidence { phase, health, ..Evidence::default() }) }
}

fn sleep_of(table: &RouteTable) -> Option<Sleep> {
    table.routes.iter().find(|route| route.host == HOST).and_then(|route| route.sleep)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_replaces_one_by_one_and_waits_for_what_is_in_flight() {
    let world = World::new().await;
    let live = live(&world, "replicas = 2\n").await;
    world.until_routes(|table| targets(table, HOST).len() == 2).await;
    let before = world.fake.seen(|seen| sets(seen).len());
    world.fake.script(|script| (script.hold_drain, script.hold_replicas) = (true, true));
    let service = post(&world, "restart").await;
    assert_eq!(service.restart.as_ref().map(|restart| (restart.replaced, restart.of)), Some((0, 2)));
    until_set(&world, &[1, 2, 3]).await;
    assert_eq!(targets(&world.tables.borrow(), HOST).len(), 2, "what is not ready gets nothing");
    report(&world, &replica(&live, 3), ready(&replica(&live, 3))).await;
    // Ready, so that the first leaves the route; it runs until nothing is in flight to it.
    let both = [replica(&live, 2).to_string(), replica(&live, 3).to_string()];
    world.until_routes(|table| targets(table, HOST) == both).await;
    until_set(&world, &[1, 2, 3, 4]).await;
    let edge = slipway_types::route::EdgeReport::Drained { replica: replica(&live, 1) };
    world.fake.report_of_edge(edge).await;
    until_set(&world, &[2, 3, 4]).await;
    world.fake.script(|script| script.hold_drain = false);
    report(&world, &replica(&live, 4), ready(&replica(&live, 4))).await;
    until_set(&world, &[3, 4]).await;
    let over = world.until_web(|service| service.restart.as_ref().is_some_and(|restart| restart.is_over())).await;
    assert_eq!((over.replicas_wanted, over.restart.unwrap().failed), (2, None));
    let seen = world.fake.seen(|seen| sets(seen).split_off(before - 1));
    assert_eq!(seen, [vec![1, 2], vec![1, 2, 3], vec![1, 2, 3, 4], vec![2, 3, 4], vec![3, 4]]);
    let kinds = kinds(&world).await;
    assert_eq!(kinds[kinds.len() - 2..], ["service-restarting", "service-restarted"], "{kinds:?}");
    assert_eq!(world.fake.seen(|seen| seen.work.len()), 4, "nothing was built again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_when_the_server_comes_back() {
    let world = World::new().await;
    let live = live(&world, "replicas = 2\n").await;
    world.fake.script(|script| script.hold_replicas = true);
    post(&world, "restart").await;
    until_set(&world, &[1, 2, 3]).await;
    let world = world.restart_with(|fake| fake.script(|script| script.hold_replicas = false)).await;
    until_set(&world, &[3, 4]).await;
    let both = [replica(&live, 3).to_string(), replica(&live, 4).to_string()];
    world.until_routes(|table| targets(table, HOST) == both).await;
    let seen = world.fake.seen(sets);
    assert!(seen.iter().skip_while(|set| set.len() < 2).all(|set| set.len() >= 2), "never fewer: {seen:?}");
    // And the same ones after the next.
    let world = world.restart().await;
    until_set(&world, &[3, 4]).await;
    world.until_web(|service| service.replicas.len() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_whose_replica_does_not_come_up_leaves_the_old_ones() {
    let world = World::new().await;
    let live = live(&world, "replicas = 2\n").await;
    world.fake.script(|script| script.fail_replicas = true);
    post(&world, "restart").await;
    let service =
        world.until_web(|service| service.restart.as_ref().is_some_and(|restart| restart.failed.is_some())).await;
    assert_eq!(service.restart.unwrap().failed.unwrap().code, "app-exited");
    until_set(&world, &[1, 2]).await;
    let both = [replica(&live, 1).to_string(), replica(&live, 2).to_string()];
    world.until_routes(|table| targets(table, HOST) == both).await;
    assert!(kinds(&world).await.contains(&"service-restart-failed".to_owned()));
    assert_eq!(world.deployment(&live).await.status, DeploymentStatus::Live, "a restart fails no deployment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_replicas_needs_no_deployment() {
    let world = World::new().await;
    live(&world, "").await;
    assert_eq!(scale(&world, 3).await.replicas_wanted, 3);
    until_set(&world, &[1, 2, 3]).await;
    world.until_routes(|table| targets(table, HOST).len() == 3).await;
    let world = world.restart().await;
    until_set(&world, &[1, 2, 3]).await;
    assert_eq!(scale(&world, 1).await.replicas_wanted, 1);
    until_set(&world, &[1]).await;
    assert_eq!(scale(&world, 2).await.replicas_wanted, 2);
    until_set(&world, &[1, 4]).await;
    for (replicas, code) in [(0, "scale-zero"), (33, "setting-invalid")] {
        let answer = world.client.post(&format!("{WEB}/scale"), json!({"replicas": replicas})).await;
        assert_eq!(answer.refusal(), (422, code.to_owned()));
    }
    // What comes next begins with as many.
    let next = world.deploy_to_end().await;
    world.until(&next, |view| view.phase == Some(Phase::CleanUp)).await;
    until_set(&world, &[1, 2]).await;
    assert_eq!(world.web().await.replicas_wanted, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stopped_stays_so_until_it_is_started_or_deployed() {
    let world = World::new().await;
    let answer = world.client.post(&format!("{WEB}/stop"), json!({})).await;
    assert_eq!(answer.refusal(), (404, "service-unknown".to_owned()));
    let first = live(&world, "replicas = 2\n").await;
    post(&world, "stop").await;
    until_set(&world, &[]).await;
    let table = world.until_routes(|table| sleep_of(table) == Some(Sleep::Stopped)).await;
    assert_eq!(targets(&table, HOST), [""; 0]);
    post(&world, "stop").await;
    let world = world.restart().await;
    world.until_routes(|table| sleep_of(table) == Some(Sleep::Stopped)).await;
    let service = world.web().await;
    assert_eq!((service.stopped, service.replicas_wanted, service.replicas.len()), (true, 2, 0));
    assert!(world.fake.seen(|seen| seen.running.is_empty()));
    assert_eq!(world.client.post(&format!("{WEB}/restart"), json!({})).await.refusal().1, "service-stopped");

    post(&world, "start").await;
    world.until_routes(|table| targets(table, HOST).len() == 2).await;
    assert_eq!(world.fake.seen(|seen| sets(seen).last().cloned()), Some(vec![3, 4]), "no number is given twice");
    post(&world, "start").await;
    // Stopped it is a deployment, not for ever.
    post(&world, "stop").await;
    until_set(&world, &[]).await;
    let second = live(&world, "").await;
    assert_ne!(first.deployment, second.deployment);
    world.until_routes(|table| targets(table, HOST) == [replica(&second, 1).to_string()]).await;
    assert!(!world.web().await.stopped);
    let kinds = kinds(&world).await;
    for (kind, times) in [("service-stopped", 2), ("service-started", 1)] {
        assert_eq!(kinds.iter().filter(|known| *known == kind).count(), times, "{kinds:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_crashes_soon_after_it_went_live_is_taken_back() {
    let world = World::new().await;
    let first = live(&world, "").await;
    // Nothing was live before the first one.
    report(&world, &replica(&first, 1), crashed(1)).await;
    until_event(&world, "replica-exited").await;
    let table = world.until_routes(|table| targets(table, HOST).is_empty()).await;
    assert_eq!(sleep_of(&table), Some(RECOVERS), "its requests wait for its next start");
    report(&world, &replica(&first, 1), ready(&replica(&first, 1))).await;
    world.until_routes(|table| !targets(table, HOST).is_empty()).await;

    let second = live(&world, "").await;
    world.fake.script(|script| script.hold_replicas = true);
    // Somebody killed it: that says nothing of the release.
    let killed = ExitFacts { code: Some(137), signal: None, out_of_memory: false };
    let (exit, restart) = (Some(killed), Some(Restart { crashes: 1, pause_ms: 100 }));
    let evidence = Box::new(Evidence { exit, restart, ..Evidence::default() });
    report(&world, &replica(&second, 1), ReplicaState::Unready { evidence }).await;
    report(&world, &replica(&second, 1), ready(&replica(&second, 1))).await;
    until_event(&world, "replica-ready").await;
    assert_eq!(world.web().await.newest, None);
    report(&world, &replica(&second, 1), crashed(1)).await;
    until_event(&world, "deployment-crashed").await;
    let service = world
        .until_web(|service| service.newest.as_ref().is_some_and(|newest| newest.phase == Some(Phase::Health)))
        .await;
    let (live, back) = (service.live.unwrap(), service.newest.unwrap());
    assert_eq!((live.deployment, back.trigger, back.release), (second.deployment.clone(), Trigger::Rollback, Some(1)));
    // It crashes again and again: still there is something to wait for.
    report(&world, &replica(&second, 1), crashed(3)).await;
    until_event(&world, "replica-crash-looping").await;
    let table = world.until_routes(|table| targets(table, HOST).is_empty()).await;
    assert_eq!(sleep_of(&table), Some(RECOVERS));

    report(&world, &replica(&back, 1), ready(&replica(&back, 1))).await;
    world.until_routes(|table| targets(table, HOST) == [replica(&back, 1).to_string()]).await;
    let failed = world.until(&second, |view| view.status == DeploymentStatus::Failed).await;
    let diagnosis = failed.diagnosis.unwrap();
    assert_eq!(diagnosis.code, "app-exited");
    assert!(diagnosis.hints.iter().any(|hint| hint.contains("brought back")), "{diagnosis:?}");
    until_set(&world, &[1]).await;
    assert!(world.fake.seen(|seen| seen.sets.last().unwrap().replicas[0].deployment == back.deployment));
    let events: Vec<EventView> = world.client.get(&format!("{WEB}/events?limit=100")).await.json();
    let told = |kind: &str| events.iter().find(|event| event.kind == kind).map(|event| event.message.as_str());
    assert!(told("deployment-crashed").unwrap().contains("v1 is brought back"), "{events:?}");
    assert!(told("replica-exited").unwrap().contains("exited with status 1; it starts again in 4.0 s"), "{events:?}");
    // What was brought back is not taken back in its turn.
    report(&world, &replica(&back, 1), crashed(1)).await;
    world.until_routes(|table| targets(table, HOST).is_empty()).await;
    report(&world, &replica(&back, 1), ready(&replica(&back, 1))).await;
    world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    assert_eq!(world.web().await.live.unwrap().deployment, back.deployment);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_without_a_window_is_not_taken_back() {
    let world = World::new().await;
    live(&world, "").await;
    let second = live(&world, "[health]\nrollback_window = \"0s\"\n").await;
    report(&world, &replica(&second, 1), crashed(1)).await;
    until_event(&world, "replica-exited").await;
    report(&world, &replica(&second, 1), ready(&replica(&second, 1))).await;
    until_event(&world, "replica-ready").await;
    let service = world.web().await;
    assert_eq!((service.live.unwrap().deployment, service.newest), (second.deployment, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_ends_while_others_start_fails_the_deployment() {
    let world = World::new().await;
    world.fake.script(|script| {
        script.hold_replicas = true;
        script.manifest = Some("replicas = 2\n".to_owned());
    });
    let starting = world.deploy().await;
    let starting = world.until(&starting, |view| view.phase == Some(Phase::Health)).await;
    report(&world, &replica(&starting, 1), ready(&replica(&starting, 1))).await;
    report(&world, &replica(&starting, 1), crashed(1)).await;
    let failed = world.until(&starting, |view| view.status.is_settled()).await;
    assert_eq!((failed.status, failed.diagnosis.unwrap().code.as_str()), (DeploymentStatus::Failed, "app-exited"));
    wait(|| world.fake.seen(|seen| seen.running.is_empty())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_none_is_ready_what_answers_still_serves_and_what_does_not_is_named() {
    let world = World::new().await;
    let live = live(&world, "replicas = 2\n").await;
    let (one, two) = (replica(&live, 1), replica(&live, 2));
    world.until_routes(|table| targets(table, HOST).len() == 2).await;
    // Out of the route while another is ready.
    report(&world, &one, fails_probes(ProbeResult::Status { status: 503 })).await;
    world.until_routes(|table| targets(table, HOST) == [two.to_string()]).await;
    // None is ready: whoever answers is better than nobody.
    report(&world, &two, fails_probes(ProbeResult::TimedOut)).await;
    world.until_routes(|table| targets(table, HOST) == [one.to_string()]).await;
    report(&world, &one, crashed(3)).await;
    let table = world.until_routes(|table| targets(table, HOST).is_empty()).await;
    assert_eq!(sleep_of(&table), None, "a crash loop and a hung one are not waited for");
    let service = world.until_web(|service| service.replicas.iter().any(|one| one.state == "crash-looping")).await;
    let looping = &service.replicas[0];
    let trouble = looping.trouble.clone().unwrap();
    assert_eq!((looping.replica.clone(), trouble.code.as_str(), trouble.crashes), (one.clone(), "app-exited", 3));
    assert_eq!(trouble.exit, Some(ExitFacts { code: Some(1), signal: None, out_of_memory: false }));
    assert!(trouble.next_start_at.is_some_and(|at| at > service.replicas[0].since), "{trouble:?}");
    assert_eq!(service.replicas[1].state, "unready");
    report(&world, &one, ready(&one)).await;
    world.until_web(|service| service.replicas[0].trouble.is_none()).await;
    until_event(&world, "replica-ready").await;
    let kinds = kinds(&world).await;
    for kind in ["replica-unready", "replica-exited", "replica-crash-looping", "replica-ready"] {
        assert!(kinds.iter().any(|known| known == kind), "{kind}: {kinds:?}");
    }
}
