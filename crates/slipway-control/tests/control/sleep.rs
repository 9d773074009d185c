//! What sleeps and wakes.

use crate::fake::{exited, ready};
use crate::world::{WEB, World, targets, wait};
use serde_json::json;
use slipway_types::api::{DeploymentView, SleepView};
use slipway_types::host::{HostReport, ReplicaSpec, ReplicaState};
use slipway_types::route::{EdgeReport, RouteTable, Sleep};
use slipway_types::settings::DurationMs;
use slipway_types::{Phase, ReplicaId};

const HOST: &str = "web-shop.localhost";
const AFTER: Sleep = Sleep::After { idle: DurationMs::seconds(600) };
const ASLEEP: Sleep = Sleep::Asleep { wait_max: DurationMs::seconds(60) };

fn sleep_of(table: &RouteTable, host: &str) -> Option<Sleep> {
    table.routes.iter().find(|route| route.host == host).and_then(|route| route.sleep)
}

/// A live deployment of one replica that may sleep.
async fn live(world: &World) -> (DeploymentView, ReplicaId) {
    world.fake.script(|script| script.manifest = Some("[sleep]\nafter = \"10m\"\n".to_owned()));
    let live = world.deploy_to_end().await;
    world.until(&live, |view| view.phase == Some(Phase::CleanUp)).await;
    let table = world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    assert_eq!(sleep_of(&table, HOST), Some(AFTER));
    let replica = ReplicaId::parse(format!("{}-1", live.deployment)).unwrap();
    (live, replica)
}

async fn idle(world: &World, live: &DeploymentView) {
    world.fake.report_of_edge(EdgeReport::Idle { deployment: live.deployment.clone() }).await;
}

async fn wake(world: &World, live: &DeploymentView) {
    world.fake.report_of_edge(EdgeReport::WakeWanted { deployment: live.deployment.clone() }).await;
}

async fn until_sleep(world: &World, wanted: SleepView) {
    let looking = async {
        while world.web().await.sleep.as_ref() != Some(&wanted) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::client::PATIENCE, looking).await.expect("the sleep to be as wanted");
}

fn last_spec(world: &World) -> ReplicaSpec {
    world.fake.seen(|seen| seen.sets.last().unwrap().replicas[0].clone())
}

