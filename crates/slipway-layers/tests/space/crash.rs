//! `kill -9` at every step of what changes a store: then each layer is whole or absent, nothing is left over, what is pinned is there,
//! and a second try succeeds.

use crate::bench::{Bench, MIB, layer, leftovers, make_image};
use crate::steps::{self, Step};
use slipway_layers::image::{self, ReadOnly};
use slipway_layers::{LayerError, LayerStore, Quota, SweepMode};
use slipway_types::LayerRef;
use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

const STEP: &str = "LAYERS_STEP";
const DIR: &str = "LAYERS_STEP_DIR";
const SCRATCH: &str = "LAYERS_STEP_SCRATCH";

/// The part that is killed: runs only when its parent asks.
#[test]
fn step_child() {
    let Some(name) = std::env::var_os(STEP) else { return };
    let [dir, scratch] = [DIR, SCRATCH].map(|name| std::path::PathBuf::from(std::env::var_os(name).unwrap()));
    let operation = OPERATIONS.iter().find(|operation| name == operation.0).unwrap().1;
    operation(&dir, &scratch).unwrap();
}

type Operation = fn(&Path, &Path) -> Result<(), LayerError>;
const OPERATIONS: [(&str, Operation); 5] =
    [("publish", publish), ("write", write), ("evict", evict), ("hold", hold), ("open", open)];

fn publish(dir: &Path, scratch: &Path) -> Result<(), LayerError> {
    let store = LayerStore::open(dir)?;
    steps::marked(|| store.publish(scratch, &layer("new")).map(drop))
}

fn write(dir: &Path, _: &Path) -> Result<(), LayerError> {
    let store = LayerStore::open(dir)?;
    let fill = |root: &Path| std::fs::write(root.join("content"), "new").map_err(|e| LayerError::io("write", root, e));
    steps::marked(|| store.write_layer(&layer("new"), 8 * MIB, fill).map(drop))
}

fn evict(dir: &Path, _: &Path) -> Result<(), LayerError> {
    let store = LayerStore::open(dir)?;
    let quota = Quota { hot_bytes: Some(0), ..Quota::default() };
    let later = SystemTime::now() + Duration::from_secs(5);
    steps::marked(|| store.sweep(&quota, later, SweepMode::Apply).map(drop))
}

fn hold(dir: &Path, _: &Path) -> Result<(), LayerError> {
    let store = LayerStore::open(dir)?;
    steps::marked(|| {
        let _lease = store.lease(&[layer("free")])?;
        store.touch(&layer("free"));
        store.pin("server", &BTreeSet::from(["pinned", "free"].map(layer)))?;
        store.update_record(&layer("pinned"), |record| record.image_bytes = 2)
    })
}

fn open(dir: &Path, _: &Path) -> Result<(), LayerError> {
    steps::marked(|| LayerStore::open(dir).map(drop))
}

/// Kills the operation at each of its steps, each time in a fresh copy of the prepared directory, and then checks.
fn at_every_step(name: &str, prepared: &Bench, scratch: Option<&Path>, check: impl Fn(&LayerStore, &Path)) {
    let dir = prepared.dir.path();
    let run = |n: usize| {
        let (copy, image) = (dir.join(format!("{n}/layers")), scratch.map(|path| path.with_extension(n.to_string())));
        std::fs::create_dir(dir.join(n.to_string())).unwrap();
        steps::copy_dir(&prepared.store_dir(), &copy);
        if let (Some(from), Some(to)) = (scratch, &image) {
            steps::copy_dir(from, to);
        }
        (copy, image.unwrap_or_else(|| dir.join("none")))
    };
    let child = |copy: &Path, image: &Path, command: &mut Command| {
        command.env(STEP, name).env(DIR, copy).env(SCRATCH, image);
    };
    let (copy, image) = run(0);
    let all: Vec<Step> = steps::record(&|command| child(&copy, &image, command));
    let mut killed = 0;
    for (n, step) in all.iter().enumerate() {
        let (copy, image) = run(n + 1);
        killed += usize::from(steps::kill_at(step, &|command| child(&copy, &image, command)));
        let context = || format!("killed at {step:?}; {}", steps::tree(&copy));
        let store = LayerStore::open(&copy).unwrap_or_else(|error| panic!("{error:?}: {}", context()));
        assert_eq!(leftovers(&copy), [] as [String; 0], "{}", context());
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&store, &image)));
        assert!(checked.is_ok(), "{}", context());
        assert_eq!(leftovers(&copy), [] as [String; 0], "{}", context());
        drop(store);
        std::fs::remove_dir_all(dir.join((n + 1).to_string())).unwrap();
    }
    // A step may be another one in another run (a wait for a device), but not many.
    assert!(killed * 10 >= all.len() * 9, "{killed} of {} steps were reached: {all:#?}", all.len());
}

fn read(store: &LayerStore, layer: &LayerRef) -> String {
    let at = tempfile::tempdir().unwrap();
    let mounted = image::mount(&store.path(layer), at.path(), ReadOnly).unwrap();
    std::fs::read_to_string(mounted.upper().join("content")).unwrap()
}

fn check_published(store: &LayerStore, image: &Path) {
    let new = layer("new");
    assert!(store.contains(&new) || image.exists(), "it is in one place at least");
    if !store.contains(&new) {
        assert!(store.publish(image, &new).unwrap());
    }
    assert_eq!(read(store, &new), "new");
    let _ = std::fs::remove_file(image);
}

