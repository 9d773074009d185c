//! Databases of every released schema, as the versions of their time wrote them, and copies for backups.
//!
//! `schemas/N.sql` is the dump (`sqlite3 slipway.db .dump`) of a database that the store of schema N wrote, with the rows that
//! are looked for below. A released one never changes; whoever releases a schema adds its dump.

use crate::fixture::{Fixture, id, new_deployment};
use slipway_pipeline::{DeploymentState, Event};
use slipway_store::{
    Change, EventFilter, ReplicaStatus, Store, StoreError, check_database, copy_database, newest_schema,
};
use slipway_types::{DeploymentStatus, LayerKind, LayerRef, Phase, ReleaseId, ServiceId, SourceSpec, UploadId};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const RELEASED: [(i64, &str); 4] = [
    (1, include_str!("../schemas/1.sql")),
    (2, include_str!("../schemas/2.sql")),
    (3, include_str!("../schemas/3.sql")),
    (4, include_str!("../schemas/4.sql")),
];

/// Runs SQL as no version of the store would.
async fn tamper(path: &Path, sql: &'static str) {
    let mut connection =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).foreign_keys(false).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn every_released_schema_is_brought_up_to_date_with_its_rows() {
    for (schema, dump) in RELEASED {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("slipway.db");
        tamper(&path, dump).await;
        assert_eq!(check_database(&path).await.unwrap(), schema);
        let store = Store::open(&path).await.unwrap();
        check_rows(&store, schema).await;
        store.close().await;
        assert_eq!(check_database(&path).await.unwrap(), newest_schema(), "schema {schema}");
        // What was brought up to date is opened again like any other.
        check_rows(&Store::open(&path).await.unwrap(), schema).await;
    }
}

async fn check_rows(store: &Store, schema: i64) {
    let web = ServiceId::parse("svc-web").unwrap();
    let overviews = store.overviews().await.unwrap();
    let names: Vec<_> = overviews.iter().map(|overview| overview.service.service.to_string()).collect();
    assert_eq!(names, ["web", "worker"], "schema {schema}");
    assert_eq!(overviews[0].service.live, Some(id("d2")));
    assert_eq!((overviews[0].service.env_revision, overviews[0].service.asleep.clone()), (2, None));
    assert_eq!(store.env(&web, 1).await.unwrap().unwrap(), b"sealed one");
    assert_eq!(store.env(&web, 2).await.unwrap().unwrap(), b"sealed two");

    let statuses: Vec<_> =
        store.deployments_of(&web, None, 10).await.unwrap().iter().map(|row| (row.sequence, row.status)).collect();
    let expected = [(3, DeploymentStatus::Building), (2, DeploymentStatus::Live), (1, DeploymentStatus::Superseded)];
    assert_eq!(statuses, expected, "schema {schema}");
    let live = store.deployment(&id("d2")).await.unwrap();
    assert_eq!(
        (live.settings.unwrap().replicas, live.plan.unwrap().build_command.as_deref()),
        (2, Some("npm run build"))
    );
    assert!(matches!(live.source, SourceSpec::Git(git) if git.reference.as_deref() == Some("main")));
    assert!(!store.phases(&id("d2")).await.unwrap().is_empty());
    let release = store.release(&ReleaseId::parse("rel-d1").unwrap()).await.unwrap();
    assert_eq!((release.number, release.image.layers), (1, vec![LayerRef::new(LayerKind::Source, "d1")]));
    assert!(store.events(EventFilter::All, None, 100).await.unwrap().len() > 5);
    let replicas = store.replicas_of(&id("d2")).await.unwrap();
    assert_eq!((replicas.len(), replicas[0].state), (1, ReplicaStatus::Ready));
    assert_eq!(store.upload(&UploadId::parse("up-1").unwrap()).await.unwrap().unwrap().files, 3);
    assert_eq!(store.token(&"ab".repeat(32)).await.unwrap().unwrap().name, "admin");

    // What was under way goes on.
    let active = store.active_deployments().await.unwrap();
    assert_eq!(active.iter().map(|row| row.summary.deployment.clone()).collect::<Vec<_>>(), [id("d3"), id("d4")]);
    assert_eq!(active[0].summary.phase, Some(Phase::Environment));
    let retained = store.retained(2).await.unwrap();
    assert!(retained.iter().any(|retained| retained.layers.contains(&LayerRef::new(LayerKind::Source, "d2"))));
}

