//! Deployments from request to route.

use crate::fake::{exited, ready};
use crate::world::{WEB, World, targets, wait};
use serde_json::json;
use slipway_types::agent::Stream;
use slipway_types::api::{DeploymentEvent, DeploymentView, PhaseResult};
use slipway_types::host::{HostReport, PhaseWork, ReplicaState};
use slipway_types::{DeploymentStatus, Phase, ReplicaId};

const HOST: &str = "web-shop.localhost";

fn phases(events: &[DeploymentEvent]) -> Vec<(Phase, PhaseResult)> {
    let finished = |event: &DeploymentEvent| match event {
        DeploymentEvent::PhaseFinished { phase, result, .. } => Some((*phase, *result)),
        _ => None,
    };
    events.iter().filter_map(finished).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_goes_live() {
    let world = World::new().await;
    world.fake.script(|script| script.prints = Some("hello".to_owned()));
    let view = world.deploy().await;
    assert_eq!(view.url.as_deref(), Some("http://web-shop.localhost:8080"));
    let events = world.client.follow(view.deployment.as_str()).await;

    let Some(DeploymentEvent::Deployed { deployment, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!((deployment.status, deployment.release), (DeploymentStatus::Live, Some(1)));
    let done = [Phase::Source, Phase::Environment, Phase::Install, Phase::Build];
    let expected: Vec<_> = done
        .map(|phase| (phase, PhaseResult::Done))
        .into_iter()
        .chain([(Phase::PreDeploy, PhaseResult::Skipped)])
        .chain([Phase::Start, Phase::Health, Phase::Route].map(|phase| (phase, PhaseResult::Done)))
        .collect();
    let seen = phases(&events);
    assert_eq!(seen[..expected.len()], expected);
    let log_of = |wanted: Phase| {
        events.iter().any(
            |event| matches!(event, DeploymentEvent::Log { phase, line, .. } if *phase == wanted && line == "hello"),
        )
    };
    assert!(log_of(Phase::Build) && (log_of(Phase::Start) || log_of(Phase::Health)), "{events:?}");

    world.until(&view, |view| view.phase == Some(Phase::CleanUp)).await;
    let table = world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    assert_eq!(targets(&table, HOST), [format!("{}-1", view.deployment)]);
    assert_eq!(targets(&table, &format!("{}.localhost", view.deployment)).len(), 1);
    let service = world.web().await;
    assert_eq!((service.replicas_wanted, service.replicas.len()), (1, 1));
    assert_eq!(service.live.unwrap().deployment, view.deployment);
    // The whole log, without following, has what came after the switch too.
    let all = world.client.get(&format!("/v1/deployments/{}/events", view.deployment)).await.text();
    assert!(all.contains("clean-up"), "{all}");
    world.fake.seen(|seen| assert_eq!(seen.released, std::slice::from_ref(&view.deployment)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_phase_gets_what_it_needs() {
    let world = World::new().await;
    world.fake.script(|script| {
        script.manifest = Some("pre_deploy_command = \"npm run migrate\"\nreplicas = 2\n".to_owned());
    });
    let set = json!({"set": {
        "PLAIN": {"value": "plain"}, "FOR_BUILD": {"value": "build", "build": true},
        "SECRET": {"value": "hunter2hunter2", "secret": true},
    }});
    world.client.call(http::Method::PATCH, &format!("{WEB}/env"), set).await;
    let view = world.deploy_to_end().await;
    assert_eq!(view.status, DeploymentStatus::Live);
    world.fake.seen(|seen| {
        let work = |wanted: Phase| seen.work.iter().map(|(_, work)| work).find(|work| work.phase() == wanted).unwrap();
        let PhaseWork::Install(install) = work(Phase::Install) else { panic!() };
        assert_eq!(install.command.split_whitespace().next(), Some("npm"));
        assert!(install.key_files.contains(&"package-lock.json".to_owned()), "{:?}", install.key_files);
        assert_eq!(install.key_words, ["node", "24.1.0", "npm", "11.0.0"]);
        let PhaseWork::Build { command: build, .. } = work(Phase::Build) else { panic!() };
        let layers: Vec<_> = build.layers.iter().map(ToString::to_string).collect();
        assert_eq!(layers, ["base-b", "toolchain-t", "dependencies-d"]);
        assert!(build.env.contains_key("FOR_BUILD"));
        assert!(!build.env.contains_key("PLAIN") && !build.env.contains_key("SECRET"), "{:?}", build.env.keys());
        let PhaseWork::PreDeploy { command, env, image, .. } = work(Phase::PreDeploy) else { panic!() };
        assert_eq!(command, "npm run migrate");
        assert_eq!(env["SECRET"].expose(), "hunter2hunter2");
        let layers: Vec<_> = image.layers.iter().map(ToString::to_string).collect();
        assert_eq!(layers, ["base-b", "toolchain-t", "dependencies-d", "source-s", "output-o"]);
        let set = seen.sets.iter().find(|set| set.replicas.len() == 2).unwrap();
        assert_eq!(set.replicas[0].image, *image);
        assert_eq!((set.replicas[0].port, set.replicas[0].env.len()), (3000, 3));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_leaves_what_is_live() {
    let world = World::new().await;
    let live = world.deploy_to_end().await;
    for phase in [Phase::Source, Phase::Environment, Phase::Install, Phase::Build] {
        world.fake.script(|script| script.fail = Some((phase, vec!["it broke".to_owned()])));
        let view = world.deploy().await;
        let events = world.client.follow(view.deployment.as_str()).await;
        let Some(DeploymentEvent::Failed { deployment, .. }) = events.last() else { panic!("{events:?}") };
        let diagnosis = deployment.diagnosis.clone().expect("a failure has a diagnosis");
        assert!(!diagnosis.code.is_empty() && !diagnosis.what.is_empty(), "{diagnosis:?}");
        assert_eq!((deployment.status, deployment.phase), (DeploymentStatus::Failed, Some(phase)));
        assert_eq!(phases(&events).last(), Some(&(phase, PhaseResult::Failed)));
    }
    world.fake.script(|script| {
        script.fail = None;
        script.fail_replicas = true;
    });
    let view = world.deploy_to_end().await;
    assert_eq!(view.status, DeploymentStatus::Failed);
    assert!(view.diagnosis.is_some());
    let service = world.web().await;
    assert_eq!(service.live.unwrap().deployment, live.deployment);
    let table = world.until_routes(|table| table.routes.len() == 2).await;
    assert_eq!(targets(&table, HOST), [format!("{}-1", live.deployment)]);
    wait(|| world.fake.seen(|seen| seen.running.len() == 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_without_a_plan_fails_with_the_reason() {
    let world = World::new().await;
    world.fake.script(|script| script.manifest = Some("replicas = 0".to_owned()));
    let view = world.deploy_to_end().await;
    assert_eq!((view.status, view.phase), (DeploymentStatus::Failed, Some(Phase::Source)));
    let diagnosis = view.diagnosis.unwrap();
    assert!(diagnosis.why.contains("replicas"), "{diagnosis:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_deployment_supersedes_an_older_one_that_builds() {
    let world = World::new().await;
    world.fake.script(|script| script.hold = Some(Phase::Build));
    let older = world.deploy().await;
    world.until_held(&older, Phase::Build).await;
    world.fake.script(|script| script.hold = None);
    let newer = world.deploy().await;
    world.client.follow(newer.deployment.as_str()).await;
    let events = world.client.follow(older.deployment.as_str()).await;
    let Some(DeploymentEvent::Failed { deployment, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!(deployment.status, DeploymentStatus::Superseded);
    assert_eq!(world.web().await.live.unwrap().deployment, newer.deployment);
    world.fake.seen(|seen| assert_eq!(seen.canceled, std::slice::from_ref(&older.deployment)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_former_replicas_stop_after_they_are_drained() {
    let world = World::new().await;
    let first = world.deploy_to_end().await;
    world.until(&first, |view| view.phase == Some(Phase::CleanUp)).await;
    world.fake.script(|script| script.hold_drain = true);
    let second = world.deploy_to_end().await;
    world.until_routes(|table| targets(table, HOST) == [format!("{}-1", second.deployment)]).await;
    let draining: Vec<_> = world.web().await.replicas.into_iter().map(|replica| replica.state).collect();
    assert_eq!(draining.iter().filter(|state| *state == "draining").count(), 1, "{draining:?}");
    world.fake.seen(|seen| assert_eq!(seen.running.len(), 2, "a draining replica runs on"));

    world.fake.script(|script| script.hold_drain = false);
    let third = world.deploy_to_end().await;
    wait(|| world.fake.seen(|seen| seen.running.len() == 1)).await;
    assert_eq!(world.web().await.live.unwrap().deployment, third.deployment);
    assert_eq!(world.deployment(&first).await.status, DeploymentStatus::Superseded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_that_does_not_end_is_ended() {
    let world = World::with(|config| config.drain_timeout = std::time::Duration::from_millis(50)).await;
    world.deploy_to_end().await;
    world.fake.script(|script| script.hold_drain = true);
    let second = world.deploy_to_end().await;
    wait(|| world.fake.seen(|seen| seen.running.len() == 1)).await;
    world.until(&second, |view| view.phase == Some(Phase::CleanUp)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_ends_a_build_and_the_start() {
    let world = World::new().await;
    world.fake.script(|script| script.hold = Some(Phase::Install));
    let building = world.deploy().await;
    world.until_held(&building, Phase::Install).await;
    let cancel = |view: &DeploymentView| format!("/v1/deployments/{}/cancel", view.deployment);
    let canceled: DeploymentView = world.client.post(&cancel(&building), json!({})).await.json();
    assert_eq!(canceled.status, DeploymentStatus::Canceled);
    wait(|| world.fake.seen(|seen| seen.released == [building.deployment.clone()])).await;

    world.fake.script(|script| {
        script.hold = None;
        script.hold_replicas = true;
    });
    let starting = world.deploy().await;
    world.until(&starting, |view| view.phase == Some(Phase::Health)).await;
    world.client.post(&cancel(&starting), json!({})).await;
    wait(|| world.fake.seen(|seen| seen.running.is_empty())).await;

    world.fake.script(|script| script.hold_replicas = false);
    let live = world.deploy_to_end().await;
    let refusal = world.client.post(&cancel(&live), json!({})).await.refusal();
    assert_eq!(refusal, (409, "deployment-settled".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unready_replica_gets_no_traffic_until_it_is_ready_again() {
    let world = World::new().await;
    let live = world.deploy_to_end().await;
    world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    let replica = ReplicaId::parse(format!("{}-1", live.deployment)).unwrap();
    let state = ReplicaState::Unready { evidence: Box::new(exited(None, Vec::new())) };
    world.fake.report(HostReport::Replica { replica: replica.clone(), state }).await;
    let table = world.until_routes(|table| targets(table, HOST).is_empty()).await;
    let route = table.routes.iter().find(|route| route.host == HOST).unwrap();
    assert!(route.unavailable_because.is_some());
    world.fake.report(HostReport::Replica { replica: replica.clone(), state: ready(&replica) }).await;
    world.until_routes(|table| !targets(table, HOST).is_empty()).await;
    let events = world.client.get("/v1/events?project=shop&service=web&limit=5").await.text();
    assert!(events.contains("replica-unready"), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_has_no_health_and_no_route() {
    let world = World::new().await;
    world.fake.script(|script| script.manifest = Some("kind = \"worker\"".to_owned()));
    let view = world.deploy().await;
    let events = world.client.follow(view.deployment.as_str()).await;
    let Some(DeploymentEvent::Deployed { deployment, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!((deployment.url.clone(), deployment.status), (None, DeploymentStatus::Live));
    let seen = phases(&events);
    assert!(seen.contains(&(Phase::Health, PhaseResult::Skipped)), "{seen:?}");
    assert!(seen.contains(&(Phase::Route, PhaseResult::Skipped)), "{seen:?}");
    world.fake.seen(|seen| {
        let spec = &seen.sets.last().unwrap().replicas[0];
        assert!(spec.health.is_none());
    });
    assert!(world.tables.borrow().routes.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_sees_what_comes_as_it_comes() {
    let world = World::new().await;
    world.fake.script(|script| script.hold = Some(Phase::Build));
    let view = world.deploy().await;
    let mut lines = world.client.lines(&format!("/v1/deployments/{}/events?follow=true", view.deployment)).await;
    world.until_held(&view, Phase::Build).await;
    for line in ["compiling 1", "compiling 2"] {
        let (deployment, line) = (view.deployment.clone(), line.to_owned());
        let attempt = world.fake.seen(|seen| seen.attempts.last().unwrap().1);
        let (phase, stream) = (Phase::Build, Stream::Stdout);
        let report = HostReport::Log { deployment, attempt, phase, stream, line: line.clone() };
        world.fake.report(report).await;
        lines.until(Some(&line)).await;
    }
    world.client.post(&format!("/v1/deployments/{}/cancel", view.deployment), json!({})).await;
    lines.until(None).await;
    let last: DeploymentEvent = serde_json::from_str(lines.text.lines().last().unwrap()).unwrap();
    let DeploymentEvent::Failed { deployment, .. } = last else { panic!("{last:?}") };
    assert_eq!(deployment.status, DeploymentStatus::Canceled);
}
