//! The store: publishing, races, crashes, locks, with real mounts (run as root).
#![allow(clippy::unwrap_used)]

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev};
use slipway_layers::image::{self, ReadOnly, ReadWrite};
use slipway_layers::{LayerError, LayerStore};
use slipway_types::{LayerKind, LayerRef};
use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;
/// Where an image names the boot in which it was published.
const BOOT_AT: u64 = 48;
const WAIT_MAX: Duration = Duration::from_secs(120);

fn layer(key: &str) -> LayerRef {
    LayerRef::new(LayerKind::Dependencies, key)
}

fn write(store: &LayerStore, layer: &LayerRef, content: &str) -> bool {
    let fill =
        |root: &Path| std::fs::write(root.join("content"), content).map_err(|e| LayerError::io("write", root, e));
    store.write_layer(layer, 16 * MIB, fill).unwrap()
}

fn read(store: &LayerStore, layer: &LayerRef, at: &Path) -> String {
    let mounted = image::mount(&store.path(layer), at, ReadOnly).unwrap();
    std::fs::read_to_string(mounted.upper().join("content")).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_published_tree_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path().join("layers")).unwrap();
    let image = dir.path().join("scratch.img");
    image::create(&image, 32 * MIB).unwrap();
    let mounted = image::mount(&image, &dir.path().join("at"), ReadWrite).unwrap();
    let root = mounted.upper();
    std::fs::create_dir(root.join("dir")).unwrap();
    std::fs::write(root.join("dir/file"), "text").unwrap();
    std::fs::set_permissions(root.join("dir/file"), Permissions::from_mode(0o751)).unwrap();
    chown(root.join("dir/file"), Some(10001), Some(10002)).unwrap();
    std::fs::hard_link(root.join("dir/file"), root.join("link")).unwrap();
    symlink("../dangling", root.join("dir/symlink")).unwrap();
    rustix::fs::setxattr(root.join("dir"), "trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
    rustix::fs::setxattr(root.join("link"), "user.note", b"n", XattrFlags::empty()).unwrap();
    rustix::fs::mknodat(CWD, root.join("gone"), FileType::CharacterDevice, Mode::empty(), makedev(0, 0)).unwrap();
    mounted.unmount().unwrap();

    let layer = layer("abc");
    assert!(!store.contains(&layer));
    assert!(store.publish(&image, &layer).unwrap());
    assert!(store.contains(&layer) && !image.exists());

    let mounted = image::mount(&store.path(&layer), &dir.path().join("at"), ReadOnly).unwrap();
    let root = mounted.upper();
    let file = std::fs::metadata(root.join("dir/file")).unwrap();
    assert_eq!((file.mode() & 0o7777, file.uid(), file.gid(), file.nlink()), (0o751, 10001, 10002, 2));
    assert_eq!(file.ino(), std::fs::metadata(root.join("link")).unwrap().ino());
    assert_eq!(std::fs::read_to_string(root.join("link")).unwrap(), "text");
    assert_eq!(std::fs::read_link(root.join("dir/symlink")).unwrap(), Path::new("../dangling"));
    let mut value = [0_u8; 8];
    let length = rustix::fs::getxattr(root.join("dir"), "trusted.overlay.opaque", &mut value).unwrap();
    assert_eq!(&value[..length], b"y");
    let length = rustix::fs::getxattr(root.join("link"), "user.note", &mut value).unwrap();
    assert_eq!(&value[..length], b"n");
    let whiteout = std::fs::symlink_metadata(root.join("gone")).unwrap();
    assert!(whiteout.file_type().is_char_device() && whiteout.rdev() == 0);
}

