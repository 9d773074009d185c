//! Deployments move on, by one event at a time and beside each other.

use crate::fixture::{Fixture, build_output, claim, done, id, new_deployment, planned};
use slipway_pipeline::{Action, DeploymentState, Event};
use slipway_store::{Change, RollbackChoice, StoreError};
use slipway_types::api::{DeploymentEvent, PhaseResult};
use slipway_types::{Blame, DeploymentStatus, Diagnosis, Phase, Trigger};

#[tokio::test]
async fn a_deployment_goes_live_and_the_next_one_takes_over() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    fixture.go_live(20, "d1").await;
    let first = fixture.store.deployment(&id("d1")).await.unwrap();
    assert_eq!(first.summary.status, DeploymentStatus::Live);
    assert_eq!((first.summary.release_number, first.summary.finished_at), (Some(1), Some(21)));

    fixture.build(30, &service, "d2").await;
    let ready = fixture.tell(40, "d2", Event::ReplicasReady).await;
    assert_eq!(ready.actions, [(id("d2"), Action::SwitchRoutes)], "the live pointer is the store's own work");
    let pointer = fixture.store.service(&service.service_id).await.unwrap().live;
    assert_eq!(pointer, Some(id("d2")));
    let DeploymentState::Routing { generation, former, .. } = ready.after else { panic!("{:?}", ready.after) };
    assert_eq!(former, Some(id("d1")));
    assert_eq!(fixture.store.generation(slipway_store::Generation::Routes).await.unwrap(), generation);
    assert_eq!(fixture.store.deployment(&id("d1")).await.unwrap().summary.status, DeploymentStatus::Live);

    let routed = fixture.tell(41, "d2", Event::Routed { generation }).await;
    assert_eq!(routed.actions, [(id("d2"), Action::BeginDrain)]);
    let superseded = DeploymentEvent::Status { at: 41, status: DeploymentStatus::Superseded };
    assert!(routed.news.contains(&(id("d1"), superseded)), "{:?}", routed.news);
    let first = fixture.store.deployment(&id("d1")).await.unwrap();
    assert_eq!(first.state, DeploymentState::Superseded { at: 41, by: 2, was_live: true });
    assert_eq!(first.summary.finished_at, Some(21), "when the outcome was known does not move");
    let serving = fixture.store.serving_deployments().await.unwrap();
    assert_eq!(serving.iter().map(|row| row.summary.deployment.as_str()).collect::<Vec<_>>(), ["d2"]);
}

#[tokio::test]
async fn a_newer_deployment_ends_one_that_is_under_way() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    fixture.claim(11, 3).await.unwrap();
    let created = fixture.create(12, &service, "d2").await;
    assert_eq!(created.actions, [(id("d1"), Action::CancelPhase), (id("d1"), Action::ReleaseWorker { worker: 3 })]);
    let first = fixture.store.deployment(&id("d1")).await.unwrap();
    assert_eq!(first.state, DeploymentState::Superseded { at: 12, by: 2, was_live: false });
    let late = fixture.tell(13, "d1", done(Phase::Source)).await;
    assert!(!late.changed && late.actions.is_empty() && late.news.is_empty());
}

#[tokio::test]
async fn an_older_one_never_goes_live_over_a_newer_one() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    fixture.go_live(20, "d1").await;
    let RollbackChoice::Refused(_) = fixture.store.rollback_release(&service.service_id, None).await.unwrap() else {
        panic!("there is nothing before the first release");
    };
    fixture.build(30, &service, "d2").await;
    fixture.go_live(40, "d2").await;
    // A rollback is newer than what it replaces, though its release is older.
    let RollbackChoice::To(release) = fixture.store.rollback_release(&service.service_id, None).await.unwrap() else {
        panic!("d1 was live before");
    };
    assert_eq!(release.number, 1);
    let mut new = new_deployment(&service, "d3");
    (new.trigger, new.release) = (Trigger::Rollback, Some(release.release.clone()));
    let created = fixture.store.create_deployment(50, &new).await.unwrap();
    assert_eq!(created.actions, [(id("d3"), Action::StartReplicas)]);
    let row = fixture.store.deployment(&id("d3")).await.unwrap();
    assert_eq!(
        (row.settings.as_ref(), row.release, row.summary.sequence),
        (Some(&release.settings), Some(release.release), 3)
    );
    fixture.go_live(60, "d3").await;
    let release = fixture.store.rollback_release(&service.service_id, Some(2)).await.unwrap();
    assert!(matches!(release, RollbackChoice::To(release) if release.number == 2));
    // d2 hears of its replicas once more.
    let late = fixture.tell(70, "d2", Event::ReplicasReady).await;
    assert!(!late.changed);
    assert_eq!(fixture.store.service(&service.service_id).await.unwrap().live, Some(id("d3")));
}

#[tokio::test]
async fn a_failure_keeps_its_diagnosis_and_what_is_live() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    fixture.go_live(20, "d1").await;
    fixture.build(30, &service, "d2").await;
    let diagnosis = Diagnosis::new("app-exited", Blame::User, "the app exited at its start").at("npm start");
    let change = Change { diagnosis: Some(diagnosis.clone()), ..Change::default() };
    let event = Event::ReplicaFailed { code: "app-exited".into() };
    let failed = fixture.store.apply(40, &id("d2"), &event, &change).await.unwrap();
    assert_eq!(failed.actions, [(id("d2"), Action::StopReplicas)]);
    let row = fixture.store.deployment(&id("d2")).await.unwrap();
    assert_eq!((row.summary.status, row.summary.diagnosis), (DeploymentStatus::Failed, Some(diagnosis)));
    assert_eq!(fixture.store.service(&service.service_id).await.unwrap().live, Some(id("d1")));
    let overview = &fixture.store.overviews().await.unwrap()[0];
    assert_eq!(overview.live.as_ref().unwrap().deployment, id("d1"));
    assert_eq!(overview.newest.as_ref().unwrap().deployment, id("d2"));
    assert_eq!(overview.replicas_wanted, 2);
}

