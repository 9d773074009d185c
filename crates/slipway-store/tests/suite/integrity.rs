//! What a crash leaves, and what is never written.

use crate::fixture::{Fixture, claim, done, id, new_deployment};
use slipway_pipeline::{DeploymentState, Event};
use slipway_store::{Store, StoreError};
use slipway_types::{DeploymentStatus, Phase};
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn a_new_file_is_private_and_an_old_one_is_opened_again() {
    let fixture = Fixture::new().await;
    let mode = std::fs::metadata(&fixture.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let service = fixture.service("web").await;
    fixture.store.close().await;
    let again = Store::open(&fixture.path).await.unwrap();
    assert_eq!(again.service(&service.service_id).await.unwrap(), service);
}

#[tokio::test]
async fn what_is_no_database_is_refused_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slipway.db");
    std::fs::write(&path, "this is not a database, and long enough to be seen as none".repeat(20)).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(error.to_string().contains("slipway.db"), "{error}");
    let error = Store::open(&directory.path().join("no/such/slipway.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::Create { .. }));
}

/// The file and its log are copied while the store is open, as a crash would leave them: all that was committed is
/// there.
#[tokio::test]
async fn a_crash_loses_nothing_that_was_committed() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    fixture.claim(11, 1).await;
    fixture.tell(12, "d1", done(Phase::Source)).await;

    let crashed = tempfile::tempdir().unwrap();
    for file in ["slipway.db", "slipway.db-wal"] {
        std::fs::copy(fixture.path.with_file_name(file), crashed.path().join(file)).unwrap();
    }
    let store = Store::open(&crashed.path().join("slipway.db")).await.unwrap();
    let active = store.active_deployments().await.unwrap();
    assert_eq!(active.len(), 1);
    assert_eq!(active[0].summary.phase, Some(Phase::Environment));
    let event = Event::Restarted { scratch_kept: true };
    let applied = store.apply(20, &id("d1"), &event, &slipway_store::Change::default()).await.unwrap();
    assert_eq!(applied.after, DeploymentState::Resuming { phase: Phase::Environment, since: 20 });
    let (claimed, _) = claim(&store, 21, 4).await.unwrap();
    assert_eq!(claimed, id("d1"));
}

/// A future that is dropped in the middle of its transaction, as by a timed-out request, leaves no half of it.
#[tokio::test]
async fn an_abandoned_change_is_all_or_nothing() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    for number in 0..40 {
        let new = new_deployment(&service, &format!("d{number}"));
        {
            let mut create = std::pin::pin!(fixture.store.create_deployment(10 + number, &new));
            // A different number of steps each time.
            for _ in 0..number {
                let waker = std::task::Waker::noop();
                if create.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let rows = fixture.store.deployments_of(&service.service_id, None, 1000).await.unwrap();
        let queued = rows.iter().filter(|row| row.status == DeploymentStatus::Queued).count();
        assert!(queued <= 1, "an older one was not superseded together with the creation of the newer");
        let sequences: Vec<_> = rows.iter().map(|row| row.sequence).collect();
        let expected: Vec<_> = (1..=rows.len() as u64).rev().collect();
        assert_eq!(sequences, expected, "a sequence was spent on nothing");
    }
    fixture.create(99, &service, "last").await;
}

#[tokio::test]
async fn a_credential_is_never_in_the_file() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.build(10, &service, "d1").await;
    fixture.store.close().await;
    let directory = fixture.path.parent().unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
    }
}
