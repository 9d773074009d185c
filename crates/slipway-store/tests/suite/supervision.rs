//! What becomes of a deployment after it went live.

use crate::fixture::{Fixture, id};
use slipway_pipeline::{Action, DeploymentState, Roster};
use slipway_store::{EventFilter, EventPage, OfReplica, RosterChange, VariablesChange};
use slipway_types::api::EventView;
use slipway_types::{Blame, DeploymentStatus, Diagnosis, ReleaseId, ReplicaId, RunId, Trigger};

fn exited() -> Diagnosis {
    Diagnosis::new("app-exited", Blame::User, "the app exited with status 3")
}

#[tokio::test]
async fn a_crash_brings_back_what_was_live_before_and_not_what_was_newest() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let service = fixture.service("web").await;
    for (now, name) in [(10, "d1"), (30, "d2")] {
        fixture.build(now, &service, name).await;
        fixture.go_live(now + 10, name).await;
    }
    // Back to the first by hand, then a third that crashes.
    let first = store.deployment(&id("d1")).await.unwrap().release.unwrap();
    let mut back = crate::fixture::new_deployment(&service, "d3");
    (back.trigger, back.release) = (Trigger::Rollback, Some(first.clone()));
    store.create_deployment(50, &back).await.unwrap();
    fixture.go_live(60, "d3").await;
    fixture.build(70, &service, "d4").await;
    fixture.go_live(80, "d4").await;

    let applied = store.take_back(100, &id("d4"), &exited(), &id("d5")).await.unwrap().unwrap();
    assert_eq!(applied.actions, [(id("d5"), Action::StartReplicas)]);
    let row = store.deployment(&id("d5")).await.unwrap();
    assert_eq!((row.summary.trigger, row.release), (Trigger::Rollback, Some(first)));
    let crashed = store.deployment(&id("d4")).await.unwrap();
    assert_eq!(crashed.state.crashed(), Some("app-exited"));
    assert_eq!((crashed.summary.status, crashed.summary.diagnosis), (DeploymentStatus::Live, Some(exited())));
    assert_eq!(store.take_back(101, &id("d4"), &exited(), &id("d6")).await.unwrap(), None, "once");

    fixture.go_live(110, "d5").await;
    let failed = store.deployment(&id("d4")).await.unwrap();
    assert!(matches!(failed.state, DeploymentState::Failed { at: 111, .. }), "{:?}", failed.state);
    assert_eq!(failed.summary.diagnosis, Some(exited()));
    assert_eq!(
        store.take_back(112, &id("d5"), &exited(), &id("d6")).await.unwrap(),
        None,
        "a rollback is not taken back"
    );
    let serving = store.serving_deployments().await.unwrap();
    assert_eq!(serving.iter().map(|row| row.summary.deployment.as_str()).collect::<Vec<_>>(), ["d5"]);
    let events = store.events(EventFilter::Deployment(&id("d4")), None, 10).await.unwrap();
    let told = |kind: &str| events.iter().any(|(_, event)| event.kind == kind);
    assert!(told("deployment-crashed") && told("deployment-failed"), "{events:?}");
}

#[tokio::test]
async fn nothing_is_brought_back_without_something_before_nor_after_the_window() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    fixture.go_live(20, "d1").await;
    let take_back = |now, name| {
        let store = &fixture.store;
        async move { store.take_back(now, &id(name), &exited(), &id("back")).await.unwrap() }
    };
    assert_eq!(take_back(30, "d1").await, None);
    fixture.build(40, &service, "d2").await;
    fixture.go_live(50, "d2").await;
    assert_eq!(take_back(53 + 30_000, "d2").await, None);
    assert!(take_back(53 + 29_999, "d2").await.is_some());
}

#[tokio::test]
async fn a_roster_is_that_of_what_is_live_and_a_scale_lasts() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    let roster = Roster::new(2).scaled(3);
    let event = Some(("service-scaled", "to 3".to_owned()));
    let change = RosterChange { roster: roster.clone(), replicas: Some(3), event, gives_up: false };
    let (of, live) = (&service.service_id, id("d1"));
    assert!(!store.put_roster(15, of, &live, &change).await.unwrap(), "it is not live");
    fixture.go_live(20, "d1").await;
    assert_eq!(store.roster(&id("d1")).await.unwrap(), None);
    assert!(store.put_roster(25, of, &live, &change).await.unwrap());
    assert_eq!(store.roster(&id("d1")).await.unwrap(), Some(roster));
    let row = fixture.service("web").await;
    assert_eq!(row.settings.replicas, Some(3));
    assert!(store.fall_asleep(30, &row.service_id, &id("d1")).await.unwrap());
    let change = RosterChange { roster: Roster::new(2).stopped(), replicas: None, event: None, gives_up: false };
    assert!(store.put_roster(31, &row.service_id, &id("d1"), &change).await.unwrap());
    assert_eq!(fixture.service("web").await.asleep, None, "what is stopped does not sleep");
}