#[tokio::test]
async fn the_machine_s_own_failures_are_diagnosed_without_help() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    fixture.claim(11, 1).await;
    fixture.tell(12, "d1", Event::TimedOut { phase: Phase::Source }).await;
    let diagnosis = fixture.store.deployment(&id("d1")).await.unwrap().summary.diagnosis.unwrap();
    assert_eq!(diagnosis.code, "phase-timed-out");
}

#[tokio::test]
async fn what_comes_with_an_event_is_written_only_when_it_fits() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    let change = Change {
        note: Some("2 files".into()),
        output: Some(build_output()),
        planned: Some(planned()),
        source_label: Some("0123abcd".into()),
        image: None,
        ignored: false,
        diagnosis: None,
    };
    let early = fixture.store.apply(11, &id("d1"), &done(Phase::Source), &change).await.unwrap();
    assert!(!early.changed);
    let row = fixture.store.deployment(&id("d1")).await.unwrap();
    assert_eq!((row.plan, row.summary.source_label.as_str()), (None, "main"));

    fixture.claim(12, 1).await;
    let fits = fixture.store.apply(13, &id("d1"), &done(Phase::Source), &change).await.unwrap();
    assert_eq!(fits.actions, [(id("d1"), Action::RunPhase { worker: 1, phase: Phase::Environment })]);
    let row = fixture.store.deployment(&id("d1")).await.unwrap();
    assert_eq!((row.plan.is_some(), row.shape.install, row.summary.source_label.as_str()), (true, false, "0123abcd"));
    let phases = fixture.store.phases(&id("d1")).await.unwrap();
    assert_eq!((phases[0].result, phases[0].note.as_deref()), (Some(PhaseResult::Done), Some("2 files")));
    assert_eq!(phases[0].output, Some(build_output()));

    // The plan has no install command: that phase is passed over, and said to be.
    let told = fixture.tell(14, "d1", done(Phase::Environment)).await;
    assert_eq!(told.actions, [(id("d1"), Action::RunPhase { worker: 1, phase: Phase::Build })]);
    let results: Vec<_> =
        fixture.store.phases(&id("d1")).await.unwrap().iter().map(|row| (row.phase, row.result)).collect();
    assert_eq!(results[2..], [(Phase::Install, Some(PhaseResult::Skipped)), (Phase::Build, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_wins_and_the_others_see_it() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    let tasks: Vec<_> = (0..16)
        .map(|worker| {
            let store = fixture.store.clone();
            tokio::spawn(async move {
                store.apply(11, &id("d1"), &Event::WorkerClaimed { worker }, &Change::default()).await.unwrap()
            })
        })
        .collect();
    let mut won = Vec::new();
    for task in tasks {
        let applied = task.await.unwrap();
        match applied.changed {
            true => won.push(applied.after),
            false => assert_eq!((applied.before.phase(), applied.actions.len()), (Some(Phase::Source), 0)),
        }
    }
    assert_eq!(won.len(), 1);
    assert_eq!(fixture.store.deployment(&id("d1")).await.unwrap().state, won[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_claim_at_once_get_different_deployments_oldest_first() {
    let fixture = Fixture::new().await;
    for number in 0..4 {
        let service = fixture.service(&format!("web{number}")).await;
        fixture.create(10 + number, &service, &format!("d{number}")).await;
    }
    let tasks: Vec<_> = (0..6)
        .map(|worker| {
            let store = fixture.store.clone();
            tokio::spawn(async move { claim(&store, 20, worker).await.map(|(claimed, _)| claimed) })
        })
        .collect();
    let mut claimed = Vec::new();
    for task in tasks {
        claimed.extend(task.await.unwrap());
    }
    claimed.sort();
    assert_eq!(claimed, ["d0", "d1", "d2", "d3"].map(id));
}

#[tokio::test]
async fn a_service_has_one_build_at_a_time() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    fixture.claim(11, 1).await;
    let mut planned = planned();
    planned.settings.pre_deploy_command = Some("npm run migrate".into());
    let change = Change { planned: Some(planned), ..Change::default() };
    fixture.store.apply(12, &id("d1"), &done(Phase::Source), &change).await.unwrap();
    fixture.tell(13, "d1", done(Phase::Environment)).await;
    fixture.tell(14, "d1", done(Phase::Build)).await;
    // Its migration runs, and is not broken off for a newer deployment; that one waits.
    let created = fixture.create(15, &service, "d2").await;
    assert!(created.actions.is_empty());
    assert_eq!(fixture.claim(16, 2).await, None);
    fixture.tell(17, "d1", done(Phase::PreDeploy)).await;
    let (claimed, _) = fixture.claim(18, 2).await.unwrap();
    assert_eq!(claimed, id("d2"));
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    let fixture = Fixture::new().await;
    let error = fixture.store.apply(1, &id("nope"), &Event::Drained, &Change::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }));
    assert_eq!(error.to_string(), "there is no deployment `nope`");
}
