//! Whatever the cold tier does is a note within a bound: never a wrong file, nothing left.

use crate::setup::{BOUND, MIB, Setup, archive_until, assert_clean, bounds, config, keys, layer, make_cold, trouble};
use slipway_layers::{ColdBounds, ColdConfig, Ensured, Tiers};
use slipway_testing::{Fault, s3};
use slipway_types::LayerRef;
use std::time::{Duration, Instant};

/// Far more than a fetch takes that is given up.
const NOTE_WITHIN: Duration = Duration::from_secs(120);

async fn note_of(host: &Tiers, wanted: &LayerRef) -> String {
    let started = Instant::now();
    let note = trouble(host.ensure(wanted).await);
    assert!(started.elapsed() < NOTE_WITHIN, "{note} after {:?}", started.elapsed());
    assert!(!host.store().contains(wanted), "{note}");
    note
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_tier_that_fails_costs_time_and_a_note() {
    let setup = Setup::new();
    let host = setup.host("one");
    let wanted = layer("wanted");
    make_cold(&host, &wanted, 10 * MIB).await;
    let short = Duration::from_secs(1);
    let for_silence = setup.host_within("one", ColdBounds { answer_wait: 2 * short, ..bounds() });
    let for_pace = setup.host_within("one", ColdBounds { progress_every: short, ..bounds() });
    for (host, fault, expected) in [
        (&for_silence, Fault::Silent, "does not answer"),
        (&host, Fault::Reset, "it fails"),
        (&host, Fault::Status(500), "it fails"),
        (&host, Fault::Status(503), "it fails"),
        (&host, Fault::Status(403), "denies access"),
        // In the middle of the index, and of the layer: retried, then given up.
        (&host, Fault::Cut(600), "it fails"),
        (&host, Fault::Cut(70_000), "it fails"),
        (&host, Fault::Corrupt(2_000_000), "cannot be used: a part of it is damaged"),
        (&for_pace, Fault::Throttle(30_000), "too slow"),
    ] {
        setup.proxy.set(fault);
        let started = Instant::now();
        let note = note_of(host, &wanted).await;
        eprintln!("{fault:?}: {:.1?}", started.elapsed());
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
        let note = note_of(&host, &wanted).await;
        assert!(note.contains("cannot be used"), "{what}: {note}");
        assert!(!host.store().record(&wanted).cold, "{what}: the record does not lie");
        assert_clean(&setup.directory("one"));
    }
    // The layer is made again, of other bytes, and the copy with it: also for a host that never heard of it, and after a restart.
    setup.s3.write(&object, &good);
    for bytes in [2 * MIB, 3 * MIB] {
        let mut damaged = setup.s3.read(&object).unwrap();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        setup.s3.write(&object, &damaged);
        note_of(&host, &wanted).await;
        let host = setup.host("one");
        crate::setup::publish(host.store(), &wanted, bytes);
        let replaced = || host.store().record(&wanted).cold;
        archive_until(&host, "a new copy", replaced).await;
        host.store().remove(&wanted).unwrap();
        for host in [&host, &setup.host(&format!("other-{bytes}"))] {
            let ensured = host.ensure(&wanted).await;
            assert!(matches!(ensured, Ensured::Fetched { .. }), "{ensured:?}");
            host.store().remove(&wanted).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_on_the_way_is_asked_for_again_and_what_is_known_stays_known() {
    let setup = Setup::new();
    let host = setup.host("one");
    let wanted = layer("wanted");
    make_cold(&host, &wanted, 2 * MIB).await;
    let known = host.store().record(&wanted);
    setup.proxy.set(Fault::CorruptOnce(1_000_000));
    let ensured = host.ensure(&wanted).await;
    assert!(matches!(ensured, Ensured::Fetched { .. }), "{ensured:?}");
    assert_eq!(host.store().record(&wanted), known);
    host.store().remove(&wanted).unwrap();
    setup.proxy.set(Fault::Corrupt(1_000_000));
    note_of(&host, &wanted).await;
    assert_eq!(host.store().record(&wanted).digest, known.digest, "another one is still told from it");
    setup.proxy.set(Fault::None);
    assert!(matches!(host.ensure(&wanted).await, Ensured::Fetched { .. }), "and the copy was well all the time");
    assert_eq!(host.store().record(&wanted), known);
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
        let note = note_of(host, &wanted).await;
        assert!(note.contains(expected), "{note}");
        assert_eq!(note.contains("list the bucket"), expected == "denies access", "{note}");
    }

    // The object is gone: known as such from then on.
    setup.s3.remove(&setup.object(&wanted));
    let note = note_of(&host, &wanted).await;
    assert!(note.contains("its copy is gone"), "{note}");
    assert_eq!(host.ensure(&wanted).await, Ensured::Missing);

    // A build does not wait for what failed a moment ago.
    let answer_wait = Duration::from_secs(2);
    let patient = setup.host_within("patient", ColdBounds { trouble_kept: BOUND, answer_wait, ..bounds() });
    setup.proxy.set(Fault::Silent);
    let first = note_of(&patient, &wanted).await;
    setup.proxy.take_connections();
    for key in ["a", "b", "c"] {
        let expected = first.replace("dependencies-wanted", &format!("dependencies-{key}")) + " (as a moment ago)";
        assert_eq!(note_of(&patient, &layer(key)).await, expected);
    }
    assert_eq!(setup.proxy.take_connections(), 0, "nobody asked again");
}

/// The hot tier on a disk of its own that is too small, or fills up in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_note_and_leaves_nothing() {
    let setup = Setup::new();
    let (wanted, other) = (layer("wanted"), layer("other"));
    make_cold(&setup.host("one"), &wanted, 20 * MIB).await;
    make_cold(&setup.host("one"), &other, 20 * MIB).await;
    let disk = SmallDisk::mount(&setup.directory("small"), 100);
    let small = setup.host("small");
    let ballast = setup.directory("small").join("ballast");
    std::fs::write(&ballast, vec![1; 20 * MIB as usize]).unwrap();
    let note = note_of(&small, &wanted).await;
    assert!(note.contains("has no room for"), "{note}");
    std::fs::remove_file(&ballast).unwrap();

    // There is room at the start; then something else takes it.
    setup.proxy.set(Fault::Throttle(MIB / 2));
    setup.proxy.take_answered_bytes();
    let (asking, key) = (small.clone(), wanted.clone());
    let fetch = tokio::spawn(async move { asking.ensure(&key).await });
    let (started, mut seen) = (Instant::now(), 0);
    while seen < MIB {
        assert!(started.elapsed() < BOUND, "the fetch runs");
        seen += setup.proxy.take_answered_bytes();
        tokio::task::yield_now().await;
    }
    // There was room for one.
    let note = note_of(&small, &other).await;
    assert!(note.contains("has no room for"), "{note}");
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