#[test]
fn the_first_publisher_wins_and_nothing_is_left_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path().join("layers")).unwrap();
    let layer = layer("abc");
    let images: Vec<_> = (0..6).map(|n| dir.path().join(format!("{n}.img"))).collect();
    for (n, path) in images.iter().enumerate() {
        image::create(path, 16 * MIB).unwrap();
        let mounted = image::mount(path, &dir.path().join("at"), ReadWrite).unwrap();
        std::fs::write(mounted.upper().join("content"), n.to_string()).unwrap();
        mounted.unmount().unwrap();
    }
    let published: Vec<bool> = std::thread::scope(|scope| {
        let threads: Vec<_> = images.iter().map(|path| scope.spawn(|| store.publish(path, &layer).unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(published.iter().filter(|published| **published).count(), 1, "{published:?}");
    let winner = published.iter().position(|published| *published).unwrap();
    assert_eq!(read(&store, &layer, &dir.path().join("at")), winner.to_string());
    assert!(images.iter().all(|image| !image.exists()));
    assert!(!write(&store, &layer, "late"), "and it is never replaced");
}

#[test]
fn a_mounted_image_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path().join("layers")).unwrap();
    let image = dir.path().join("scratch.img");
    image::create(&image, 16 * MIB).unwrap();
    let mounted = image::mount(&image, &dir.path().join("at"), ReadWrite).unwrap();
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| store.publish(&image, &layer("late")));
        assert!(!store.contains(&layer("late")));
        mounted.unmount().unwrap();
        assert!(publisher.join().unwrap().unwrap(), "waits for the last mount to go");
    });
}

#[test]
fn list_sizes_and_remove() {
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path()).unwrap();
    let (one, two) = (layer("1"), LayerRef::new(LayerKind::Base, "debian-12"));
    assert!(write(&store, &one, "one") && write(&store, &two, "two"));
    std::fs::write(dir.path().join("notes.txt"), "not a layer").unwrap();
    let entries = store.list().unwrap();
    assert_eq!(entries.iter().map(|entry| &entry.layer).collect::<Vec<_>>(), [&two, &one]);
    assert!(entries.iter().all(|entry| (1..8 * MIB).contains(&entry.allocated_bytes)));
    assert_eq!(image::allocated_bytes(&store.path(&one)).unwrap(), entries[1].allocated_bytes);

    let at = dir.path().join("at");
    let mounted = image::mount(&store.path(&one), &at, ReadOnly).unwrap();
    assert!(store.remove(&one).unwrap());
    assert!(!store.remove(&one).unwrap() && !store.contains(&one));
    assert_eq!(std::fs::read_to_string(mounted.upper().join("content")).unwrap(), "one", "users keep it");
    drop(mounted);
    assert!(matches!(store.sync(&one), Err(LayerError::NoSuchLayer { .. })));
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn a_key_never_leaves_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path().join("layers")).unwrap();
    let image = dir.path().join("scratch.img");
    image::create(&image, 16 * MIB).unwrap();
    std::fs::write(dir.path().join("victim.img"), "").unwrap();
    for key in ["/../../victim", "../victim", "a/b", ""] {
        let layer = layer(key);
        assert_eq!(store.path(&layer).parent().unwrap(), dir.path().join("layers"));
        assert!(!store.contains(&layer));
        for refused in [
            store.publish(&image, &layer).map(drop),
            store.remove(&layer).map(drop),
            store.lock(&layer).map(drop),
            store.write_layer(&layer, MIB, |_| Ok::<(), LayerError>(())).map(drop),
        ] {
            assert!(matches!(refused, Err(LayerError::InvalidKey { .. })), "{key}");
        }
    }
    assert!(image.exists() && dir.path().join("victim.img").exists());
}

#[test]
fn a_failed_fill_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path()).unwrap();
    let before = names(dir.path());
    let full = store
        .write_layer(&layer("full"), 16 * MIB, |root| {
            let file = root.join("big");
            std::fs::write(&file, vec![1_u8; 64 * MIB as usize]).map_err(|e| LayerError::io("write", &file, e))
        })
        .unwrap_err();
    assert!(matches!(full, LayerError::DiskFull { .. }), "{full}");
    assert_eq!(names(dir.path()), before);
}

