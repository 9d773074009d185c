//! What is kept, for how long, and what goes.

use crate::bench::{Bench, MIB, layer, names, wait_until};
use rustix::fs::{FileType, Mode};
use rustix::time::ClockId;
use slipway_layers::image;
use slipway_layers::{EvictionReason, LayerError, LayerRecord, LayerStore, Quota, Stored, StoredId, SweepMode};
use slipway_types::{LayerKind, LayerRef, ServiceId};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, SystemTime};

fn everything() -> Quota {
    Quota { hot_bytes: Some(0), ..Quota::default() }
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(5)
}

fn find(store: &LayerStore, layer: &LayerRef) -> Option<Stored> {
    store.inventory().unwrap().into_iter().find(|stored| stored.id == StoredId::Layer(layer.clone()))
}

#[test]
fn a_record_keeps_what_it_was_told_and_not_the_time_of_telling() {
    let bench = Bench::new();
    let (store, one) = (&bench.store, layer("one"));
    bench.publish(&one);
    assert_eq!(store.record(&one), LayerRecord::default());
    let web = ServiceId::parse("web").unwrap();
    let published_at = store.list().unwrap()[0].published_at;
    store
        .update_record(&one, |record| {
            record.made_for = Some(web.clone());
            record.image_bytes = 7;
        })
        .unwrap();
    store.update_record(&one, |record| record.image_bytes += 1).unwrap();
    let expected = LayerRecord { made_for: Some(web.clone()), image_bytes: 8, ..LayerRecord::default() };
    assert_eq!(store.record(&one), expected);
    let stored = find(store, &one).unwrap();
    assert_eq!((stored.used_at, stored.service), (published_at, Some(web)));

    let path = bench.path("records/dependencies-one.json");
    for broken in [&b"{\"cold\": tr"[..], b"", b"[]", &vec![b' '; 20_000]] {
        std::fs::write(&path, broken).unwrap();
        assert_eq!(store.record(&one), LayerRecord::default());
        assert_eq!(find(store, &one).unwrap().service, None);
    }
    store.update_record(&one, |record| record.cold = true).unwrap();
    assert!(store.record(&one).cold, "a broken one is replaced");
}

#[test]
fn records_of_one_layer_are_changed_one_after_the_other() {
    let bench = Bench::new();
    let one = layer("one");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10 {
                    // Opening sweeps what crashes left, beside what the others are just writing.
                    let store = LayerStore::open(bench.store_dir()).unwrap();
                    store.update_record(&one, |record| record.image_bytes += 1).unwrap();
                }
            });
        }
    });
    assert_eq!(bench.store.record(&one).image_bytes, 40);
}

#[test]
fn a_use_is_noted_once_a_minute() {
    let bench = Bench::new();
    let (store, one) = (&bench.store, layer("one"));
    store.touch(&one);
    assert!(!bench.path("records/dependencies-one.json").exists(), "nothing is noted of a layer that is not there");
    bench.publish(&one);
    bench.set_used(&one, Duration::from_secs(3600));
    let before = SystemTime::now() - Duration::from_secs(2);
    store.touch(&one);
    assert!(find(store, &one).unwrap().used_at >= before);
    bench.set_used(&one, Duration::from_secs(30));
    let noted = find(store, &one).unwrap().used_at;
    store.touch(&one);
    assert_eq!(find(store, &one).unwrap().used_at, noted);
    store.update_record(&one, |record| record.image_bytes = 1).unwrap();
    assert_eq!(find(store, &one).unwrap().used_at, noted, "a change of the record is no use");
}

#[test]
fn the_oldest_layers_go_and_with_them_their_records() {
    let bench = Bench::new();
    let layers: Vec<LayerRef> = ["a", "b", "c", "d"].map(layer).into();
    for (n, layer) in layers.iter().enumerate() {
        bench.publish_synced(layer);
        bench.set_used(layer, Duration::from_secs(3600 * (10 - n as u64)));
    }
    bench.store.update_record(&layers[1], |record| record.cold = true).unwrap();
    bench.store.pin("server-1", &BTreeSet::from([layers[0].clone()])).unwrap();
    let bytes: u64 = bench.store.list().unwrap().iter().map(|entry| entry.allocated_bytes).sum();
    let quota = Quota { hot_bytes: Some(bytes / 2), ..Quota::default() };

    let planned = bench.store.sweep(&quota, later(), SweepMode::DryRun).unwrap();
    assert_eq!(bench.store.list().unwrap().len(), 4, "a dry run removes nothing");
    let done = bench.store.sweep(&quota, later(), SweepMode::Apply).unwrap();
    assert_eq!(planned, done);
    let evicted: Vec<_> = done.evicted.iter().map(|eviction| (eviction.id.clone(), eviction.reason)).collect();
    let expected = [&layers[1], &layers[2]].map(|layer| (StoredId::Layer(layer.clone()), EvictionReason::HotQuota));
    assert_eq!(evicted, expected);
    let left = |n: usize| bench.store.contains(&layers[n]);
    assert_eq!([left(0), left(1), left(2), left(3)], [true, false, false, true]);
    let cold = find(&bench.store, &layers[1]).unwrap();
    assert_eq!((cold.hot_bytes, cold.cold), (0, true), "what has a cold copy is still known");
    assert!(!bench.path("records/dependencies-c.json").exists());
    assert_eq!(bench.leftovers(), [] as [String; 0]);
}

