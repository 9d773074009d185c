//! A deployment that takes the image of an earlier one.

use crate::fixture::{Fixture, done, id, image, new_deployment, new_release, planned};
use slipway_pipeline::{Action, BuildInputs, Event};
use slipway_store::{BuiltRow, Change, EventFilter, NewDeployment, Reuse, ServiceRow};
use slipway_types::api::PhaseResult;
use slipway_types::{Phase, ServiceSettings, Trigger};

/// A deployment whose image is stored with the end of its build, and which then fails.
async fn built_but_failed(fixture: &Fixture, service: &ServiceRow, name: &str) {
    fixture.create(10, service, name).await;
    fixture.claim(11, 1).await.unwrap();
    let change = Change { planned: Some(planned()), source_label: Some("c0ffee".into()), ..Change::default() };
    fixture.store.apply(12, &id(name), &done(Phase::Source), &change).await.unwrap();
    fixture.tell(13, name, done(Phase::Environment)).await;
    assert_eq!(fixture.store.newest_built(&service.service_id).await.unwrap(), None, "nothing is built yet");
    let change = Change { image: Some(image(name)), ..Change::default() };
    fixture.store.apply(14, &id(name), &done(Phase::Build), &change).await.unwrap();
    fixture.tell(15, name, Event::ReplicaFailed { code: "app-exited".into() }).await;
}

fn redeploy(service: &ServiceRow, name: &str, of: BuiltRow, pre_deploy: Option<&str>) -> NewDeployment {
    let settings =
        ServiceSettings { replicas: 3, pre_deploy_command: pre_deploy.map(str::to_owned), ..Default::default() };
    let reuse = Some(Reuse { of, settings, note: "unchanged since v1".into() });
    NewDeployment { trigger: Trigger::Redeploy, reuse, ..new_deployment(service, name) }
}

#[tokio::test]
async fn an_image_is_taken_with_new_settings_and_nothing_is_built() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    built_but_failed(&fixture, &service, "d1").await;
    let built = fixture.store.newest_built(&service.service_id).await.unwrap().unwrap();
    assert_eq!((&built.deployment, &built.built_by, built.built_release), (&id("d1"), &id("d1"), None));
    assert_eq!((built.source_label.as_str(), &built.inputs), ("c0ffee", &planned().inputs));
    assert_eq!(built.source_settings, planned().source_settings);

    let new = redeploy(&service, "d2", built, None);
    let applied = fixture.store.create_deployment(20, &new).await.unwrap();
    let actions: Vec<_> = applied.actions.into_iter().map(|(_, action)| action).collect();
    assert_eq!(actions, [Action::CreateRelease, Action::StartReplicas]);
    let phases = fixture.store.phases(&id("d2")).await.unwrap();
    let results: Vec<_> = phases.iter().map(|phase| (phase.phase, phase.result, phase.note.as_deref())).collect();
    let skipped = Some(PhaseResult::Skipped);
    assert_eq!(
        results,
        [
            (Phase::Source, skipped, None),
            (Phase::Environment, skipped, None),
            (Phase::Install, skipped, None),
            (Phase::Build, skipped, Some("unchanged since v1")),
            (Phase::PreDeploy, skipped, None),
            (Phase::Start, None, None),
        ]
    );
    let row = fixture.store.deployment(&id("d2")).await.unwrap();
    assert_eq!((row.image, row.settings.unwrap().replicas), (Some(image("d1")), 3));
    let events = fixture.store.events(EventFilter::Deployment(&id("d2")), None, 100).await.unwrap();
    assert!(events.iter().any(|(_, event)| event.message == "build was skipped: unchanged since v1"));
    fixture.store.create_release(21, &new_release("d2")).await.unwrap();

    // The next one names the deployment that built, not the one that took.
    let again = fixture.store.newest_built(&service.service_id).await.unwrap().unwrap();
    assert_eq!((again.deployment, again.built_by), (id("d2"), id("d1")));
}

#[tokio::test]
async fn a_worker_is_given_the_pre_deploy_command_at_once() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    built_but_failed(&fixture, &service, "d1").await;
    let built = fixture.store.newest_built(&service.service_id).await.unwrap().unwrap();
    let new = redeploy(&service, "d2", built, Some("npm run migrate"));
    assert_eq!(fixture.store.create_deployment(20, &new).await.unwrap().actions, []);
    let (claimed, applied) = fixture.claim(21, 1).await.unwrap();
    assert_eq!(applied.actions, [(claimed, Action::RunPhase { worker: 1, phase: Phase::PreDeploy })]);
}

#[tokio::test]
async fn a_rollback_has_the_image_too() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    fixture.claim(11, 1).await.unwrap();
    let change = Change { planned: Some(planned()), ..Change::default() };
    fixture.store.apply(12, &id("d1"), &done(Phase::Source), &change).await.unwrap();
    fixture.tell(13, "d1", done(Phase::Environment)).await;
    let change = Change { image: Some(image("d1")), ..Change::default() };
    fixture.store.apply(14, &id("d1"), &done(Phase::Build), &change).await.unwrap();
    let release = fixture.store.create_release(15, &new_release("d1")).await.unwrap();
    let back =
        NewDeployment { trigger: Trigger::Rollback, release: Some(release.release), ..new_deployment(&service, "d2") };
    fixture.store.create_deployment(20, &back).await.unwrap();
    let built = fixture.store.newest_built(&service.service_id).await.unwrap().unwrap();
    assert_eq!((built.deployment, built.built_release), (id("d2"), Some(1)));
}

#[tokio::test]
async fn what_was_ignored_is_not_the_newest_to_deploy_again() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    let newest = async || fixture.store.newest_not_ignored(&service.service_id).await.unwrap();
    assert_eq!(newest().await, None);
    built_but_failed(&fixture, &service, "d1").await;
    fixture.create(20, &service, "d2").await;
    assert_eq!(newest().await.unwrap().summary.deployment, id("d2"));
    let ignored = Change { ignored: true, ..Change::default() };
    fixture.store.apply(21, &id("d2"), &Event::CancelRequested, &ignored).await.unwrap();
    assert_eq!(newest().await.unwrap().summary.deployment, id("d1"));
    // A later event does not make it count again.
    fixture.tell(22, "d2", Event::CleanedUp).await;
    assert_eq!(newest().await.unwrap().summary.deployment, id("d1"));
    // What a person canceled counts.
    fixture.create(30, &service, "d3").await;
    fixture.tell(31, "d3", Event::CancelRequested).await;
    assert_eq!(newest().await.unwrap().summary.deployment, id("d3"));
}

#[test]
fn inputs_of_an_older_version_are_read_and_build_again() {
    let now = planned().inputs;
    let mut stored = serde_json::to_value(&now).unwrap();
    stored["format"] = 1.into();
    stored.as_object_mut().unwrap().remove("context").unwrap();
    let older: BuildInputs = serde_json::from_value(stored).unwrap();
    assert_eq!(older.changed(&now).as_deref(), Some("the image is of an older version of Slipway"));
}