/// The part of the crash test that is killed: runs only when its parent asks.
#[test]
fn crash_child() {
    let Some(dir) = std::env::var_os("LAYERS_CRASH_DIR") else { return };
    let store = LayerStore::open(&dir).unwrap();
    let _ = store.write_layer(&layer("never"), 16 * MIB, |root| {
        std::fs::write(root.join("half"), "half").unwrap();
        let _lock = store.lock(&layer("held")).unwrap();
        std::fs::write(Path::new(&dir).join("started"), "").unwrap();
        loop {
            std::thread::park();
        }
        #[allow(unreachable_code)]
        Ok::<(), LayerError>(())
    });
}

#[test]
fn what_a_killed_process_left_is_removed_and_what_a_live_one_holds_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["crash_child", "--exact", "--nocapture"])
        .env("LAYERS_CRASH_DIR", dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + WAIT_MAX;
    while !dir.path().join("started").exists() {
        assert!(Instant::now() < deadline, "the child works");
        std::thread::sleep(Duration::from_millis(5));
    }
    let areas = || names(dir.path()).into_iter().filter(|name| name.starts_with(".new-")).count();
    let store = LayerStore::open(dir.path()).unwrap();
    assert_eq!(areas(), 2, "the child's area and its lock stay while it lives");
    assert!(store.lock_within(&layer("held"), Duration::ZERO).unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();

    let store = LayerStore::open(dir.path()).unwrap();
    assert_eq!(areas(), 0);
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(dir.path().to_str().unwrap()), "its mount is gone too");
    assert!(store.lock_within(&layer("held"), Duration::ZERO).unwrap().is_some(), "so is its lock");
    assert!(write(&store, &layer("never"), "now"));
}

#[test]
fn after_a_reboot_only_synced_layers_are_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path()).unwrap();
    let (synced, unsynced) = (layer("synced"), layer("unsynced"));
    assert!(write(&store, &synced, "1") && write(&store, &unsynced, "2"));
    store.sync(&synced).unwrap();
    store.sync(&unsynced).unwrap();
    assert!(store.list().unwrap().iter().all(|entry| entry.synced));
    drop(store);
    // As if the machine had gone down before the sync of this one.
    std::fs::set_permissions(dir.path().join("dependencies-unsynced.img"), Permissions::from_mode(0o600)).unwrap();

    let store = LayerStore::open(dir.path()).unwrap();
    assert!(store.contains(&unsynced), "same boot: only the sync is made up for");
    let deadline = Instant::now() + WAIT_MAX;
    while !store.list().unwrap().iter().all(|entry| entry.synced) {
        assert!(Instant::now() < deadline, "synced in the background");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(store);

    std::fs::set_permissions(dir.path().join("dependencies-unsynced.img"), Permissions::from_mode(0o600)).unwrap();
    let file = File::options().write(true).open(dir.path().join("dependencies-unsynced.img")).unwrap();
    file.write_all_at(b"another boot", BOOT_AT).unwrap();
    let store = LayerStore::open(dir.path()).unwrap();
    assert!(store.contains(&synced) && !store.contains(&unsynced));
}

#[test]
fn a_lock_has_one_holder_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = LayerStore::open(dir.path()).unwrap();
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                // Each thread its own store, as each process would have.
                let store = LayerStore::open(dir.path()).unwrap();
                for _ in 0..5 {
                    let _lock = store.lock(&layer("one")).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "alone");
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            });
        }
    });
    let _one = store.lock(&layer("one")).unwrap();
    assert!(store.lock_within(&layer("one"), Duration::from_millis(50)).unwrap().is_none());
    assert!(store.lock_within(&layer("two"), Duration::ZERO).unwrap().is_some(), "another key is free");
    drop(_one);
    assert_eq!(names(&dir.path().join("locks")), [] as [String; 0]);
}
