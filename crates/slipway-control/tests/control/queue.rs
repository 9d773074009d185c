//! The build queue: what joins, what waits and says why, what is refused.

use crate::client::Answer;
use crate::world::{WEB, World, gzip, wait};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use slipway_types::api::{DeploymentEvent, DeploymentView};
use slipway_types::host::HostReport;
use slipway_types::{ApiError, DeploymentStatus, Phase};

const GB: u64 = 1 << 30;

fn path(service: &str) -> String {
    format!("/v1/projects/shop/services/{service}/deployments")
}

fn archive_of(text: &str) -> Bytes {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, "package.json", text.as_bytes()).unwrap();
    gzip(&builder.into_inner().unwrap()).into()
}

/// Asks for a deployment of a directory with that text in it.
async fn ask(world: &World, service: &str, text: &str, force: bool) -> Answer {
    let upload = world.client.send(world.client.request(Method::POST, "/v1/uploads", archive_of(text))).await;
    let upload: Value = upload.json();
    let body = json!({"source": {"from": "upload", "upload": upload["upload"]}, "force": force});
    world.client.post(&path(service), body).await
}

async fn deploy(world: &World, service: &str) -> DeploymentView {
    let answer = ask(world, service, "{}", false).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()
}

/// Held in its build.
async fn held(world: &World, service: &str) -> DeploymentView {
    world.fake.script(|script| script.hold = Some(Phase::Build));
    let view = deploy(world, service).await;
    world.until_held(&view, Phase::Build).await;
    view
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_source_joins_the_deployment_that_runs() {
    let world = World::new().await;
    let first = held(&world, "web").await;
    let joined = ask(&world, "web", "{}", false).await;
    assert_eq!(joined.status, 200, "{}", joined.text());
    let joined: DeploymentView = joined.json();
    assert_eq!((joined.deployment, joined.joined), (first.deployment.clone(), true));

    // Something else: the source, the variables, the settings; or its owner wants another one.
    let mut newest = first.deployment;
    let mut is_new = |answer: Answer| {
        assert_eq!(answer.status, 201, "{}", answer.text());
        let view: DeploymentView = answer.json();
        assert_ne!(std::mem::replace(&mut newest, view.deployment.clone()), view.deployment);
        assert!(!view.joined);
        view
    };
    let other = is_new(ask(&world, "web", "{ }", false).await);
    world.until_held(&other, Phase::Build).await;
    let set = json!({"set": {"A": {"value": "1"}}});
    world.client.call(Method::PATCH, &format!("{WEB}/env"), set).await;
    let other = is_new(ask(&world, "web", "{ }", false).await);
    world.until_held(&other, Phase::Build).await;
    world.client.call(Method::PUT, &format!("{WEB}/settings"), json!({"settings": {"replicas": 2}})).await;
    let other = is_new(ask(&world, "web", "{ }", false).await);
    world.until_held(&other, Phase::Build).await;
    let other = is_new(ask(&world, "web", "{ }", true).await);
    world.until_held(&other, Phase::Build).await;
    is_new(world.client.post(&format!("{WEB}/redeploy"), json!({"rebuild": true})).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_is_refused_and_nothing_of_the_upload_stays() {
    let world = World::with(|config| config.queue_max = 1).await;
    held(&world, "web").await;
    let waiting = deploy(&world, "api").await;
    let kept = || std::fs::read_dir(world.path("uploads")).unwrap().count();
    let before = kept();
    let refused = ask(&world, "other", "{ \"name\": \"other\" }", false).await;
    assert_eq!(refused.refusal(), (503, "queue-full".to_owned()));
    assert_eq!(refused.retry_after.as_deref(), Some("30"));
    let error: ApiError = refused.json();
    assert!(error.retry && error.hints.len() == 2, "{error:?}");
    assert_eq!(kept(), before, "the upload stays");
    assert_eq!(world.client.get("/v1/projects/shop/services/other").await.status, 404, "the service stays");

    // What takes the place of its own service's is no longer queue, and a place that is free is given.
    assert_eq!(ask(&world, "api", "{ }", false).await.status, 201);
    world.until(&waiting, |view| view.status == DeploymentStatus::Superseded).await;
    let api: Value = world.client.get("/v1/projects/shop/services/api").await.json();
    let newest = api["newest"]["deployment"].as_str().unwrap();
    world.client.post(&format!("/v1/deployments/{newest}/cancel"), json!({})).await;
    assert_eq!(ask(&world, "other", "{ \"name\": \"other\" }", false).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_says_why_and_is_canceled_at_once() {
    let world = World::new().await;
    held(&world, "web").await;
    let (second, third) = (deploy(&world, "api").await, deploy(&world, "docs").await);
    let third = world.until(&third, |view| view.waiting.is_some()).await;
    let wait = third.waiting.clone().unwrap();
    assert_eq!((wait.position, wait.of, wait.because.as_str()), (2, 2, "waits for a build worker: 1 build runs"));
    let events = world.client.get("/v1/events?project=shop&service=docs&limit=5").await.text();
    assert!(events.contains("deployment-waits") && events.contains("number 2 of 2"), "{events}");

    let canceled = world.client.post(&format!("/v1/deployments/{}/cancel", second.deployment), json!({})).await;
    assert_eq!(canceled.json::<DeploymentView>().status, DeploymentStatus::Canceled);
    world.until(&third, |view| view.waiting.as_ref().is_some_and(|wait| wait.position == 1)).await;
    let told = world.client.follow(second.deployment.as_str()).await;
    assert!(told.iter().any(|event| matches!(event, DeploymentEvent::Waits { .. })), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn builds_have_a_budget_of_memory() {
    let world = World::with(|config| config.build_memory_max_bytes = 6 * GB).await;
    world.fake.report(HostReport::Claim { worker: 1 }).await;
    let memory = |size: &str| Some(format!("[build]\nmemory = \"{size}\""));
    world.fake.script(|script| script.manifest = memory("7GB"));
    let too_large = deploy(&world, "web").await;
    world.client.follow(too_large.deployment.as_str()).await;
    let too_large = world.deployment(&too_large).await;
    assert_eq!(too_large.diagnosis.unwrap().code, "build-memory-over-budget");

    world.fake.script(|script| script.manifest = memory("2GB"));
    let first = held(&world, "web").await;
    // It begins with what a build takes by default, and then its source says more.
    world.fake.script(|script| script.manifest = memory("5GB"));
    let second = deploy(&world, "api").await;
    let second = world.until(&second, |view| view.waiting.is_some()).await;
    let because = second.waiting.clone().unwrap().because;
    assert_eq!(because, "waits for memory: 1 build holds 2 GB of 6 GB, and it needs 5 GB");
    let runs = |phase| world.fake.seen(|seen| seen.runs(&second, phase));
    assert_eq!((runs(Phase::Source), runs(Phase::Environment)), (1, 0));

    world.fake.script(|script| script.hold = None);
    world.client.post(&format!("/v1/deployments/{}/cancel", first.deployment), json!({})).await;
    world.client.follow(second.deployment.as_str()).await;
    assert_eq!(world.deployment(&second).await.status, DeploymentStatus::Live);
    assert_eq!((runs(Phase::Source), runs(Phase::Environment)), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_attempt_says_is_refused() {
    let world = World::new().await;
    let view = held(&world, "web").await;
    let attempt = world.fake.seen(|seen| seen.attempts.last().unwrap().1);
    let (deployment, phase) = (view.deployment.clone(), Phase::Build);
    for earlier in [attempt - 1, attempt + 1, 0] {
        let outcome = crate::fake::done(phase);
        let deployment = deployment.clone();
        world.fake.report(HostReport::PhaseFinished { deployment, attempt: earlier, phase, outcome }).await;
    }
    // A line that comes after them was heard after them.
    let (stream, line) = (slipway_types::agent::Stream::Stdout, "still here".to_owned());
    let report = HostReport::Log { deployment: deployment.clone(), attempt, phase, stream, line };
    world.fake.report(report).await;
    let mut lines = world.client.lines(&format!("/v1/deployments/{deployment}/events?follow=true")).await;
    lines.until(Some("still here")).await;
    assert_eq!(world.deployment(&view).await.phase, Some(Phase::Build));
    let outcome = crate::fake::done(phase);
    world.fake.report(HostReport::PhaseFinished { deployment, attempt, phase, outcome }).await;
    world.until(&view, |view| view.status == DeploymentStatus::Live).await;
    wait(|| world.fake.seen(|seen| !seen.released.is_empty())).await;
}
