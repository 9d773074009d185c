//! Listings stay fast with a long history.

use crate::fixture::{Fixture, claim, id};
use slipway_store::{Before, EventFilter};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::time::{Duration, Instant};

const DEPLOYMENTS: i64 = 100_000;
const SERVICES: i64 = 10;
/// To compare with: long enough for full pages.
const SHORT: i64 = 1_000;
/// A listing that looked at all of the history would take a hundred times as long, in a build without optimisation too.
const SLOWER_MAX: u32 = 5;
/// What takes less is not told from noise.
const FLOOR: Duration = Duration::from_millis(4);
/// The best of this many: another test on the same machine is not the store's slowness.
const ATTEMPTS: usize = 10;

async fn live_services(fixture: &Fixture) {
    for number in 0..SERVICES {
        let service = fixture.service(&format!("web{number}")).await;
        fixture.build(10, &service, &format!("live{number}")).await;
        fixture.go_live(20, &format!("live{number}")).await;
    }
}

/// Copies the live deployment of each service until the history has the deployments and events `from..=to`.
async fn fill(fixture: &Fixture, from: i64, to: i64) {
    let options = SqliteConnectOptions::new().filename(&fixture.path).foreign_keys(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
        "BEGIN IMMEDIATE;
         WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to})
         INSERT INTO deployments SELECT 'old-' || n.i, d.service, n.i + 1, d.trigger_kind, d.shape,
           '{{\"state\":\"superseded\",\"at\":1,\"by\":2,\"was_live\":true}}', 'superseded', d.phase, 0, 1, d.source,
           d.source_label, d.message, d.settings, d.plan, 0, NULL, NULL, NULL, 100 + n.i, 200 + n.i,
           d.image, d.build_inputs, d.source_settings, d.built_by, d.ignored, d.roster
           FROM n JOIN deployments d ON d.id = 'live' || (n.i % {SERVICES});
         WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to})
         INSERT INTO events SELECT 1000 + n.i, n.i, d.service, d.id, 'deployment-live', 'deployment is live', NULL, NULL
           FROM n JOIN deployments d ON d.id = 'old-' || n.i;
         UPDATE counters SET value = 1000 + {to} WHERE name = 'event';
         UPDATE services SET deployment_sequence = (SELECT max(sequence) FROM deployments d WHERE d.service = services.id);
         COMMIT;"
    )))
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
}

/// How long each listing takes at best.
#[derive(Default)]
struct Times(Vec<(&'static str, Duration)>);

impl Times {
    async fn best<T>(&mut self, what: &'static str, mut run: impl AsyncFnMut() -> T) -> T {
        let (mut fastest, mut last) = (Duration::MAX, None);
        for _ in 0..ATTEMPTS {
            let start = Instant::now();
            last = Some(run().await);
            fastest = fastest.min(start.elapsed());
        }
        self.0.push((what, fastest));
        last.unwrap()
    }
}

/// All listings, of a history of `length`.
async fn list(fixture: &Fixture, length: i64) -> Times {
    let (store, mut times) = (&fixture.store, Times::default());
    let service = fixture.service("web3").await.service_id;

    let overviews = times.best("ps", async || store.overviews().await.unwrap()).await;
    assert_eq!(overviews.len(), SERVICES as usize);
    assert!(overviews.iter().all(|overview| overview.live.is_some() && overview.newest.is_some()));

    let page = times.best("newest", async || store.deployments(None, 50).await.unwrap()).await;
    assert_eq!((page.len(), page[0].deployment.clone()), (50, id(&format!("old-{length}"))));
    let middle = Before { created_at: 100 + length / 2, deployment: id(&format!("old-{}", length / 2)) };
    let page = times.best("deep page", async || store.deployments(Some(&middle), 50).await.unwrap()).await;
    assert_eq!(page[0].deployment, id(&format!("old-{}", length / 2 - 1)));
    let page = times.best("of a service", async || store.deployments_of(&service, None, 50).await.unwrap()).await;
    assert_eq!(page.len(), 50);

    let of_service = EventFilter::Service(&service);
    let events = times.best("events", async || store.events(of_service, None, 50).await.unwrap()).await;
    assert_eq!(events.len(), 50);
    let active = times.best("active", async || store.active_deployments().await.unwrap()).await;
    assert!(active.is_empty());
    let serving = times.best("serving", async || store.serving_deployments().await.unwrap()).await;
    assert_eq!(serving.len(), SERVICES as usize);
    // None of them has an image: no row may be looked at in vain.
    let built = times.best("newest built", async || store.newest_built(&service).await.unwrap()).await;
    assert_eq!(built, None);
    let newest = times.best("newest not ignored", async || store.newest_not_ignored(&service).await.unwrap()).await;
    assert!(newest.is_some());
    let claimed = times.best("claim", async || claim(store, 1, 1).await).await;
    assert_eq!(claimed, None);
    times
}

#[tokio::test]
async fn a_long_history_does_not_slow_a_listing() {
    let fixture = Fixture::new().await;
    live_services(&fixture).await;
    fill(&fixture, 1, SHORT).await;
    let short = list(&fixture, SHORT).await;
    fill(&fixture, SHORT + 1, DEPLOYMENTS).await;
    let long = list(&fixture, DEPLOYMENTS).await;
    for ((what, before), (_, now)) in short.0.into_iter().zip(long.0) {
        println!("{what}: {before:?}, {now:?}");
        assert!(now <= before.max(FLOOR) * SLOWER_MAX, "{what} took {now:?}, and {before:?} of a short history");
    }

    let store = &fixture.store;
    let row = fixture.service("web3").await;
    let service = row.service_id.clone();
    // Its older ones are looked for at creation and when it goes live.
    let start = Instant::now();
    fixture.build(1_000_000, &row, "new").await;
    fixture.go_live(1_000_010, "new").await;
    println!("a whole deployment: {:?}", start.elapsed());

    let start = Instant::now();
    store.destroy(&service).await.unwrap();
    println!("destroy of a tenth: {:?}", start.elapsed());
    assert_eq!(store.overviews().await.unwrap().len(), SERVICES as usize - 1);
}