#[test]
fn publish_is_whole_or_absent() {
    let bench = Bench::new();
    let scratch = bench.dir.path().join("scratch.img");
    make_image(&scratch, "new", &bench.dir.path().join("at"));
    at_every_step("publish", &bench, Some(&scratch), check_published);
}

#[test]
fn publish_from_another_disk_is_whole_or_absent() {
    let bench = Bench::new();
    let disk = bench.dir.path().join("disk.img");
    image::create(&disk, 256 * MIB).unwrap();
    let mounted = image::mount(&disk, &bench.dir.path().join("disk"), image::ReadWrite).unwrap();
    let scratch = mounted.upper().join("scratch.img");
    make_image(&scratch, "new", &bench.dir.path().join("at"));
    at_every_step("publish", &bench, Some(&scratch), check_published);
}

#[test]
fn a_layer_being_written_is_whole_or_absent() {
    at_every_step("write", &Bench::new(), None, |store, _| {
        let new = layer("new");
        if store.contains(&new) {
            assert_eq!(read(store, &new), "new");
        }
        write(store.path(&new).parent().unwrap(), Path::new("")).unwrap();
        assert_eq!(read(store, &new), "new");
    });
}

/// One layer that is pinned, one with a cold copy, one without, and a cache.
fn prepare_layers() -> Bench {
    let bench = Bench::new();
    for key in ["pinned", "cold", "free"] {
        bench.publish_synced(&layer(key));
        bench.set_used(&layer(key), Duration::from_secs(3600));
    }
    bench.store.update_record(&layer("cold"), |record| record.cold = true).unwrap();
    bench.store.update_record(&layer("pinned"), |record| record.image_bytes = 1).unwrap();
    bench.store.pin("server", &BTreeSet::from([layer("pinned")])).unwrap();
    std::fs::create_dir_all(bench.path("caches/web")).unwrap();
    std::fs::write(bench.path("caches/web/main.img"), vec![1; 8192]).unwrap();
    bench
}

#[test]
fn eviction_takes_whole_layers_and_never_a_pinned_one() {
    at_every_step("evict", &prepare_layers(), None, |store, _| {
        for key in ["cold", "free"].iter().filter(|key| store.contains(&layer(key))) {
            assert_eq!(read(store, &layer(key)), *key);
        }
        let dir = store.path(&layer("pinned")).parent().unwrap().to_path_buf();
        evict(&dir, Path::new("")).unwrap();
        let left: Vec<_> = store.list().unwrap().into_iter().map(|entry| entry.layer.key).collect();
        assert_eq!(left, ["pinned"]);
        assert_eq!(read(store, &layer("pinned")), "pinned");
        assert!(store.record(&layer("cold")).cold, "the way to the cold copy is kept");
        assert!(!dir.join("caches/web/main.img").exists());
    });
}

#[test]
fn pins_leases_and_records_are_the_old_or_the_new_ones() {
    at_every_step("hold", &prepare_layers(), None, |store, _| {
        assert!([1, 2].contains(&store.record(&layer("pinned")).image_bytes));
        let stored = store.inventory().unwrap();
        let pinned: Vec<bool> = stored.iter().map(|one| one.pinned).collect();
        // Dependency layers by key: cold, free, pinned; then the cache.
        assert!([[false, false, true, false], [false, true, true, false]].contains(&pinned[..].try_into().unwrap()));
        assert!(stored.iter().all(|one| !one.leased), "a lease ends with its process");
        hold(store.path(&layer("pinned")).parent().unwrap(), Path::new("")).unwrap();
        assert_eq!(store.record(&layer("pinned")).image_bytes, 2);
    });
}

#[test]
fn a_store_that_was_killed_while_it_cleaned_up_is_cleaned_up_by_the_next() {
    let bench = prepare_layers();
    let dead = LayerStore::open(bench.store_dir()).unwrap();
    let lease = dead.lease(&[layer("free")]).unwrap();
    let name = bench.leftovers().into_iter().find(|name| name.ends_with(".lease")).unwrap();
    std::fs::copy(bench.path("leases").join(&name), bench.path("copy")).unwrap();
    drop(lease);
    std::fs::rename(bench.path("copy"), bench.path("leases").join(&name)).unwrap();
    let area = bench.path(".new-").with_file_name(format!(".new-{name}"));
    std::fs::create_dir_all(area.join("mount")).unwrap();
    make_image(&area.join("image"), "half", &area.join("mount"));
    for file in ["locks/dependencies-free", "records/.tmp-1", "pins/.tmp-2"] {
        std::fs::write(bench.path(file), "").unwrap();
    }
    File::create(area.with_extension("lock")).unwrap();
    // As if the machine had gone down before its sync: the mark is missing.
    bench.publish(&layer("torn"));
    bench.settle();
    let torn = bench.store.path(&layer("torn"));
    std::os::unix::fs::FileExt::write_all_at(&File::options().write(true).open(&torn).unwrap(), &[0; 16], 0).unwrap();
    std::fs::set_permissions(&torn, Permissions::from_mode(0o600)).unwrap();
    at_every_step("open", &bench, None, |store, _| {
        let left: Vec<_> = store.list().unwrap().into_iter().map(|entry| entry.layer.key).collect();
        assert_eq!(left, ["cold", "free", "pinned"]);
    });
}