#[tokio::test]
async fn what_was_under_way_in_an_older_schema_can_be_told_of_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("slipway.db");
    tamper(&path, RELEASED[0].1).await;
    let store = Store::open(&path).await.unwrap();
    let event = Event::Restarted { scratch_kept: false };
    let applied = store.apply(100, &id("d3"), &event, &Change::default()).await.unwrap();
    assert!(matches!(applied.after, DeploymentState::Resuming { .. } | DeploymentState::Queued { .. }), "{applied:?}");
    let web = store.service(&ServiceId::parse("svc-web").unwrap()).await.unwrap();
    store.create_deployment(101, &new_deployment(&web, "d5")).await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let fixture = Fixture::new().await;
    fixture.service("web").await;
    fixture.store.close().await;
    tamper(
        &fixture.path,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'later', 1, X'00', 0)",
    )
    .await;
    let copy = fixture.path.with_file_name("copy.db");
    let before = std::fs::read(&fixture.path).unwrap();
    for refusal in [
        Store::open(&fixture.path).await.map(drop).unwrap_err(),
        check_database(&fixture.path).await.map(drop).unwrap_err(),
        copy_database(&fixture.path, &copy).await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(refusal, StoreError::Newer { schema: 9999, .. }), "{refusal}");
        assert!(refusal.to_string().contains("a newer version wrote it"), "{refusal}");
    }
    assert!(std::fs::read(&fixture.path).unwrap() == before && !copy.exists());
}

/// Copies are taken while another connection writes without pause; each is whole, and of one moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_of_one_moment_while_others_write() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    let store = fixture.store.clone();
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let (stop, service) = (stop.clone(), service.clone());
        async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                store.create_deployment(number, &new_deployment(&service, &format!("d{number}"))).await.unwrap();
            }
            number
        }
    });
    while fixture.store.deployments_of(&service.service_id, None, 1).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let directory = tempfile::tempdir().unwrap();
    for number in 0..10 {
        let copy = directory.path().join(format!("{number}.db"));
        assert_eq!(copy_database(&fixture.path, &copy).await.unwrap(), newest_schema());
        assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
        check_database(&copy).await.unwrap();
        let copied = Store::open(&copy).await.unwrap();
        let rows = copied.deployments_of(&service.service_id, None, 100_000).await.unwrap();
        // Each new one supersedes those before it in the same transaction.
        assert!(rows.iter().filter(|row| row.status == DeploymentStatus::Queued).count() <= 1);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writing.await.unwrap() > 0);
}

#[tokio::test]
async fn a_damaged_database_is_not_taken_for_one() {
    let fixture = Fixture::new().await;
    let service = fixture.service("web").await;
    for number in 0..50 {
        fixture.create(number, &service, &format!("d{number}")).await;
    }
    fixture.store.close().await;
    let good = std::fs::read(&fixture.path).unwrap();
    let mut torn = good.clone();
    let middle = torn.len() / 2;
    torn[middle..middle + 4096].fill(0xA5);
    std::fs::write(&fixture.path, &torn).unwrap();
    assert!(check_database(&fixture.path).await.is_err());

    std::fs::write(&fixture.path, &good).unwrap();
    check_database(&fixture.path).await.unwrap();
    tamper(&fixture.path, "DELETE FROM services").await;
    let refusal = check_database(&fixture.path).await.unwrap_err();
    assert!(refusal.to_string().contains("refers to one that is not there"), "{refusal}");

    let other = fixture.path.with_file_name("other.db");
    tamper(&other, "CREATE TABLE unrelated (id INTEGER)").await;
    let refusal = check_database(&other).await.unwrap_err();
    assert!(refusal.to_string().contains("no tables of Slipway"), "{refusal}");
}
