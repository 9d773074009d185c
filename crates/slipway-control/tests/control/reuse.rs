//! A redeploy builds again when the build would read something else, and only then.

use crate::world::{WEB, World, wait};
use serde_json::{Value, json};
use slipway_types::api::{DeploymentView, RedeployView};
use slipway_types::{DeploymentStatus, Phase, Trigger};

/// What a redeploy would do, then the redeploy: the phases that a worker was given for it.
async fn redeploy(world: &World, params: Value) -> (RedeployView, DeploymentView, Vec<Phase>) {
    let view: RedeployView = world.client.get(&format!("{WEB}/redeploy")).await.json();
    let again: DeploymentView = world.client.post(&format!("{WEB}/redeploy"), params).await.json();
    world.client.follow(again.deployment.as_str()).await;
    let again = world.deployment(&again).await;
    let phases = world.fake.seen(|seen| {
        let own = seen.work.iter().filter(|(deployment, _)| *deployment == again.deployment);
        own.map(|(_, work)| work.phase()).collect()
    });
    (view, again, phases)
}

async fn set_env(world: &World, variables: Value) {
    let answer = world.client.call(http::Method::PATCH, &format!("{WEB}/env"), json!({"set": variables})).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn set(world: &World, settings: Value) {
    let body = json!({"settings": settings});
    let answer = world.client.call(http::Method::PUT, &format!("{WEB}/settings"), body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

const BUILT: [Phase; 4] = [Phase::Source, Phase::Environment, Phase::Install, Phase::Build];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redeploy_of_unchanged_inputs_takes_the_image_with_the_configuration_of_now() {
    let world = World::new().await;
    let first = world.deploy_to_end().await;
    set_env(&world, json!({"MODE": {"value": "new"}})).await;
    set(&world, json!({"replicas": 2, "port": 4000, "build": {"memory": "1GB"}})).await;
    let (view, again, phases) = redeploy(&world, json!({})).await;
    let note = "unchanged since v1: nothing that the build reads has changed";
    assert_eq!(view, RedeployView { rebuilds: false, because: note.into() });
    assert_eq!((again.status, again.trigger), (DeploymentStatus::Live, Trigger::Redeploy));
    assert_eq!((again.release, &again.source), (Some(2), &first.source));
    assert_eq!(phases, [], "no worker was needed");
    world.fake.seen(|seen| {
        let specs = &seen.sets.last().unwrap().replicas;
        let own: Vec<_> = specs.iter().filter(|spec| spec.deployment == again.deployment).collect();
        assert_eq!(own.len(), 2);
        assert_eq!((own[0].env["MODE"].expose(), own[0].port), ("new", 4000));
        assert_eq!(own[0].image.layers.len(), 5, "the image of the first: {:?}", own[0].image);
    });
    let log = world.client.follow(again.deployment.as_str()).await;
    assert!(format!("{log:?}").contains(note), "{log:?}");

    let (view, _, phases) = redeploy(&world, json!({"rebuild": true})).await;
    assert_eq!((view.rebuilds, phases), (false, BUILT.to_vec()), "a rebuild builds in any case");
    let (view, ..) = redeploy(&world, json!({})).await;
    assert!(view.because.starts_with("unchanged since v3"), "{}", view.because);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_build_reads_builds_again() {
    let world = World::new().await;
    world.deploy_to_end().await;
    let builds_for = async |what: &str, because: &str| {
        let (view, again, phases) = redeploy(&world, json!({})).await;
        assert_eq!((view.rebuilds, view.because.as_str()), (true, because), "{what}");
        assert_eq!((again.status, phases), (DeploymentStatus::Live, BUILT.to_vec()), "{what}");
        let (view, _, phases) = redeploy(&world, json!({})).await;
        assert_eq!((view.rebuilds, phases), (false, Vec::new()), "{what}: once is enough");
    };
    set_env(&world, json!({"NPM_TOKEN": {"value": "hush", "secret": true, "build": true}})).await;
    builds_for("given to the build", "the build reads the variable `NPM_TOKEN`, which changed").await;
    set_env(&world, json!({"NPM_TOKEN": {"value": "other", "secret": true, "build": true}})).await;
    builds_for("another value", "the build reads the variable `NPM_TOKEN`, which changed").await;
    set(&world, json!({"build": {"command": "node other.js"}})).await;
    builds_for("a setting", "the build reads the setting `build.command`, which changed").await;
    // The same value again is no change, nor is a secret that the build does not get.
    set_env(
        &world,
        json!({
            "NPM_TOKEN": {"value": "other", "secret": true, "build": true},
            "DATABASE_URL": {"value": "postgres://x", "secret": true},
        }),
    )
    .await;
    let (view, ..) = redeploy(&world, json!({})).await;
    assert!(!view.rebuilds, "{}", view.because);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_migration_is_run_again_without_a_build() {
    let world = World::new().await;
    world.fake.script(|script| {
        script.manifest = Some("pre_deploy_command = \"npm run migrate\"\n".to_owned());
        script.fail = Some((Phase::PreDeploy, vec!["DATABASE_URL is not set".to_owned()]));
    });
    let failed = world.deploy_to_end().await;
    assert_eq!((failed.status, failed.release), (DeploymentStatus::Failed, None));
    world.fake.script(|script| script.fail = None);
    set_env(&world, json!({"DATABASE_URL": {"value": "postgres://x", "secret": true}})).await;
    let (view, again, phases) = redeploy(&world, json!({})).await;
    assert!(view.because.starts_with(&format!("unchanged since {}", failed.deployment)), "{}", view.because);
    assert_eq!((again.status, again.release, phases), (DeploymentStatus::Live, Some(1), vec![Phase::PreDeploy]));
    world.fake.seen(|seen| {
        let Some((_, slipway_types::host::PhaseWork::PreDeploy { env, command, .. })) = seen.work.last() else {
            panic!("{:?}", seen.work.last())
        };
        assert_eq!((env["DATABASE_URL"].expose(), command.as_str()), ("postgres://x", "npm run migrate"));
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_that_reuses_an_image_survives_a_restart() {
    let world = World::new().await;
    world.deploy_to_end().await;
    world.fake.script(|script| script.hold_replicas = true);
    let again: DeploymentView = world.client.post(&format!("{WEB}/redeploy"), json!({})).await.json();
    world.until(&again, |view| view.status == DeploymentStatus::Deploying).await;
    let world = world.restart_with(|fake| fake.script(|script| script.hold_replicas = false)).await;
    world.client.follow(again.deployment.as_str()).await;
    let again = world.deployment(&again).await;
    assert_eq!((again.status, again.release), (DeploymentStatus::Live, Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redeploy_after_a_rollback_takes_what_was_rolled_back_to() {
    let world = World::new().await;
    world.deploy_to_end().await;
    set_env(&world, json!({"NPM_TOKEN": {"value": "hush", "secret": true, "build": true}})).await;
    world.deploy_to_end().await;
    let back: DeploymentView = world.client.post(&format!("{WEB}/rollback"), json!({})).await.json();
    world.client.follow(back.deployment.as_str()).await;
    let (view, _, phases) = redeploy(&world, json!({})).await;
    assert_eq!(phases, BUILT, "the image of v1 was made without the variable: {}", view.because);
    wait(|| world.fake.seen(|seen| seen.running.len() == 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_source_says_its_build_needs_must_be_given_by_the_owner() {
    let world = World::new().await;
    world.fake.script(|script| script.manifest = Some("[build]\nvariables = [\"NPM_TOKEN\"]\n".to_owned()));
    let failed = world.deploy_to_end().await;
    let diagnosis = failed.diagnosis.unwrap();
    assert_eq!(diagnosis.code, "missing-build-variable");
    assert_eq!(diagnosis.why, "the service has no variable `NPM_TOKEN`");
    // Naming a secret does not give it.
    set_env(&world, json!({"NPM_TOKEN": {"value": "hush", "secret": true}})).await;
    let failed = world.deploy_to_end().await;
    assert!(failed.diagnosis.unwrap().why.contains("given to the running app only"));
    set_env(&world, json!({"NPM_TOKEN": {"value": "hush", "secret": true, "build": true}})).await;
    assert_eq!(world.deploy_to_end().await.status, DeploymentStatus::Live);
}