#[tokio::test]
async fn events_of_replicas_are_bounded_and_push_out_no_others() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    let (replica, run) = (ReplicaId::parse("d1-1").unwrap(), RunId::of_digest([1; 5]));
    let of = OfReplica { replica: &replica, run: Some(&run) };
    for at in 0..600 {
        let event = ("replica-exited", "again");
        fixture.store.add_replica_event(at, &service.service_id, &id("d1"), of, event).await.unwrap();
    }
    let events = fixture.store.events(EventFilter::Service(&service.service_id), None, 1000).await.unwrap();
    let (of_replicas, others): (Vec<_>, Vec<_>) = events.iter().partition(|(_, event)| event.kind == "replica-exited");
    assert_eq!((of_replicas.len(), of_replicas[0].1.at, of_replicas[499].1.at), (500, 599, 100));
    let page = store_page(&fixture, EventPage::After(events[1].0)).await;
    assert_eq!((page.len(), page[0].id, page[0].run.clone(), page[0].at), (1, events[0].0, Some(run), 599));
    assert!(others.iter().any(|(_, event)| event.kind == "deployment-created"), "{others:?}");
}

async fn store_page(fixture: &Fixture, page: EventPage) -> Vec<EventView> {
    fixture.store.event_page(EventFilter::All, page, 1000).await.unwrap()
}

#[tokio::test]
async fn other_variables_are_a_further_release_which_a_restart_that_fails_takes_back() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    fixture.go_live(20, "d1").await;
    let (of, live) = (&service.service_id, id("d1"));
    let begun = Roster::new(2).restarted();
    let change = |name: &str, env_revision, roster| VariablesChange {
        release: ReleaseId::parse(name).unwrap(),
        env_revision,
        roster,
        event: ("variables-changed", "A".to_owned()),
    };
    let of_live = async || {
        let row = store.deployment(&live).await.unwrap();
        let release = store.release(&row.release.unwrap()).await.unwrap();
        (row.summary.release_number.unwrap(), release.env_revision, release.live_at)
    };
    let first = of_live().await;
    assert_eq!(store.change_variables(30, of, &id("d9"), &change("rel-x", 5, None)).await.unwrap(), None);
    assert_eq!(of_live().await, first, "it is not the live one");

    // Not in force before all replicas have them.
    let rolling = change("rel-2", 5, Some(begun.clone()));
    assert_eq!(store.change_variables(30, of, &live, &rolling).await.unwrap(), Some(2));
    assert_eq!((of_live().await, store.roster(&live).await.unwrap()), ((2, 5, None), Some(begun.clone())));
    let roster = |roster, gives_up| RosterChange { roster, replicas: None, event: None, gives_up };
    assert!(store.put_roster(31, of, &live, &roster(begun.step(|_| true).unwrap(), false)).await.unwrap());
    assert_eq!(of_live().await, (2, 5, None));
    assert!(store.put_roster(32, of, &live, &roster(begun.given_up(), true)).await.unwrap());
    assert_eq!(of_live().await, first);

    let rolling = change("rel-3", 6, Some(begun.clone()));
    assert_eq!(store.change_variables(40, of, &live, &rolling).await.unwrap(), Some(3));
    assert!(store.put_roster(41, of, &live, &roster(Roster::new(2), false)).await.unwrap());
    assert_eq!(of_live().await, (3, 6, Some(41)));
    // A restart that fails later takes nothing back.
    assert!(store.put_roster(42, of, &live, &roster(Roster::new(2), true)).await.unwrap());
    assert_eq!(of_live().await, (3, 6, Some(41)));
    let told = change("rel-4", 7, None);
    assert_eq!(store.change_variables(50, of, &live, &told).await.unwrap(), Some(4));
    assert_eq!(of_live().await, (4, 7, Some(50)));
    let back = store.rollback_release(of, None).await.unwrap();
    assert!(matches!(back, slipway_store::RollbackChoice::To(release) if release.number == 3), "an undo");
}
