//! Whether what is live of a service sleeps.

use crate::fixture::{Fixture, id};
use slipway_store::{EventFilter, Store};

#[tokio::test]
async fn only_what_is_live_sleeps_and_it_stays_asleep_in_the_file() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    let (store, key) = (&fixture.store, &service.service_id);
    fixture.build(10, &service, "d1").await;
    assert!(!store.fall_asleep(20, key, &id("d1")).await.unwrap(), "it is not live yet");
    fixture.go_live(30, "d1").await;
    assert!(store.fall_asleep(40, key, &id("d1")).await.unwrap());
    assert!(!store.fall_asleep(41, key, &id("d1")).await.unwrap(), "it sleeps already");
    let again = Store::open(&fixture.path).await.unwrap();
    assert!(again.service(key).await.unwrap().sleeps(&id("d1")));
    assert!(again.overviews().await.unwrap()[0].service.sleeps(&id("d1")));

    assert!(!store.wake(50, key, &id("d2")).await.unwrap(), "another one");
    assert!(store.wake(51, key, &id("d1")).await.unwrap());
    assert!(!store.wake(52, key, &id("d1")).await.unwrap());
    assert!(!store.service(key).await.unwrap().sleeps(&id("d1")));
    let events = store.events(EventFilter::Service(key), None, 2).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|(_, event)| event.kind.as_str()).collect();
    assert_eq!(kinds, ["service-woken", "service-asleep"]);
}

#[tokio::test]
async fn what_goes_live_is_awake() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    fixture.go_live(30, "d1").await;
    assert!(fixture.store.fall_asleep(40, &service.service_id, &id("d1")).await.unwrap());
    fixture.build(50, &service, "d2").await;
    fixture.go_live(60, "d2").await;
    let row = fixture.store.service(&service.service_id).await.unwrap();
    assert_eq!(row.live, Some(id("d2")));
    assert!(!row.sleeps(&id("d2")));
    assert!(!fixture.store.fall_asleep(70, &service.service_id, &id("d1")).await.unwrap(), "it is live no more");
}

#[tokio::test]
async fn events_of_sleep_do_not_pile_up() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    let (store, key) = (&fixture.store, &service.service_id);
    fixture.build(10, &service, "d1").await;
    fixture.go_live(30, "d1").await;
    let before = store.events(EventFilter::Service(key), None, 1000).await.unwrap().len();
    for round in 0..110 {
        assert!(store.fall_asleep(100 + round, key, &id("d1")).await.unwrap());
        assert!(store.wake(100 + round, key, &id("d1")).await.unwrap());
    }
    let events = store.events(EventFilter::Service(key), None, 1000).await.unwrap();
    assert_eq!(events.len(), before + 200);
    assert_eq!(events[0].1.kind, "service-woken");
}
