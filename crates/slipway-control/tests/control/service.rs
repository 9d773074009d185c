//! Services: settings, variables, secrets, releases, logs, the end.

use crate::client::Answer;
use crate::world::{WEB, World, targets, wait};
use http::Method;
use serde_json::{Value, json};
use slipway_types::api::{DeploymentView, EnvView, ServiceView};
use slipway_types::log::LogLine;
use slipway_types::{DeploymentStatus, Phase, Trigger};
use std::path::Path;

const SECRET: &str = "swordfish-42";

async fn set_env(world: &World, name: &str, value: &str, secret: bool) -> Answer {
    let body = json!({"set": {name: {"value": value, "secret": secret}}});
    world.client.call(Method::PATCH, &format!("{WEB}/env"), body).await
}

fn all_files(dir: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, found);
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_goes_in_and_never_comes_out() {
    let world = World::new().await;
    world.fake.script(|script| script.prints = Some(format!("connecting with {SECRET}!")));
    let answered: Vec<EnvView> = set_env(&world, "DB_PASSWORD", SECRET, true).await.json();
    assert_eq!((answered[0].value.clone(), answered[0].secret), (None, true));
    set_env(&world, "MODE", "fast", false).await;

    let live = world.deploy_to_end().await;
    wait(|| world.fake.seen(|seen| !seen.running.is_empty())).await;
    let tail = vec![format!("error: bad password {SECRET}")];
    world.fake.script(|script| script.fail = Some((Phase::Build, tail)));
    let failed = world.deploy_to_end().await;
    assert_eq!(failed.status, DeploymentStatus::Failed);

    let listing: Vec<EnvView> = world.client.get(&format!("{WEB}/env")).await.json();
    let values: Vec<_> = listing.iter().map(|view| (view.name.as_str(), view.value.as_deref())).collect();
    assert_eq!(values, [("DB_PASSWORD", None), ("MODE", Some("fast"))]);
    let log = world.client.get(&format!("{WEB}/logs")).await.text();
    assert!(log.contains("connecting with ***!"), "{log}");
    for path in [
        format!("/v1/deployments/{}/events", live.deployment),
        format!("/v1/deployments/{}/events", failed.deployment),
        format!("/v1/deployments/{}", failed.deployment),
        format!("{WEB}/deployments"),
        format!("{WEB}/env"),
        "/v1/events?limit=1000".to_owned(),
        "/v1/services".to_owned(),
    ] {
        let text = world.client.get(&path).await.text();
        assert!(!text.contains(SECRET), "{path}: {text}");
    }
    let mut files = Vec::new();
    all_files(world.dir.path(), &mut files);
    assert!(files.len() > 5);
    for (path, bytes) in files {
        assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "{path} has the secret");
    }
    world.fake.seen(|seen| {
        let spec = &seen.sets.last().unwrap().replicas[0];
        assert_eq!(spec.env["DB_PASSWORD"].expose(), SECRET, "the app itself gets it");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_put_over_each_other() {
    let world = World::new().await;
    let put = |settings: Value| {
        world.client.call(Method::PUT, "/v1/projects/shop/services/web/settings", json!({"settings": settings}))
    };
    put(json!({"replicas": 2, "health": {"path": "/healthz"}})).await;
    let answer: Value = put(json!({"port": 8080})).await.json();
    assert_eq!(answer["settings"], json!({"replicas": 2, "port": 8080, "health": {"path": "/healthz"}}));
    world.deploy_to_end().await;
    world.fake.seen(|seen| {
        let replicas = &seen.sets.last().unwrap().replicas;
        assert_eq!((replicas.len(), replicas[0].port), (2, 8080));
        assert_eq!(replicas[0].health.as_ref().unwrap().path.as_deref(), Some("/healthz"));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_builds_nothing_and_restores_the_variables() {
    let world = World::new().await;
    set_env(&world, "MODE", "old", false).await;
    let first = world.deploy_to_end().await;
    set_env(&world, "MODE", "new", false).await;
    let second = world.deploy_to_end().await;
    assert_eq!((first.release, second.release), (Some(1), Some(2)));
    let built = world.fake.seen(|seen| seen.work.len());

    let rollback: DeploymentView = world.client.post(&format!("{WEB}/rollback"), json!({})).await.json();
    world.client.follow(rollback.deployment.as_str()).await;
    let rollback = world.deployment(&rollback).await;
    assert_eq!(
        (rollback.status, rollback.trigger, rollback.release),
        (DeploymentStatus::Live, Trigger::Rollback, Some(1))
    );
    wait(|| world.fake.seen(|seen| seen.running.len() == 1)).await;
    world.fake.seen(|seen| {
        assert_eq!(seen.work.len(), built, "no phase ran on a worker");
        let spec = &seen.sets.last().unwrap().replicas[0];
        assert_eq!((spec.env["MODE"].expose(), &spec.deployment), ("old", &rollback.deployment));
    });
    let target = format!("{}-1", rollback.deployment);
    world.until_routes(|table| targets(table, "web-shop.localhost") == [target.clone()]).await;

    for (release, expected) in [(json!(1), (409, "release-already-live")), (json!(9), (404, "release-unknown"))] {
        let refusal = world.client.post(&format!("{WEB}/rollback"), json!({"release": release})).await.refusal();
        assert_eq!((refusal.0, refusal.1.as_str()), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_can_be_asked_for_since_an_instant() {
    let world = World::new().await;
    world.fake.script(|script| script.prints = Some("hello".to_owned()));
    let live = world.deploy_to_end().await;
    let lines = |text: String| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<LogLine>>();
    let all = lines(world.client.get(&format!("{WEB}/logs")).await.text());
    assert_eq!((all.len(), all[0].line.as_str()), (1, "hello"));
    assert_eq!(lines(world.client.get(&format!("{WEB}/logs?since=2")).await.text()).len(), 0);
    let build = world.client.get(&format!("{WEB}/logs?build={}", live.deployment)).await.text();
    assert!(build.contains("phase_started"), "{build}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn destroying_a_service_ends_all_of_it() {
    let world = World::new().await;
    world.fake.script(|script| script.prints = Some("hello".to_owned()));
    let live = world.deploy_to_end().await;
    world.fake.script(|script| script.hold = Some(Phase::Build));
    let building = world.deploy().await;
    world.until_held(&building, Phase::Build).await;
    let answer = world.client.call(Method::DELETE, WEB, json!({})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.until_routes(|table| table.routes.is_empty()).await;
    wait(|| world.fake.seen(|seen| seen.running.is_empty() && seen.canceled == [building.deployment.clone()])).await;
    let services: Vec<ServiceView> = world.client.get("/v1/services").await.json();
    assert!(services.is_empty());
    assert_eq!(world.client.get(&format!("/v1/deployments/{}", live.deployment)).await.status, 404);
    assert!(!world.path(&format!("logs/deployments/{}", live.deployment)).exists());
    // The worker is free again, and the name too.
    world.fake.script(|script| script.hold = None);
    assert_eq!(world.deploy_to_end().await.status, DeploymentStatus::Live);
}
