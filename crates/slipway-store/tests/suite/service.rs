//! Services: names, settings, variables, replicas, and their end.

use crate::fixture::{Fixture, id, new_release};
use slipway_store::{EventFilter, Generation, ReplicaRow, ReplicaStatus, StoreError, TokenRow, UploadRow};
use slipway_types::{ProjectName, ReplicaId, ServiceName, SettingsPatch, UploadId};

fn replica(name: &str, deployment: &str, state: ReplicaStatus, since: i64) -> ReplicaRow {
    ReplicaRow { replica: ReplicaId::parse(name).unwrap(), deployment: id(deployment), state, since }
}

#[tokio::test]
async fn a_service_is_made_once() {
    let fixture = Fixture::new().await;
    let first = fixture.service("web").await;
    assert_eq!(fixture.service("web").await, first);
    let (project, name) = (ProjectName::parse("shop").unwrap(), ServiceName::parse("web").unwrap());
    assert_eq!(fixture.store.service_named(&project, &name).await.unwrap(), Some(first));
    let other = ServiceName::parse("other").unwrap();
    assert_eq!(fixture.store.service_named(&project, &other).await.unwrap(), None);
}

#[tokio::test]
async fn settings_merge_and_are_replaced() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    let port = SettingsPatch { port: Some(8080), replicas: Some(2), ..SettingsPatch::default() };
    fixture.store.merge_settings(&service.service_id, &port).await.unwrap();
    let more = SettingsPatch { replicas: Some(3), ..SettingsPatch::default() };
    let merged = fixture.store.merge_settings(&service.service_id, &more).await.unwrap();
    assert_eq!((merged.port, merged.replicas), (Some(8080), Some(3)));
    fixture.store.put_settings(&service.service_id, &more).await.unwrap();
    assert_eq!(fixture.store.service(&service.service_id).await.unwrap().settings, more);
}

#[tokio::test]
async fn variables_have_revisions_that_stay() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    let (store, key) = (&fixture.store, &service.service_id);
    assert_eq!(store.env(key, 0).await.unwrap(), None);
    assert_eq!(store.put_env(1, key, 0, b"\x00one").await.unwrap(), 1);
    assert_eq!(store.put_env(2, key, 1, b"two").await.unwrap(), 2);
    assert!(matches!(store.put_env(3, key, 1, b"late").await, Err(StoreError::Stale { .. })));
    assert_eq!(store.env(key, 1).await.unwrap().unwrap(), b"\x00one");
    assert_eq!(store.env(key, 2).await.unwrap().unwrap(), b"two");
    assert!(matches!(store.env(key, 3).await, Err(StoreError::Missing { .. })));
    fixture.create(5, &service, "d1").await;
    assert_eq!(store.deployment(&id("d1")).await.unwrap().env_revision, 2);
}

#[tokio::test]
async fn a_release_is_made_once_for_a_deployment_with_a_plan() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d0").await;
    let early = fixture.store.create_release(11, &new_release("d0")).await;
    assert!(matches!(early, Err(StoreError::Unplanned { .. })));
    fixture.build(20, &service, "d1").await;
    let again = fixture.store.create_release(30, &new_release("d1")).await.unwrap();
    assert_eq!((again.number, again.created_at, again.live_at), (1, 25, None));
    fixture.go_live(40, "d1").await;
    let releases = fixture.store.releases(&service.service_id, None, 10).await.unwrap();
    assert_eq!((releases.len(), releases[0].live_at), (1, Some(40)));
}

