//! Whatever the cold tier does is a note within a bound: never a wrong file, nothing left.

use crate::setup::{MIB, Setup, archive_until, assert_clean, config, keys, layer, make_cold, trouble};
use slipway_layers::{ColdConfig, Ensured, Tiers};
use slipway_testing::{Fault, s3};
use slipway_types::LayerRef;
use std::time::{Duration, Instant};

/// Asks once, with a bound far below the time that the layer would take to come.
async fn note_of(host: &Tiers, wanted: &LayerRef, within: Duration) -> String {
    let started = Instant::now();
    let note = trouble(host.ensure(wanted).await);
    assert!(started.elapsed() < within, "{note} after {:?}", started.elapsed());
    assert!(!host.store().contains(wanted), "{note}");
    note
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_tier_that_fails_costs_time_and_a_note() {
    let setup = Setup::new();
    let host = setup.host("one");
    let wanted = layer("wanted");
    make_cold(&host, &wanted, 10 * MIB).await;
    for (fault, expected, seconds) in [
        (Fault::Silent, "does not answer", 5),
        (Fault::Reset, "it fails", 8),
        (Fault::Status(500), "it fails", 8),
        (Fault::Status(503), "it fails", 8),
        (Fault::Status(403), "denies access", 3),
        // In the middle of the index, and of the layer: retried, then given up.
        (Fault::Cut(600), "it fails", 12),
        (Fault::Cut(70_000), "it fails", 25),
        (Fault::Corrupt(2_000_000), "cannot be used: a part of it is damaged", 5),
        (Fault::Throttle(30_000), "too slow", 8),
    ] {
        setup.proxy.set(fault);
        let note = note_of(&host, &wanted, Duration::from_secs(seconds)).await;
        assert!(note.contains(expected) && note.contains("dependencies-wanted"), "{fault:?}: {note}");
        assert!(note.contains(s3::BUCKET) && !note.contains('\n') && !note.contains(s3::SECRET), "{note}");
        assert_clean(&setup.directory("one"));
    }
    setup.proxy.set(Fault::None);
    let ensured = host.ensure(&wanted).await;
    assert!(matches!(ensured, Ensured::Fetched { .. }), "and then it comes: {ensured:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_not_the_layer_is_refused_and_replaced() {
    let setup = Setup::new();
    let host = setup.host("one");
    let (wanted, other) = (layer("wanted"), layer("other"));
    make_cold(&host, &wanted, 2 * MIB).await;
    make_cold(&host, &other, MIB).await;
    let object = setup.object(&wanted);
    let good = setup.s3.read(&object).unwrap();
    let changed = |at: usize| {
        let mut changed = good.clone();
        changed[at] ^= 1;
        changed
    };
    let without_frame = [&good[..16], &good[1000..]].concat();
    for (what, content) in [
        ("empty", Vec::new()),
        ("short", b"SLIPLAYR".to_vec()),
        ("noise", vec![7; 100_000]),
        ("cut", good[..good.len() - 1].to_vec()),
        ("cut in half", good[..good.len() / 2].to_vec()),
        ("without a part", without_frame),
        ("with a changed frame", changed(good.len() / 2)),
        ("with a changed index", changed(good.len() - 100)),
        ("with a changed trailer", changed(good.len() - 48)),
        ("another layer's", setup.s3.read(&setup.object(&other)).unwrap()),
    ] {
        setup.s3.write(&object, &content);
        let note = note_of(&host, &wanted, Duration::from_secs(5)).await;
        assert!(note.contains("cannot be used"), "{what}: {note}");
        assert!(!host.store().record(&wanted).cold, "{what}: the record does not lie");
        assert_clean(&setup.directory("one"));
    }
    // The layer is made again, and the copy with it.
    crate::setup::publish(host.store(), &wanted, 2 * MIB);
    let replaced = || host.store().record(&wanted).cold;
    archive_until(&host, "a new copy", replaced).await;
    host.store().remove(&wanted).unwrap();
    let ensured = host.ensure(&wanted).await;
    assert!(matches!(ensured, Ensured::Fetched { .. }), "{ensured:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_or_forbidden_is_asked_once_in_a_while() {
    let setup = Setup::new();
    let host = setup.host("one");
    let wanted = layer("wanted");
    make_cold(&host, &wanted, MIB).await;
    let with = |name: &str, change: &dyn Fn(&mut ColdConfig)| {
        let mut config = setup.config();
        change(&mut config);
        setup.host_with(name, config)
    };
    let denied = with("denied", &|config| config.credentials = keys(s3::KEY_WITHOUT_RIGHTS));
    let wrong = with("wrong", &|config| config.credentials = keys("nobody"));
    let no_bucket = with("no-bucket", &|config| config.bucket = "missing".to_owned());
    // A port that nothing listens on.
    let nobody = with("nobody", &|changed| *changed = config("http://127.0.0.1:1"));
    for (host, expected) in
        [(&denied, "denies access"), (&wrong, "denies access"), (&no_bucket, "no such bucket"), (&nobody, "it fails")]
    {
        let note = note_of(host, &wanted, Duration::from_secs(8)).await;
        assert!(note.contains(expected), "{note}");
    }

    // The object is gone: known as such from then on.
    setup.s3.remove(&setup.object(&wanted));
    let note = note_of(&host, &wanted, Duration::from_secs(3)).await;
    assert!(note.contains("its copy is gone"), "{note}");
    assert_eq!(host.ensure(&wanted).await, Ensured::Missing);

    // A build does not wait for what failed a moment ago.
    let store = slipway_layers::LayerStore::open(setup.directory("patient")).unwrap();
    let bounds = slipway_layers::ColdBounds { trouble_kept: Duration::from_secs(60), ..crate::setup::bounds() };
    let patient = Tiers::with_bounds(store, Some(setup.config()), bounds).unwrap();
    setup.proxy.set(Fault::Silent);
    let first = note_of(&patient, &wanted, Duration::from_secs(4)).await;
    setup.proxy.take_connections();
    for key in ["a", "b", "c"] {
        assert_eq!(note_of(&patient, &layer(key), Duration::from_millis(500)).await, first);
    }
    assert_eq!(setup.proxy.take_connections(), 0, "nobody asked again");
}

/// The hot tier on a disk of its own that is too small, or fills up in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_note_and_leaves_nothing() {
    let setup = Setup::new();
    let wanted = layer("wanted");
    make_cold(&setup.host("one"), &wanted, 20 * MIB).await;
    let disk = SmallDisk::mount(&setup.directory("small"), 100);
    let small = setup.host("small");
    let ballast = setup.directory("small").join("ballast");
    std::fs::write(&ballast, vec![1; 20 * MIB as usize]).unwrap();
    let note = note_of(&small, &wanted, Duration::from_secs(5)).await;
    assert!(note.contains("has no room for"), "{note}");
    std::fs::remove_file(&ballast).unwrap();

    // There is room at the start; then something else takes it.
    setup.proxy.set(Fault::Throttle(4 * MIB));
    setup.proxy.take_answered_bytes();
    let (asking, key) = (small.clone(), wanted.clone());
    let fetch = tokio::spawn(async move { asking.ensure(&key).await });
    let (started, mut seen) = (Instant::now(), 0);
    while seen < MIB {
        assert!(started.elapsed() < Duration::from_secs(20), "the fetch runs");
        seen += setup.proxy.take_answered_bytes();
        tokio::task::yield_now().await;
    }
    let full = std::fs::write(&ballast, vec![1; 120 * MIB as usize]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let note = trouble(fetch.await.unwrap());
    assert!(note.contains("full") || note.contains("No space left"), "{note}");
    assert!(!small.store().contains(&wanted));
    std::fs::remove_file(&ballast).unwrap();
    assert_clean(&setup.directory("small"));
    setup.proxy.set(Fault::None);
    assert!(matches!(small.ensure(&wanted).await, Ensured::Fetched { .. }));
    drop((small, disk));
}

/// A tmpfs, unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path, mib: u32) -> Self {
        std::fs::create_dir(at).unwrap();
        let size = std::ffi::CString::new(format!("size={mib}m")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount(c"none", at, c"tmpfs", flags, size.as_c_str()).unwrap();
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}
