//! Layers come back once, whole, and as they were.

use crate::setup::{
    Archiver, MIB, Setup, archive, archive_until, assert_clean, journal, layer, make_cold, publish, trouble, wait_for,
};
use slipway_layers::{Ensured, LayerDigest, LayerError, LayerRecord, image};
use slipway_testing::Fault;
use slipway_types::WrittenBy;
use std::cell::Cell;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_layer_comes_back_once_however_many_ask() {
    let setup = Setup::new();
    let one = setup.host("one");
    let wanted = layer("wanted");
    assert_eq!(one.ensure(&wanted).await, Ensured::Missing);
    publish(one.store(), &wanted, 20 * MIB);
    let path = one.store().path(&wanted);
    let (before, digest) = (std::fs::read(&path).unwrap(), LayerDigest::of_image(&path).unwrap());
    let allocated = std::fs::metadata(&path).unwrap().blocks();
    archive(&one, &[&wanted]).await;
    assert_eq!(one.ensure(&wanted).await, Ensured::Hot);
    assert_eq!(setup.objects(), [format!("{wanted}.layer")]);
    assert_eq!((setup.uploads(), journal(&setup.directory("one"))), (Vec::new(), Vec::new()));
    assert!(one.store().remove(&wanted).unwrap());

    // Two servers on one directory, ten builds in each.
    let two = setup.host("one");
    setup.proxy.take_answered_bytes();
    let asks = (0..20).map(|n| {
        let (tiers, wanted) = (if n % 2 == 0 { one.clone() } else { two.clone() }, wanted.clone());
        tokio::spawn(async move { tiers.ensure(&wanted).await })
    });
    for ask in asks.collect::<Vec<_>>() {
        let ensured = ask.await.unwrap();
        assert!(matches!(ensured, Ensured::Fetched { .. } | Ensured::Hot), "{ensured:?}");
    }
    let transferred = setup.proxy.take_answered_bytes();
    assert!((20 * MIB..25 * MIB).contains(&transferred), "{transferred} bytes were transferred: once");

    let after = std::fs::read(&path).unwrap();
    assert!(before == after, "byte for byte");
    assert!(std::fs::metadata(&path).unwrap().blocks() <= allocated, "holes stayed holes");
    let record = one.store().record(&wanted);
    let expected =
        LayerRecord { digest: Some(digest), image_bytes: after.len() as u64, cold: true, ..LayerRecord::default() };
    assert_eq!(record, expected);
    assert_clean(&setup.directory("one"));

    // A host that never heard of it.
    let other = setup.host("other");
    assert!(matches!(other.ensure(&wanted).await, Ensured::Fetched { .. }));
    assert_eq!(other.store().record(&wanted), expected);
    assert_eq!(LayerDigest::of_image(&other.store().path(&wanted)).unwrap(), digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_stay_below_the_configured_rate() {
    let setup = Setup::new();
    let wanted = layer("wanted");
    make_cold(&setup.host("one"), &wanted, 3 * MIB).await;
    let mut config = setup.config();
    config.bytes_per_second = Some(2 * MIB);
    let slow = setup.host_with("slow", config);
    let Ensured::Fetched { bytes, took } = slow.ensure(&wanted).await else { panic!("it comes") };
    let least = Duration::from_secs_f64(bytes as f64 / (2 * MIB) as f64) - Duration::from_millis(300);
    assert!(took > least, "{bytes} bytes in {took:?}");
}

/// What is sent in the background takes turns with what a build waits for.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_comes_beside_an_archive_that_takes_all_of_the_rate() {
    let setup = Setup::new();
    let wanted = layer("wanted");
    make_cold(&setup.host("one"), &wanted, MIB).await;
    let mut config = setup.config();
    config.bytes_per_second = Some(2 * MIB);
    let host = setup.host_with("slow", config);
    // Parts enough for half a minute, and more of them waiting than the fetch has requests.
    publish(host.store(), &layer("large"), 64 * MIB);
    let archiver = Archiver::start(&host);
    wait_for("parts to be sent", || !setup.uploads().is_empty() && setup.proxy.take_asked_bytes() > MIB / 2);
    let ensured = host.ensure(&wanted).await;
    let Ensured::Fetched { took, .. } = ensured else { panic!("{ensured:?}") };
    assert!(!host.store().record(&layer("large")).cold, "it waited for all of the archive: {took:?}");
    archiver.stop().await;
}

/// A build that makes the layer while it is fetched wins, and nothing of the copy is written down for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_made_while_it_is_fetched_is_not_taken_for_the_copy() {
    let setup = Setup::new();
    let host = setup.host("one");
    let wanted = layer("wanted");
    make_cold(&host, &wanted, 3 * MIB).await;
    let copied = host.store().record(&wanted).digest;
    setup.proxy.set(Fault::Throttle(128 * 1024));
    setup.proxy.take_answered_bytes();
    let (asking, key) = (host.clone(), wanted.clone());
    let fetch = tokio::spawn(async move { asking.ensure(&key).await });
    let seen = Cell::new(0);
    wait_for("the fetch to run", || seen.replace(seen.get() + setup.proxy.take_answered_bytes()) > 128 * 1024);
    publish(host.store(), &wanted, MIB);
    setup.proxy.set(Fault::None);
    fetch.await.unwrap();
    let made = LayerDigest::of_image(&host.store().path(&wanted)).unwrap();
    assert_ne!(Some(made), copied);
    let record = host.store().record(&wanted);
    assert!(!record.cold && record.digest.is_none(), "{record:?}");
    archive(&host, &[&wanted]).await;
    assert_eq!(host.store().record(&wanted).digest, Some(made));
    assert_clean(&setup.directory("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_with_another_digest_is_refused_and_each_host_gets_its_own() {
    let setup = Setup::new();
    let (one, two) = (setup.host("one"), setup.host("two"));
    let wanted = layer("wanted");
    // Two hosts make a layer of one key, and not byte for byte.
    publish(one.store(), &wanted, 2 * MIB);
    publish(two.store(), &wanted, 3 * MIB);
    archive(&one, &[&wanted]).await;
    archive(&two, &[&wanted]).await;
    let digests = [&one, &two].map(|host| host.store().record(&wanted).digest.unwrap());
    assert_ne!(digests[0], digests[1]);
    let mut objects = setup.objects();
    objects.sort();
    assert_eq!(objects, [format!("{wanted}.layer"), format!("{wanted}_{}.layer", digests[1])]);
    for (host, digest) in [&one, &two].into_iter().zip(digests) {
        host.store().remove(&wanted).unwrap();
        assert!(matches!(host.ensure(&wanted).await, Ensured::Fetched { .. }));
        assert_eq!(LayerDigest::of_image(&host.store().path(&wanted)).unwrap(), digest);
    }

    two.store().remove(&wanted).unwrap();
    setup.s3.remove(&format!("{}/{}", crate::setup::PREFIX, objects[1]));
    let note = trouble(two.ensure(&wanted).await);
    assert!(note.contains("another one than the layer that is known here"), "{note}");
    assert!(!two.store().contains(&wanted));
    assert_clean(&setup.directory("two"));
}

/// A build that is canceled while it fetches leaves nothing, and the next one gets the layer.
#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_given_up_leaves_nothing() {
    let setup = Setup::new();
    let host = setup.host("one");
    let wanted = layer("wanted");
    make_cold(&host, &wanted, 6 * MIB).await;
    setup.proxy.set(Fault::Throttle(128 * 1024));
    setup.proxy.take_answered_bytes();
    let ask = || {
        let (asking, key) = (host.clone(), wanted.clone());
        tokio::spawn(async move { asking.ensure(&key).await })
    };
    let first = ask();
    let seen = Cell::new(0);
    wait_for("the fetch to run", || seen.replace(seen.get() + setup.proxy.take_answered_bytes()) > MIB / 2);
    // By then there is no doubt which of them fetches.
    let mut second = ask();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    setup.proxy.set(Fault::None);
    // The one that waited takes over.
    let outcome = (&mut second).await.unwrap();
    assert!(matches!(outcome, Ensured::Fetched { .. }), "{outcome:?}");
    assert!(host.store().contains(&wanted));
    // What the first had begun is removed in the background.
    let names = || std::fs::read_dir(setup.directory("one")).unwrap().map(|entry| entry.unwrap().file_name());
    wait_for("its work to be removed", || !names().any(|name| name.to_string_lossy().starts_with(".new-")));
    assert_clean(&setup.directory("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cold_tier_layers_get_digests_and_nothing_else_happens() {
    let dir = tempfile::tempdir().unwrap();
    let store = slipway_layers::LayerStore::open(dir.path()).unwrap();
    let tiers = slipway_layers::Tiers::with_bounds(store, None, crate::setup::bounds()).unwrap();
    let made = layer("made");
    publish(tiers.store(), &made, MIB);
    let digest = LayerDigest::of_image(&tiers.store().path(&made)).unwrap();
    archive_until(&tiers, "a digest", || tiers.store().record(&made).digest == Some(digest)).await;
    assert!(!tiers.store().record(&made).cold);
    assert_eq!(tiers.ensure(&made).await, Ensured::Hot);
    assert_eq!(tiers.ensure(&layer("other")).await, Ensured::Missing);
    assert_eq!(tiers.ensure(&layer("../other")).await, Ensured::Missing);
    assert_clean(dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_virtual_machine_wrote_comes_back_marked() {
    let setup = Setup::new();
    let wanted = layer("wanted").written(WrittenBy::Guest);
    make_cold(&setup.host("one"), &wanted, MIB).await;
    assert_eq!(setup.objects(), [format!("{wanted}.layer")]);
    // A host that never heard of it, and has nothing but the name.
    let other = setup.host("other");
    assert!(matches!(other.ensure(&wanted).await, Ensured::Fetched { .. }));
    let path = other.store().path(&wanted);
    assert_eq!(image::written_by(&path).unwrap(), WrittenBy::Guest);
    let mounted = image::mount(&path, &setup.directory("at"), image::ReadOnly);
    assert!(matches!(mounted, Err(LayerError::GuestWritten { .. })));
}