#[tokio::test]
async fn replicas_keep_the_instant_of_their_state() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    fixture.create(10, &service, "d1").await;
    let store = &fixture.store;
    store.put_replicas(&[replica("r1", "d1", ReplicaStatus::Starting, 11)]).await.unwrap();
    store.put_replicas(&[replica("r1", "d1", ReplicaStatus::Starting, 12)]).await.unwrap();
    assert_eq!(store.replicas().await.unwrap()[0].since, 11);
    store
        .put_replicas(&[
            replica("r1", "d1", ReplicaStatus::Ready, 13),
            replica("r2", "d1", ReplicaStatus::Starting, 13),
        ])
        .await
        .unwrap();
    let rows = store.replicas_of(&id("d1")).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| (row.state, row.since)).collect::<Vec<_>>(),
        [(ReplicaStatus::Ready, 13), (ReplicaStatus::Starting, 13)]
    );
    store.remove_replicas(&[rows[0].replica.clone()]).await.unwrap();
    assert_eq!(store.overviews().await.unwrap()[0].replicas, rows[1..]);
    // A replica without its deployment is refused, and nothing of the batch is written.
    let batch = [replica("r3", "d1", ReplicaStatus::Ready, 14), replica("r4", "gone", ReplicaStatus::Ready, 14)];
    assert!(store.put_replicas(&batch).await.is_err());
    assert_eq!(store.replicas().await.unwrap().len(), 1);
}

#[tokio::test]
async fn generations_only_grow() {
    let fixture = Fixture::new().await;
    let store = &fixture.store;
    assert_eq!(store.generation(Generation::Replicas).await.unwrap(), 0);
    assert_eq!(store.next_generation(Generation::Replicas).await.unwrap(), 1);
    assert_eq!(store.next_generation(Generation::Replicas).await.unwrap(), 2);
    assert_eq!(store.next_generation(Generation::Routes).await.unwrap(), 1);
}

#[tokio::test]
async fn uploads_and_tokens_are_found_again() {
    let fixture = Fixture::new().await;
    let upload = UploadRow { upload: UploadId::parse("up1").unwrap(), files: 3, bytes: 99, created_at: 5 };
    fixture.store.put_upload(&upload).await.unwrap();
    fixture.store.put_upload(&upload).await.unwrap();
    assert_eq!(fixture.store.upload(&upload.upload).await.unwrap(), Some(upload));
    assert_eq!(fixture.store.upload(&UploadId::parse("up2").unwrap()).await.unwrap(), None);
    let token = TokenRow { sha256: "ab".repeat(32), name: "admin".into(), created_at: 6 };
    fixture.store.put_token(&token).await.unwrap();
    assert_eq!(fixture.store.token(&token.sha256).await.unwrap(), Some(token));
    assert_eq!(fixture.store.token("cd").await.unwrap(), None);
}

#[tokio::test]
async fn a_destroyed_service_leaves_nothing_and_others_alone() {
    let fixture = Fixture::new().await;
    let (web, api) = (fixture.service("web").await, fixture.service("api").await);
    fixture.build(10, &web, "w1").await;
    fixture.go_live(20, "w1").await;
    fixture.create(30, &api, "a1").await;
    fixture.store.put_env(31, &web.service_id, 0, b"x").await.unwrap();
    fixture.store.put_replicas(&[replica("r1", "w1", ReplicaStatus::Ready, 32)]).await.unwrap();

    let destroyed = fixture.store.destroy(&web.service_id).await.unwrap();
    assert_eq!(destroyed.deployments.len(), 1);
    assert_eq!(destroyed.replicas, [ReplicaId::parse("r1").unwrap()]);
    assert!(matches!(fixture.store.service(&web.service_id).await, Err(StoreError::Missing { .. })));
    assert!(fixture.store.deployment(&id("w1")).await.is_err());
    assert!(fixture.store.phases(&id("w1")).await.unwrap().is_empty());
    assert!(fixture.store.events(EventFilter::Deployment(&id("w1")), None, 10).await.unwrap().is_empty());
    assert!(fixture.store.replicas().await.unwrap().is_empty());
    assert!(matches!(fixture.store.destroy(&web.service_id).await, Err(StoreError::Missing { .. })));
    assert_eq!(fixture.store.overviews().await.unwrap().len(), 1);
    // The same name begins anew.
    assert_eq!(fixture.service("web").await.env_revision, 0);
}
