//! Cold copies are made once, in the background, whole or not at all.

use crate::setup::{BOUND, MIB, Setup, archive, archive_until, assert_clean, layer, publish};
use slipway_layers::{Ensured, LayerDigest};
use slipway_testing::{Fault, wait};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn two_archivers_on_one_directory_copy_each_layer_once() {
    let setup = Setup::new();
    let (one, two) = (setup.host("one"), setup.host("one"));
    let layers: Vec<_> = (0..6).map(|n| layer(&format!("layer-{n}"))).collect();
    // Some larger than a part, some smaller.
    let bytes = |n: usize| if n.is_multiple_of(2) { 9 * MIB } else { MIB };
    layers.iter().enumerate().for_each(|(n, layer)| publish(one.store(), layer, bytes(n)));
    let (shutdown, other) = (CancellationToken::new(), two.clone());
    let stop = shutdown.clone();
    let second = tokio::spawn(async move { other.run_archiver(stop).await });
    archive(&one, &layers.iter().collect::<Vec<_>>()).await;
    shutdown.cancel();
    second.await.unwrap();
    let sent = setup.proxy.take_asked_bytes();
    assert!((30 * MIB..33 * MIB).contains(&sent), "30 MiB of noise were sent once: {sent}");
    assert_eq!(setup.objects().len(), layers.len());
    assert_eq!(setup.uploads(), [] as [String; 0]);
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
    config.bytes_per_second = Some(10 * MIB);
    let host = setup.host_with("one", config);
    let (old, young) = (layer("z-old"), layer("a-young"));
    publish(host.store(), &young, MIB);
    publish(host.store(), &old, 24 * MIB);
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::open(host.store().path(&old)).unwrap().set_modified(long_ago).unwrap();
    archive_until(&host, "an upload to run", || !setup.uploads().is_empty()).await;
    assert_eq!(setup.uploads(), [] as [String; 0], "it was aborted");
    assert_eq!(setup.objects(), [] as [String; 0]);
    assert!(!host.store().record(&old).cold && !host.store().record(&young).cold);
    assert_clean(&setup.directory("one"));

    // A layer that is removed while it is sent is no error, and what the record says is true.
    let (shutdown, runs) = (CancellationToken::new(), host.clone());
    let stop = shutdown.clone();
    let archiver = tokio::spawn(async move { runs.run_archiver(stop).await });
    tokio::task::block_in_place(|| {
        wait::until("an upload to run", BOUND, || (!setup.uploads().is_empty()).then_some(()));
        host.store().remove(&old).unwrap();
        wait::until("the next one to be cold", BOUND, || host.store().record(&young).cold.then_some(()));
    });
    shutdown.cancel();
    archiver.await.unwrap();
    let fetched = host.ensure(&old).await;
    match host.store().record(&old).cold {
        true => assert!(matches!(fetched, Ensured::Fetched { .. }), "{fetched:?}"),
        false => assert_eq!(fetched, Ensured::Missing),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archiver_goes_on_when_the_store_is_back() {
    let setup = Setup::new();
    let host = setup.host("one");
    let made = layer("made");
    publish(host.store(), &made, 9 * MIB);
    setup.proxy.set(Fault::Status(500));
    let (shutdown, runs) = (CancellationToken::new(), host.clone());
    let stop = shutdown.clone();
    let archiver = tokio::spawn(async move { runs.run_archiver(stop).await });
    tokio::task::block_in_place(|| {
        let asked = || (setup.proxy.take_connections() > 0).then_some(());
        wait::until("the store to be asked", BOUND, asked);
        let started = Instant::now();
        // Not more than its first retries and one after the pause.
        let mut connections = 0;
        while started.elapsed() < Duration::from_millis(900) {
            connections += setup.proxy.take_connections();
            std::thread::yield_now();
        }
        assert!(connections < 12, "{connections} connections in less than a second");
        assert_eq!(setup.objects(), [] as [String; 0]);
        setup.proxy.set(Fault::None);
        wait::until("the copy", BOUND, || host.store().record(&made).cold.then_some(()));
    });
    shutdown.cancel();
    archiver.await.unwrap();
    assert_eq!(setup.objects(), [format!("{made}.layer")]);
}

/// An image whose bytes changed on the disk never takes the place of what was known.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_changed_on_the_disk_is_not_copied() {
    let setup = Setup::new();
    let host = setup.host("one");
    let made = layer("made");
    publish(host.store(), &made, 20 * MIB);
    let digest = LayerDigest::of_image(&host.store().path(&made)).unwrap();
    host.store().update_record(&made, |record| record.digest = Some(digest)).unwrap();
    let image = std::fs::File::options().write(true).open(host.store().path(&made)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&image, b"rot", 5 * MIB).unwrap();
    // Part of it is on its way before all of it is read.
    let sent = std::cell::Cell::new(0);
    let was_sent = || sent.replace(sent.get() + setup.proxy.take_asked_bytes()) > 2 * MIB;
    archive_until(&host, "a part to be sent", was_sent).await;
    assert_eq!((setup.objects(), setup.uploads()), (Vec::new(), Vec::new()));
    assert!(!host.store().record(&made).cold);
}
