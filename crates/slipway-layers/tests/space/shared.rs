//! One directory for several hosts: none takes the work of another for what a crash left.

use crate::bench::{Bench, layer, wait_until};
use slipway_layers::LayerStore;
use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::{Duration, SystemTime};

const MACHINE_AT: u64 = 16;
const BOOT_AT: u64 = 48;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// As if an image had been published by another machine, or in another boot, and were not synced yet.
fn unsync(bench: &Bench, key: &str, changed: &[u64]) {
    let path = bench.store.path(&layer(key));
    let file = File::options().write(true).open(&path).unwrap();
    for at in changed {
        file.write_all_at(&[0x5a; 32], *at).unwrap();
    }
    file.set_permissions(Permissions::from_mode(0o600)).unwrap();
}

fn is_synced(bench: &Bench, key: &str) -> bool {
    bench.store.list().unwrap().iter().any(|entry| entry.layer == layer(key) && entry.synced)
}

#[test]
fn what_may_be_torn_is_removed_and_what_another_host_answers_for_is_not() {
    let bench = Bench::new();
    let both: &[u64] = &[MACHINE_AT, BOOT_AT];
    let unsynced = [
        ("this-boot", &[][..]),
        ("another-boot", &[BOOT_AT]),
        ("another-machine", both),
        ("another-container", &[MACHINE_AT]),
        ("no-mark", &[0]),
        ("abandoned", both),
        ("abandoned-and-pinned", both),
    ];
    unsynced.iter().for_each(|(key, _)| bench.publish(&layer(key)));
    bench.publish(&layer("synced"));
    bench.settle();
    for (key, changed) in unsynced {
        unsync(&bench, key, changed);
        if key.starts_with("abandoned") {
            bench.set_used(&layer(key), DAY + DAY);
        }
    }
    bench.store.pin("server", &BTreeSet::from([layer("abandoned-and-pinned"), layer("another-boot")])).unwrap();

    let _store = LayerStore::open(bench.store_dir()).unwrap();
    let left: BTreeSet<_> = bench.store.list().unwrap().into_iter().map(|entry| entry.layer.key).collect();
    let expected =
        ["abandoned-and-pinned", "another-container", "another-machine", "synced", "this-boot"].map(str::to_owned);
    assert_eq!(left, BTreeSet::from(expected));
    wait_until("those of this boot are synced", || {
        is_synced(&bench, "this-boot") && is_synced(&bench, "another-container")
    });
    assert!(!is_synced(&bench, "another-machine"), "only its own machine can tell");
    assert_eq!(bench.read(&layer("this-boot")), "this-boot", "the mark is no part of the tree");
}

#[test]
fn a_work_area_of_another_host_is_left_alone_for_a_day() {
    let bench = Bench::new();
    let area = bench.path(".new-0badcafe-7-1-0");
    std::fs::create_dir(&area).unwrap();
    std::fs::write(area.join("image"), "being written").unwrap();
    LayerStore::open(bench.store_dir()).unwrap();
    assert!(area.join("image").exists());
    File::open(&area).unwrap().set_modified(SystemTime::now() - DAY - DAY).unwrap();
    LayerStore::open(bench.store_dir()).unwrap();
    assert_eq!(bench.leftovers(), [] as [String; 0]);
}