#[test]
fn what_is_used_since_the_question_stays() {
    let bench = Bench::new();
    let one = layer("one");
    let asked_at = SystemTime::now() - Duration::from_secs(5);
    bench.publish_synced(&one);
    let report = bench.store.sweep(&everything(), asked_at, SweepMode::Apply).unwrap();
    assert!(report.evicted.is_empty() && report.short_bytes > 0);
    assert!(bench.store.contains(&one));
}

#[test]
fn pins_of_all_servers_count_and_an_unreadable_set_keeps_everything() {
    let bench = Bench::new();
    let layers: Vec<LayerRef> = ["a", "b", "c"].map(layer).into();
    layers.iter().for_each(|layer| bench.publish_synced(layer));
    let set = |n: usize| BTreeSet::from([layers[n].clone()]);
    bench.store.pin("one", &set(0)).unwrap();
    bench.store.pin("two", &set(1)).unwrap();
    bench.store.pin("two", &set(2)).unwrap();
    let pinned: Vec<bool> = layers.iter().map(|layer| find(&bench.store, layer).unwrap().pinned).collect();
    assert_eq!(pinned, [true, false, true], "the set of a holder replaces its former one");

    for broken in [&b""[..], b"[\"dependencies-", b"[\"unknown-kind\"]", b"{}"] {
        std::fs::write(bench.path("pins/two.json"), broken).unwrap();
        let report = bench.store.sweep(&everything(), later(), SweepMode::Apply).unwrap();
        assert!(report.evicted.is_empty(), "{report:?}");
        assert!(bench.store.clear(None, SystemTime::now(), SweepMode::Apply).unwrap().evicted.is_empty());
    }
    bench.store.pin("two", &BTreeSet::new()).unwrap();
    assert_eq!(bench.store.sweep(&everything(), later(), SweepMode::Apply).unwrap().evicted.len(), 2);
    assert!(bench.store.contains(&layers[0]));
    for refused in ["", "../x", "A", "a/b"] {
        assert!(matches!(bench.store.pin(refused, &set(0)), Err(LayerError::InvalidHolder { .. })), "{refused}");
    }
}

#[test]
fn a_server_that_writes_no_pins_any_more_is_named() {
    let bench = Bench::new();
    let week = Duration::from_secs(7 * 24 * 3600);
    for holder in ["here", "gone"] {
        bench.store.pin(holder, &BTreeSet::from([layer("a")])).unwrap();
    }
    let gone = bench.path("pins/gone.json");
    assert!(bench.store.pins_untouched_since(SystemTime::now() - week).is_empty());
    std::fs::File::open(&gone).unwrap().set_modified(SystemTime::now() - week - Duration::from_secs(60)).unwrap();
    assert_eq!(bench.store.pins_untouched_since(SystemTime::now() - week), [gone]);
    // The same set, said again, is a sign of life.
    bench.store.pin("gone", &BTreeSet::from([layer("a")])).unwrap();
    assert!(bench.store.pins_untouched_since(SystemTime::now() - week).is_empty());
}

#[test]
fn a_lease_lasts_until_it_is_dropped() {
    let bench = Bench::new();
    let one = layer("one");
    bench.publish_synced(&one);
    let lease = bench.store.lease(&[one.clone(), layer("to-be-made")]).unwrap();
    assert!(find(&bench.store, &one).unwrap().leased);
    let other = LayerStore::open(bench.store_dir()).unwrap();
    assert!(other.sweep(&everything(), later(), SweepMode::Apply).unwrap().evicted.is_empty());
    drop(lease);
    assert_eq!(names(&bench.path("leases")), [".gate"]);
    assert_eq!(other.sweep(&everything(), later(), SweepMode::Apply).unwrap().evicted.len(), 1);
    assert!(!bench.store.contains(&one));
}

