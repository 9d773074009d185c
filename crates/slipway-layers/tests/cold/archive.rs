//! Cold copies are made once, in the background, whole or not at all.

use crate::setup::{
    Archiver, BOUND, MIB, Setup, archive, archive_until, assert_clean, bounds, journal, layer, publish, wait_for,
};
use slipway_layers::{ColdBounds, Ensured, LayerDigest};
use slipway_testing::Fault;
use slipway_types::{LayerKind, LayerRef};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn two_archivers_on_one_directory_copy_each_layer_once() {
    let setup = Setup::new();
    let (one, two) = (setup.host("one"), setup.host("one"));
    let layers: Vec<_> = (0..6).map(|n| layer(&format!("layer-{n}"))).collect();
    // Some larger than a part, some smaller.
    let bytes = |n: usize| if n.is_multiple_of(2) { 9 * MIB } else { MIB };
    layers.iter().enumerate().for_each(|(n, layer)| publish(one.store(), layer, bytes(n)));
    let second = Archiver::start(&two);
    archive(&one, &layers.iter().collect::<Vec<_>>()).await;
    second.stop().await;
    let sent = setup.proxy.take_asked_bytes();
    assert!((30 * MIB..33 * MIB).contains(&sent), "30 MiB of noise were sent once: {sent}");
    assert_eq!(setup.objects().len(), layers.len());
    assert_eq!((setup.uploads(), journal(&setup.directory("one"))), (Vec::new(), Vec::new()));
    for layer in &layers {
        let digest = LayerDigest::of_image(&one.store().path(layer)).unwrap();
        assert_eq!(one.store().record(layer).digest, Some(digest));
    }
    assert_clean(&setup.directory("one"));

    // Another host with the same layer has nothing to send.
    let third = setup.host("third");
    assert!(matches!(third.ensure(&layers[0]).await, Ensured::Fetched { .. }));
    third.store().sync(&layers[0]).unwrap();
    third.store().update_record(&layers[0], |record| record.cold = false).unwrap();
    setup.proxy.take_asked_bytes();
    archive(&third, &[&layers[0]]).await;
    let sent = setup.proxy.take_asked_bytes();
    assert!(sent < 64 * 1024, "{sent} bytes were sent to find that it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_layer_is_first_and_a_shutdown_leaves_no_upload() {
    let setup = Setup::new();
    let mut config = setup.config();
    // Slow enough to be seen at it.
    config.bytes_per_second = Some(2 * MIB);
    let host = setup.host_with("one", config);
    let (old, young) = (layer("z-old"), layer("a-young"));
    publish(host.store(), &young, MIB);
    publish(host.store(), &old, 24 * MIB);
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::open(host.store().path(&old)).unwrap().set_modified(long_ago).unwrap();
    archive_until(&host, "an upload to run", || !setup.uploads().is_empty()).await;
    assert_eq!(setup.objects(), [] as [String; 0]);
    assert!(!host.store().record(&old).cold && !host.store().record(&young).cold);
    assert_clean(&setup.directory("one"));
    // What may still come of it is known, and ended later.
    let known = journal(&setup.directory("one")).join(" ");
    let left = setup.uploads();
    assert!(!known.is_empty() && left.iter().all(|id| known.contains(id)), "{left:?} of {known}");

    // A layer that is removed while it is sent is no error, and what the record says is true.
    let archiver = Archiver::start(&host);
    wait_for("an upload to run", || setup.uploads().iter().any(|id| !left.contains(id)));
    host.store().remove(&old).unwrap();
    wait_for("the next one to be cold", || host.store().record(&young).cold);
    wait_for("all uploads to be ended", || journal(&setup.directory("one")).is_empty());
    assert_eq!(setup.uploads(), [] as [String; 0]);
    archiver.stop().await;
    let fetched = host.ensure(&old).await;
    match host.store().record(&old).cold {
        true => assert!(matches!(fetched, Ensured::Fetched { .. }), "{fetched:?}"),
        false => assert_eq!(fetched, Ensured::Missing),
    }
}

/// A server that stops when the store knows the upload already and its answer is still on its way; and a part that arrives after
/// the upload was aborted.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_given_up_is_ended_whenever_that_is() {
    let setup = Setup::new();
    let host = setup.host("one");
    let (made, directory) = (layer("made"), setup.directory("one"));
    publish(host.store(), &made, 9 * MIB);
    // An answer takes some 200 ms.
    setup.proxy.set(Fault::Throttle(2000));
    let first = RefCell::new(Vec::new());
    let seen = || {
        first.replace(setup.uploads());
        !first.borrow().is_empty()
    };
    archive_until(&host, "the store to know the upload", seen).await;
    let (first, known) = (first.take(), journal(&directory).join(" "));
    assert!(first.iter().all(|id| known.contains(id)), "{first:?} of {known:?}");
    assert_eq!(setup.uploads(), [] as [String; 0], "aborted for the first time");
    let late = format!(".uploads/{}/0002_late.part", first[0]);
    setup.s3.write(&late, b"a part");
    assert_eq!(setup.uploads(), first);
    setup.proxy.set(Fault::None);
    archive_until(&host, "all uploads to be ended", || journal(&directory).is_empty()).await;
    assert_eq!((setup.uploads(), setup.s3.read(&late)), (Vec::new(), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archiver_goes_on_when_the_store_is_back() {
    let setup = Setup::new();
    let host = setup.host("one");
    let made = layer("made");
    publish(host.store(), &made, 9 * MIB);
    // The client tries no such request again by itself: each connection is one attempt.
    setup.proxy.set(Fault::Status(403));
    let (started, failed) = (Instant::now(), Cell::new(0));
    let archiver = Archiver::start(&host);
    wait_for("some failures", || failed.replace(failed.get() + setup.proxy.take_connections()) >= 4);
    // After the first three it waited 0.2, 0.4 and 0.8 s.
    assert!(started.elapsed() > Duration::from_millis(1350), "{} attempts in {:?}", failed.get(), started.elapsed());
    assert_eq!(setup.objects(), [] as [String; 0]);
    setup.proxy.set(Fault::None);
    wait_for("the copy", || host.store().record(&made).cold);
    archiver.stop().await;
    assert_eq!(setup.objects(), [format!("{made}.layer")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_says_nothing_keeps_no_server_from_stopping() {
    let setup = Setup::new();
    let host = setup.host_within("one", ColdBounds { answer_wait: BOUND, part_wait: BOUND, ..bounds() });
    publish(host.store(), &layer("made"), MIB);
    setup.proxy.set(Fault::Silent);
    archive_until(&host, "the store to be asked", || setup.proxy.take_connections() > 0).await;
}

/// The store refuses one layer, and to end one upload, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_does_not_stand_before_the_rest() {
    let setup = Setup::new();
    let host = setup.host("one");
    let layers = ["refused", "young", "younger"].map(layer);
    let uploads = setup.directory("one").join("uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    let entry = r#"{"path":"a/prefix/dependencies-refused.layer","id":"refused","not_before":null,"aborted":false}"#;
    std::fs::write(uploads.join("dependencies-refused_0.json"), entry).unwrap();
    for (n, layer) in layers.iter().enumerate() {
        publish(host.store(), layer, MIB);
        let at = std::time::SystemTime::now() - Duration::from_secs(3600 - n as u64);
        std::fs::File::open(host.store().path(layer)).unwrap().set_modified(at).unwrap();
    }
    setup.proxy.set(Fault::Refuse { asked: "dependencies-refused.layer", status: 400 });
    let archiver = Archiver::start(&host);
    wait_for("the others to be cold", || layers[1..].iter().all(|layer| host.store().record(layer).cold));
    let again = layer("youngest");
    publish(host.store(), &again, MIB);
    wait_for("one more to be cold", || host.store().record(&again).cold);
    assert!(setup.proxy.take_refused() >= 2, "the layer and the upload");
    assert!(!host.store().record(&layers[0]).cold && uploads.join("dependencies-refused_0.json").exists());
    archiver.stop().await;
}

/// Keys of sources, outputs and sites are deployments: a phase that runs again puts other bytes under the same name.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_takes_another_ones_place_is_copied_in_its_place() {
    let setup = Setup::new();
    let mut config = setup.config();
    // The third is on its way for some seconds.
    config.bytes_per_second = Some(2 * MIB);
    let host = setup.host_with("one", config);
    let source = LayerRef::new(LayerKind::Source, "deployment");
    let replace = |bytes: u64| {
        host.store().remove(&source).unwrap();
        publish(host.store(), &source, bytes);
        LayerDigest::of_image(&host.store().path(&source)).unwrap()
    };
    let archiver = Archiver::start(&host);
    let copied = |digest| {
        let record = host.store().record(&source);
        record.cold && record.digest == Some(digest)
    };
    let first = replace(MIB);
    wait_for("the first to be cold", || copied(first));
    let second = replace(2 * MIB);
    assert!(!copied(first), "nothing is known of the new one");
    wait_for("the second to be cold", || copied(second));
    // While it is read.
    let third = replace(20 * MIB);
    wait_for("an upload to run", || !setup.uploads().is_empty());
    let fourth = replace(3 * MIB);
    wait_for("the fourth to be cold", || {
        assert!(!copied(third), "the record of one says what another was");
        copied(fourth)
    });
    archiver.stop().await;
    host.store().remove(&source).unwrap();
    for host in [&host, &setup.host("never-heard-of-it")] {
        assert!(matches!(host.ensure(&source).await, Ensured::Fetched { .. }));
        assert_eq!(LayerDigest::of_image(&host.store().path(&source)).unwrap(), fourth);
    }
}

/// An image whose bytes changed on the disk never takes the place of what was known.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_changed_on_the_disk_is_not_copied() {
    let setup = Setup::new();
    let host = setup.host_within("one", ColdBounds { late_part: Duration::from_secs(10), ..bounds() });
    let made = layer("made");
    publish(host.store(), &made, 20 * MIB);
    let digest = LayerDigest::of_image(&host.store().path(&made)).unwrap();
    host.store().update_record(&made, |record| record.digest = Some(digest)).unwrap();
    let image = std::fs::File::options().write(true).open(host.store().path(&made)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&image, b"rot", 5 * MIB).unwrap();
    // Each upload has an entry of its own, for longer than between two looks.
    let uploads = RefCell::new(BTreeSet::new());
    let look = || {
        let entries = std::fs::read_dir(setup.directory("one").join("uploads")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        uploads.borrow_mut().extend(names.filter(|name| name.starts_with(&made.to_string())));
        uploads.borrow().len()
    };
    let archiver = Archiver::start(&host);
    wait_for("the upload to be ended", || look() > 0 && setup.uploads().is_empty());
    // It would be the same again: others are copied, it is not sent a second time.
    for key in ["one", "two", "three", "four"] {
        publish(host.store(), &layer(key), 1000);
        wait_for("another one to be cold", || look() > 0 && host.store().record(&layer(key)).cold);
    }
    wait_for("the upload to be forgotten", || look() > 0 && journal(&setup.directory("one")).is_empty());
    assert_eq!(look(), 1, "{uploads:?}");
    archiver.stop().await;
    assert_eq!(setup.uploads(), [] as [String; 0]);
    assert!(!host.store().record(&made).cold && !setup.objects().contains(&format!("{made}.layer")));
}