async fn asleep(world: &World) -> (DeploymentView, ReplicaId) {
    let (live, replica) = live(world).await;
    idle(world, &live).await;
    until_sleep(world, SleepView::Asleep).await;
    wait(|| world.fake.seen(|seen| seen.running.is_empty())).await;
    (live, replica)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_idle_sleeps_and_a_request_wakes_it() {
    let world = World::new().await;
    let (live, replica) = asleep(&world).await;
    let table = world.until_routes(|table| sleep_of(table, HOST) == Some(ASLEEP)).await;
    assert_eq!(targets(&table, HOST), [""; 0]);
    assert_eq!(sleep_of(&table, &format!("{}.localhost", live.deployment)), Some(ASLEEP));
    assert!(last_spec(&world).asleep);
    let service = world.web().await;
    assert_eq!((service.replicas_wanted, service.replicas.len()), (1, 0));
    assert_eq!(service.live.unwrap().deployment, live.deployment, "nothing else changes");
    // Its layers stay.
    world.fake.report(HostReport::RetentionWanted { request: 7 }).await;
    wait(|| world.fake.seen(|seen| !seen.retained.is_empty())).await;
    let kept = world.fake.seen(|seen| seen.retained[0].layers.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert!(kept.contains(&"source-s".to_owned()), "{kept:?}");

    wake(&world, &live).await;
    let table = world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    assert_eq!((targets(&table, HOST), sleep_of(&table, HOST)), (vec![replica.to_string()], Some(AFTER)));
    let spec = last_spec(&world);
    assert_eq!((spec.asleep, spec.served, spec.stable_window), (false, true, DurationMs(0)));
    until_sleep(&world, SleepView::Awake).await;
    // Once more, and what comes twice or late changes nothing.
    wake(&world, &live).await;
    idle(&world, &live).await;
    idle(&world, &live).await;
    until_sleep(&world, SleepView::Asleep).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_puts_off_the_sleep_and_a_request_ends_it() {
    let world = World::new().await;
    let (live, replica) = live(&world).await;
    world.fake.script(|script| script.hold_drain = true);
    idle(&world, &live).await;
    world.until_routes(|table| sleep_of(table, HOST) == Some(ASLEEP)).await;
    assert_eq!(world.web().await.sleep, Some(SleepView::Awake), "its replica runs until nothing is in flight");
    wake(&world, &live).await;
    let table = world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    assert_eq!(targets(&table, HOST), [replica.to_string()]);
    assert!(world.fake.seen(|seen| seen.sets.iter().all(|set| set.replicas.iter().all(|spec| !spec.asleep))));
    // About to sleep, and drained at last.
    idle(&world, &live).await;
    world.until_routes(|table| sleep_of(table, HOST) == Some(ASLEEP)).await;
    world.fake.report_of_edge(EdgeReport::Drained { replica }).await;
    until_sleep(&world, SleepView::Asleep).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_live_ready_and_asked_to_sleeps() {
    let world = World::new().await;
    // Not asked to.
    let never = world.deploy_to_end().await;
    world.until(&never, |view| view.phase == Some(Phase::CleanUp)).await;
    idle(&world, &never).await;
    assert_eq!(world.web().await.sleep, None);
    let (live, replica) = live(&world).await;
    // Crashing.
    let state = ReplicaState::Unready { evidence: Box::new(exited(None, Vec::new())) };
    world.fake.report(HostReport::Replica { replica: replica.clone(), state }).await;
    world.until_routes(|table| targets(table, HOST).is_empty()).await;
    idle(&world, &live).await;
    idle(&world, &never).await;
    let state = ready(&replica);
    world.fake.report(HostReport::Replica { replica, state }).await;
    let table = world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    assert_eq!(sleep_of(&table, HOST), Some(AFTER));
    assert!(world.fake.seen(|seen| seen.sets.iter().all(|set| set.replicas.iter().all(|spec| !spec.asleep))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stays_asleep_when_the_server_comes_back() {
    let world = World::new().await;
    let (live, replica) = asleep(&world).await;
    let before = world.fake.seen(|seen| seen.sets.len());
    let world = world.restart().await;
    world.until_routes(|table| sleep_of(table, HOST) == Some(ASLEEP)).await;
    assert_eq!(world.web().await.sleep, Some(SleepView::Asleep));
    wait(|| world.fake.seen(|seen| seen.sets.len() > before)).await;
    assert!(world.fake.seen(|seen| seen.running.is_empty() && seen.sets.last().unwrap().replicas[0].asleep));
    wake(&world, &live).await;
    let table = world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    assert_eq!(targets(&table, HOST), [replica.to_string()]);
    // Awake, it is after the next restart too.
    let world = world.restart().await;
    world.until_routes(|table| sleep_of(table, HOST) == Some(AFTER)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn woken_before_it_has_stopped_it_starts_once_it_has() {
    let world = World::new().await;
    world.fake.script(|script| script.hold_stop = true);
    let (live, replica) = asleep(&world).await;
    wake(&world, &live).await;
    until_sleep(&world, SleepView::Waking).await;
    assert!(last_spec(&world).asleep, "not before its end: it has the same name");
    world.fake.report(HostReport::Replica { replica, state: ReplicaState::Stopped }).await;
    world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    assert!(!last_spec(&world).asleep);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wake_that_fails_is_diagnosed_and_no_sleep() {
    let world = World::new().await;
    let set = json!({"set": {"TOKEN": {"value": "hunter2hunter2", "secret": true}}});
    world.client.call(http::Method::PATCH, &format!("{WEB}/env"), set).await;
    let (live, replica) = asleep(&world).await;
    world.fake.script(|script| script.hold_replicas = true);
    wake(&world, &live).await;
    until_sleep(&world, SleepView::Waking).await;
    let tail = vec!["Error: no database at hunter2hunter2".to_owned()];
    let state = ReplicaState::Unready { evidence: Box::new(exited(None, tail)) };
    world.fake.report(HostReport::Replica { replica: replica.clone(), state }).await;
    let table = world.until_routes(|table| sleep_of(table, HOST).is_none()).await;
    let route = table.routes.iter().find(|route| route.host == HOST).unwrap();
    assert_eq!(route.unavailable_because.as_deref(), Some("it was asleep and could not start"));
    let service = world.web().await;
    let Some(SleepView::WakeFailed { diagnosis }) = &service.sleep else { panic!("{:?}", service.sleep) };
    assert!(!diagnosis.code.is_empty() && !diagnosis.what.is_empty(), "{diagnosis:?}");
    assert!(!serde_json::to_string(&service).unwrap().contains("hunter2hunter2"), "{diagnosis:?}");
    // The host goes on trying. It is told after the edge.
    wait(|| !last_spec(&world).asleep).await;
    let events = world.client.get(&format!("{WEB}/events")).await.text();
    assert!(events.contains("replica-unready") && events.contains("service-woken"), "{events}");
    // It starts after all.
    let state = ready(&replica);
    world.fake.report(HostReport::Replica { replica, state }).await;
    world.until_routes(|table| sleep_of(table, HOST) == Some(AFTER)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sleeps_gives_way_to_what_goes_live_and_to_its_end() {
    let world = World::new().await;
    let (first, _) = asleep(&world).await;
    let (second, replica) = live(&world).await;
    assert_ne!(first.deployment, second.deployment);
    // What slept is not wanted any more; the host hears it after the edge.
    let wanted = |seen: &crate::fake::Seen| {
        seen.sets.last().unwrap().replicas.iter().map(|spec| spec.replica.clone()).collect::<Vec<_>>()
    };
    wait(|| world.fake.seen(wanted) == [replica.clone()]).await;
    idle(&world, &second).await;
    until_sleep(&world, SleepView::Asleep).await;
    world.client.call(http::Method::DELETE, WEB, json!({})).await;
    world.until_routes(|table| table.routes.is_empty()).await;
    wait(|| world.fake.seen(|seen| seen.sets.last().unwrap().replicas.is_empty())).await;
    // What was on its way is about nobody now.
    wake(&world, &second).await;
    assert_eq!(world.client.get(WEB).await.status, 404);
}