/// A server's pins that are a pipe: the sweep reads on when its decision is to be made, and by then there are other pins.
#[test]
fn a_pin_that_comes_after_the_decision_still_counts() {
    let bench = Bench::new();
    let one = layer("one");
    bench.publish_synced(&one);
    let path = bench.path("pins/server.json");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut pipe = File::options().write(true).open(&path).unwrap();
            bench.store.pin("server", &BTreeSet::from([one.clone()])).unwrap();
            pipe.write_all(b"[]").unwrap();
        });
        bench.store.sweep(&everything(), later(), SweepMode::Apply).unwrap()
    });
    assert!(report.evicted.is_empty() && report.short_bytes > 0, "{report:?}");
    assert!(bench.store.contains(&one));
}

/// The copy of a layer turns out to be gone when the decision to evict it has been made: the pipe again, read for the decision,
/// then for the deed.
#[test]
fn a_layer_whose_copy_is_gone_since_the_decision_stays() {
    let bench = Bench::new();
    let one = layer("one");
    bench.publish_synced(&one);
    bench.store.update_record(&one, |record| record.cold = true).unwrap();
    let path = bench.path("pins/server.json");
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let nothing = bench.dir.path().join("nothing");
    std::fs::write(&nothing, "[]").unwrap();
    let quota = Quota { requires_cold: true, ..everything() };
    let report = std::thread::scope(|scope| {
        scope.spawn(|| {
            let answer = |before: &dyn Fn()| {
                let mut pipe = File::options().write(true).open(&path).unwrap();
                before();
                pipe.write_all(b"[]").unwrap();
            };
            answer(&|| {});
            // The first reader may still have it open: the second one opens it once it has taken the gate.
            wait_until("the deed", || {
                let gate = File::open(bench.path("leases/.gate")).unwrap();
                rustix::fs::flock(&gate, rustix::fs::FlockOperation::NonBlockingLockShared).is_err()
            });
            answer(&|| {
                bench.store.update_record(&one, |record| record.cold = false).unwrap();
                std::fs::rename(&nothing, &path).unwrap();
            });
        });
        bench.store.sweep(&quota, later(), SweepMode::Apply).unwrap()
    });
    assert!(report.evicted.is_empty() && report.short_bytes > 0, "{report:?}");
    assert!(bench.store.contains(&one));
}

#[test]
fn a_layer_that_cannot_be_evicted_does_not_keep_the_others() {
    let bench = Bench::new();
    for key in ["a", "b"] {
        bench.publish_synced(&layer(key));
        bench.set_used(&layer(key), Duration::from_secs(3600));
    }
    // Its record cannot be removed.
    let record = bench.path("records/dependencies-a.json");
    std::fs::remove_file(&record).unwrap();
    std::fs::create_dir_all(record.join("in-the-way")).unwrap();
    let report = bench.store.sweep(&everything(), later(), SweepMode::Apply).unwrap();
    assert_eq!(report.evicted.len(), 1);
    assert!(bench.store.contains(&layer("a")) && !bench.store.contains(&layer("b")));
    assert!(bench.store.sweep(&everything(), later(), SweepMode::Apply).is_err(), "nothing went");
}

#[test]
fn what_only_the_cold_tier_has_is_forgotten_after_three_months() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let bench = Bench::new();
    for (key, days) in [("young", 89), ("old", 91), ("hot", 91)] {
        bench.publish_synced(&layer(key));
        bench.store.update_record(&layer(key), |record| record.cold = true).unwrap();
        bench.set_used(&layer(key), DAY * days);
        assert!(key == "hot" || bench.store.remove(&layer(key)).unwrap());
    }
    bench.store.sweep(&Quota::default(), later(), SweepMode::Apply).unwrap();
    let cold = ["young", "old", "hot"].map(|key| bench.store.record(&layer(key)).cold);
    assert_eq!(cold, [true, false, true]);
}

#[test]
fn a_layer_that_somebody_works_on_is_not_evicted() {
    let bench = Bench::new();
    let one = layer("one");
    bench.publish_synced(&one);
    let lock = bench.store.lock(&one).unwrap();
    let report = bench.store.sweep(&everything(), later(), SweepMode::Apply).unwrap();
    assert!(report.evicted.is_empty() && report.short_bytes > 0);
    drop(lock);
    assert_eq!(bench.store.sweep(&everything(), later(), SweepMode::Apply).unwrap().evicted.len(), 1);
}

