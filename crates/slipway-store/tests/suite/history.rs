//! Events, phases and listings.

use crate::fixture::{Fixture, done, id};
use slipway_pipeline::Event;
use slipway_store::{Before, EventFilter};
use slipway_types::Phase;
use slipway_types::api::DeploymentEvent;

#[tokio::test]
async fn each_status_and_each_phase_leaves_an_event() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    fixture.go_live(20, "d1").await;
    let mut events = fixture.store.events(EventFilter::Deployment(&id("d1")), None, 100).await.unwrap();
    events.reverse();
    let kinds: Vec<_> = events.iter().map(|(_, event)| event.kind.as_str()).collect();
    let finished = "phase-finished";
    assert_eq!(
        kinds,
        [
            "deployment-created",
            "deployment-building",
            finished, // source
            finished, // environment
            finished, // install, skipped
            finished, // build
            finished, // pre-deploy, skipped
            "deployment-deploying",
            finished, // start
            finished, // health
            finished, // route
            finished, // drain, skipped: there was nothing to drain
            "deployment-live",
            finished, // clean-up
        ]
    );
    assert_eq!(events[2].1.message, "source done after 1 ms");
    assert_eq!(events[4].1.message, "install was skipped");
    assert!(events.is_sorted_by_key(|(event, _)| *event));
    assert_eq!(fixture.store.events(EventFilter::Service(&service.service_id), None, 100).await.unwrap().len(), 14);
    let page = fixture.store.events(EventFilter::All, Some(events[2].0), 100).await.unwrap();
    assert_eq!(page.iter().map(|(_, event)| event.kind.as_str()).collect::<Vec<_>>(), [kinds[1], kinds[0]]);
}

#[tokio::test]
async fn the_stream_of_the_past_is_what_was_told_at_the_time() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    let mut told = Vec::new();
    told.extend(fixture.claim(11, 1).await.unwrap().1.news);
    told.extend(fixture.tell(15, "d1", done(Phase::Source)).await.news);
    told.extend(
        fixture
            .tell(19, "d1", Event::PhaseFailed { phase: Phase::Environment, attempt: Some(2), code: "x".into() })
            .await
            .news,
    );
    let told: Vec<_> = told
        .into_iter()
        .map(|(_, event)| event)
        .filter(|event| !matches!(event, DeploymentEvent::Status { .. }))
        .collect();
    let past: Vec<_> =
        fixture.store.phases(&id("d1")).await.unwrap().iter().flat_map(|row| row.stream_events()).collect();
    assert_eq!(past, told);
    assert_eq!(past.len(), 4);
}

#[tokio::test]
async fn a_phase_that_begins_again_forgets_the_lost_attempt() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    fixture.claim(11, 1).await;
    fixture.tell(12, "d1", done(Phase::Source)).await;
    fixture.tell(13, "d1", Event::Restarted { scratch_kept: false }).await;
    fixture.claim(14, 2).await.unwrap();
    let phases = fixture.store.phases(&id("d1")).await.unwrap();
    assert_eq!(
        phases.iter().map(|row| (row.phase, row.started_at, row.result)).collect::<Vec<_>>(),
        [(Phase::Source, 14, None)]
    );
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let fixture = Fixture::new().await;
    let (web, api) = (fixture.service("web").await, fixture.service("api").await);
    for number in 0..7 {
        // The same instant for two of each: ids decide.
        fixture.create(10 + number / 2, &web, &format!("w{number}")).await;
        fixture.create(10 + number / 2, &api, &format!("a{number}")).await;
    }
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = fixture.store.deployments(before.as_ref(), 3).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(Before { created_at: last.created_at, deployment: last.deployment.clone() });
        all.extend(page.into_iter().map(|row| row.deployment));
    }
    assert_eq!(all.len(), 14);
    assert_eq!(all.iter().collect::<std::collections::HashSet<_>>().len(), 14);

    let first = fixture.store.deployments_of(&web.service_id, None, 4).await.unwrap();
    let second = fixture.store.deployments_of(&web.service_id, Some(first[3].sequence), 4).await.unwrap();
    let sequences: Vec<_> = first.iter().chain(&second).map(|row| row.sequence).collect();
    assert_eq!(sequences, [7, 6, 5, 4, 3, 2, 1]);
}
