//! The database of tests works: each has one of its own, and what it holds goes with it.
#![allow(clippy::unwrap_used)]

use slipway_testing::Postgres;

#[test]
fn two_databases_at_once_share_nothing() {
    let (one, other) = (Postgres::start(), Postgres::start());
    assert_ne!(one.url(), other.url());
    one.query("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)");
    assert_eq!(one.query("SELECT n, n * 2 FROM t ORDER BY n"), "1|2\n2|4");
    assert_eq!(other.query("SELECT count(*) FROM pg_tables WHERE tablename = 't'"), "0");
    let held = one.hold("SELECT pg_advisory_lock(7)");
    assert_eq!(one.query("SELECT pg_try_advisory_lock(7)"), "f");
    drop(held);
    slipway_testing::wait::until("the lock to be free", std::time::Duration::from_secs(60), || {
        (one.query("SELECT pg_try_advisory_lock(7)") == "t").then_some(())
    });
}