#[test]
fn clear_takes_all_of_a_service_that_no_release_needs_and_its_caches() {
    let bench = Bench::new();
    let [web, api] = ["web", "api"].map(|id| ServiceId::parse(id).unwrap());
    for (key, service) in [("1", Some(&web)), ("2", Some(&web)), ("3", Some(&api)), ("4", None)] {
        bench.publish_synced(&layer(key));
        bench.store.update_record(&layer(key), |record| record.made_for = service.cloned()).unwrap();
    }
    for service in [&web, &api] {
        let directory = bench.path("caches").join(service.as_str());
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("main.img"), vec![1; 8192]).unwrap();
        std::fs::write(directory.join("notes"), "no cache").unwrap();
    }
    bench.store.pin("server", &BTreeSet::from([layer("2")])).unwrap();
    let cache = StoredId::Cache { service: web.clone(), branch: "main".to_owned() };
    let expected = BTreeSet::from([StoredId::Layer(layer("1")), cache]);
    for mode in [SweepMode::DryRun, SweepMode::Apply] {
        let report = bench.store.clear(Some(&web), SystemTime::now(), mode).unwrap();
        assert_eq!(report.evicted.iter().map(|eviction| eviction.id.clone()).collect::<BTreeSet<_>>(), expected);
    }
    assert!(!bench.path("caches/web/main.img").exists() && bench.path("caches/api/main.img").exists());
    let left: Vec<_> = bench.store.list().unwrap().into_iter().map(|entry| entry.layer).collect();
    assert_eq!(left, ["2", "3", "4"].map(layer));
    assert_eq!(bench.store.clear(None, SystemTime::now(), SweepMode::Apply).unwrap().evicted.len(), 3);
}

/// A listing is made for each sweep, and for each `slipway cache ls`. Its cost is that of its layers, one by one: how long each
/// takes is the machine's matter.
#[test]
fn an_inventory_of_2000_layers_takes_no_time() {
    let took_of = |count: usize| {
        let bench = Bench::new();
        for n in 0..count {
            let layer = LayerRef::new(LayerKind::ALL[n % 6], format!("{n:032x}"));
            std::fs::write(bench.store.path(&layer), vec![1; 4096]).unwrap();
            let record = format!("{{\"digest\":\"{n:064x}\",\"made_for\":\"web\",\"image_bytes\":4096,\"cold\":true}}");
            std::fs::write(bench.path(&format!("records/{layer}.json")), record).unwrap();
        }
        let pinned = bench.store.list().unwrap().into_iter().map(|entry| entry.layer).take(count / 2).collect();
        bench.store.pin("server", &pinned).unwrap();
        let look = |_| {
            // The processor's time: other tests run beside this one.
            let spent = || Duration::try_from(rustix::time::clock_gettime(ClockId::ThreadCPUTime)).unwrap();
            let before = spent();
            let stored = bench.store.inventory().unwrap();
            let took = spent() - before;
            let pinned = stored.iter().filter(|one| one.pinned && one.cold).count();
            assert_eq!((stored.len(), pinned), (count, count / 2));
            took
        };
        (0..5).map(look).min().unwrap()
    };
    let (few, many) = (took_of(200), took_of(2000));
    assert!(many < few * 20, "{few:?} for 200 of them, {many:?} for 2000");
}

/// Two file systems: the store on one, the work of builds on the other.
#[test]
fn a_layer_made_on_another_disk_is_copied_with_its_holes() {
    let bench = Bench::new();
    let disk = bench.dir.path().join("disk.img");
    image::create(&disk, 256 * MIB).unwrap();
    let other = image::mount(&disk, &bench.dir.path().join("disk"), image::ReadWrite).unwrap();
    let scratch = other.upper().join("scratch.img");
    image::create(&scratch, 4096 * MIB).unwrap();
    let mounted = image::mount(&scratch, &bench.dir.path().join("at"), image::ReadWrite).unwrap();
    std::fs::write(mounted.upper().join("content"), "from afar").unwrap();
    std::fs::write(mounted.upper().join("big"), vec![7; 3 * MIB as usize]).unwrap();
    mounted.unmount().unwrap();

    let one = layer("one");
    assert!(bench.store.publish(&scratch, &one).unwrap());
    assert!(!scratch.exists());
    assert!(image::allocated_bytes(&bench.store.path(&one)).unwrap() < 12 * MIB, "holes stay holes");
    assert_eq!(bench.read(&one), "from afar");
    image::create(&scratch, 16 * MIB).unwrap();
    assert!(!bench.store.publish(&scratch, &one).unwrap(), "the first publisher wins");
    assert!(!scratch.exists());
    assert_eq!(bench.leftovers(), [] as [String; 0]);
    wait_until("the copy is synced", || find(&bench.store, &one).unwrap().synced);
}
