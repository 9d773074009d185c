//! Images with real loop devices and mounts (run as root).
#![allow(clippy::unwrap_used)]

use slipway_layers::image::{self, ReadOnly, ReadWrite};
use slipway_layers::{LayerDigest, LayerError, LayerStore, Usage};
use slipway_types::{LayerKind, LayerRef, WrittenBy};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const MIB: u64 = 1024 * 1024;

/// The `/dev/loopN` that is mounted there.
fn device_of(at: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.split(' ').nth(1) == at.to_str()).expect("is mounted");
    line.split(' ').next().unwrap().to_owned()
}

#[test]
fn an_image_from_a_template_is_new_and_empty() {
    let dir = tempfile::tempdir().unwrap();
    let templates = dir.path().join("templates");
    std::fs::create_dir(&templates).unwrap();
    for name in ["a.img", "b.img"] {
        let (path, at) = (dir.path().join(name), dir.path().join("at"));
        image::create_from(&templates, &path, 16 * MIB).unwrap();
        assert!(templates.join(format!("{}.img", 16 * MIB)).exists());
        assert!(image::create_from(&templates, &path, 16 * MIB).is_err(), "never over another");
        let mounted = image::mount(&path, &at, ReadWrite).unwrap();
        assert_eq!(std::fs::read_dir(mounted.upper()).unwrap().count(), 0);
        std::fs::write(mounted.upper().join("x"), name).unwrap();
        mounted.unmount().unwrap();
    }
    // Without a place for templates it is made all the same.
    image::create_from(&dir.path().join("none"), &dir.path().join("c.img"), 16 * MIB).unwrap();
    assert!(image::is_clean(&dir.path().join("c.img")).unwrap());
}

/// Waits until the device is no longer this image's: it frees itself, a moment late when another looked at it.
fn wait_until_freed(device: &str, image: &Path) {
    let backing = Path::new("/sys/block").join(device.trim_start_matches("/dev/")).join("loop/backing_file");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::fs::read_to_string(&backing).is_ok_and(|path| path.trim() == image.to_str().unwrap()) {
        assert!(std::time::Instant::now() < deadline, "{device} is free again");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
fn a_mounted_image_is_sparse_writable_and_frees_its_device() {
    let dir = tempfile::tempdir().unwrap();
    let (path, at) = (dir.path().join("a.img"), dir.path().join("at"));
    image::create(&path, 4096 * MIB).unwrap();
    assert!(image::allocated_bytes(&path).unwrap() < 8 * MIB, "a new image is sparse");

    let mounted = image::mount(&path, &at, ReadWrite).unwrap();
    let Usage { total_bytes, free_bytes, total_inodes, .. } = image::usage(&mounted).unwrap();
    assert!(total_bytes > 3900 * MIB && free_bytes > 3900 * MIB);
    assert!(total_inodes > 500_000, "a dependency tree is many small files");
    std::fs::write(mounted.upper().join("hello"), "hello").unwrap();
    assert!(mounted.work().is_dir());
    let device = device_of(&at);
    mounted.unmount().unwrap();
    wait_until_freed(&device, &path);

    let mounted = image::mount(&path, &at, ReadOnly).unwrap();
    assert_eq!(std::fs::read_to_string(mounted.upper().join("hello")).unwrap(), "hello");
    let refused = std::fs::write(mounted.upper().join("more"), "").unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ReadOnlyFilesystem);
    drop(mounted);
    assert!(!at.join("upper").exists(), "dropping unmounts");
}

/// Of a mount that is still in use when it is dropped too: the next user of the device may be anybody.
#[test]
fn a_device_keeps_no_bound_of_ours() {
    let dir = tempfile::tempdir().unwrap();
    let (path, at) = (dir.path().join("a.img"), dir.path().join("at"));
    image::create(&path, 16 * MIB).unwrap();
    let mounted = image::mount(&path, &at, ReadWrite).unwrap();
    let bound = Path::new("/sys/block").join(device_of(&at).trim_start_matches("/dev/")).join("bdi/strict_limit");
    let Ok(set) = std::fs::read_to_string(&bound) else { return eprintln!("this kernel has no such bound") };
    assert_eq!(set.trim(), "1");
    let busy = std::fs::File::create(mounted.upper().join("busy")).unwrap();
    drop(mounted);
    assert_eq!(std::fs::read_to_string(&bound).unwrap().trim(), "0");
    drop(busy);
}

#[test]
fn the_size_of_an_image_is_a_hard_limit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("small.img");
    image::create(&path, 16 * MIB).unwrap();
    let mounted = image::mount(&path, &dir.path().join("at"), ReadWrite).unwrap();
    let mut file = std::fs::File::create(mounted.upper().join("big")).unwrap();
    let block = vec![7_u8; MIB as usize];
    let error = (0..32).find_map(|_| file.write_all(&block).err()).expect("the image is full");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    drop(file);
    assert!(image::usage(&mounted).unwrap().free_bytes < MIB);
    mounted.unmount().unwrap();
}

#[test]
fn read_only_mounts_share_one_device_and_writers_are_kept_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.img");
    image::create(&path, 16 * MIB).unwrap();
    let at = |name: &str| dir.path().join(name);

    let writer = image::mount(&path, &at("w"), ReadWrite).unwrap();
    assert!(matches!(image::mount(&path, &at("w2"), ReadWrite), Err(LayerError::ImageInUse { .. })));
    assert!(matches!(image::mount(&path, &at("r"), ReadOnly), Err(LayerError::ImageInUse { .. })));
    writer.unmount().unwrap();

    let readers: Vec<_> = (0..8).map(|n| image::mount(&path, &at(&format!("r{n}")), ReadOnly).unwrap()).collect();
    let device = device_of(&at("r0"));
    assert!(readers.iter().all(|reader| device_of(reader.path()) == device));
    assert!(matches!(image::mount(&path, &at("w"), ReadWrite), Err(LayerError::ImageInUse { .. })));
    drop(readers);
    wait_until_freed(&device, &path);
    image::mount(&path, &at("w"), ReadWrite).unwrap().unmount().unwrap();
}

#[test]
fn many_mounts_at_once_each_get_a_device() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for n in 0..12 {
            let (path, at) = (dir.path().join(format!("{n}.img")), dir.path().join(format!("at{n}")));
            scope.spawn(move || {
                image::create(&path, 8 * MIB).unwrap();
                for round in 0..4 {
                    let mounted = image::mount(&path, &at, ReadWrite).unwrap();
                    std::fs::write(mounted.upper().join(format!("{round}")), format!("{n}")).unwrap();
                    mounted.unmount().unwrap();
                }
                let mounted = image::mount(&path, &at, ReadOnly).unwrap();
                assert_eq!(std::fs::read_to_string(mounted.upper().join("3")).unwrap(), format!("{n}"));
                mounted.unmount().unwrap();
            });
        }
    });
}

#[test]
fn what_is_no_clean_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, at) = (dir.path().join("a.img"), dir.path().join("at"));
    assert!(matches!(image::mount(&path, &at, ReadOnly), Err(LayerError::Io { .. })));
    std::fs::write(&path, b"short").unwrap();
    assert!(matches!(image::mount(&path, &at, ReadOnly), Err(LayerError::NotAnImage { .. })));
    std::fs::write(&path, vec![0_u8; MIB as usize]).unwrap();
    assert!(matches!(image::mount(&path, &at, ReadOnly), Err(LayerError::NotAnImage { .. })));
    assert!(matches!(image::create(&path, 16 * MIB), Err(LayerError::Io { .. })), "never over an existing file");

    // A copy that is taken while the image is mounted is what a power cut leaves.
    let (live, torn) = (dir.path().join("live.img"), dir.path().join("torn.img"));
    image::create(&live, 16 * MIB).unwrap();
    let mounted = image::mount(&live, &at, ReadWrite).unwrap();
    rustix::fs::syncfs(std::fs::File::open(&at).unwrap()).unwrap();
    std::fs::copy(&live, &torn).unwrap();
    mounted.unmount().unwrap();
    let refused = image::mount(&torn, &at, ReadOnly).unwrap_err();
    assert!(matches!(refused, LayerError::NotClean { .. }), "{refused}");
    let store = LayerStore::open(dir.path().join("layers")).unwrap();
    let refused = store.publish(&torn, &LayerRef::new(LayerKind::Output, "torn")).unwrap_err();
    assert!(matches!(refused, LayerError::NotClean { .. }), "{refused}");
    assert_eq!(std::fs::metadata(&torn).unwrap().nlink(), 1, "left alone");
}

/// A container that starts while an image is mounted copies the mount into its own namespace.
#[test]
fn a_copy_of_the_mount_in_another_namespace_does_not_matter() {
    let dir = tempfile::tempdir().unwrap();
    let (path, at) = (dir.path().join("a.img"), dir.path().join("at"));
    image::create(&path, 16 * MIB).unwrap();
    let mounted = image::mount(&path, &at, ReadWrite).unwrap();
    std::fs::write(mounted.upper().join("file"), "text").unwrap();
    let mut holder = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", "echo; exec sleep 1000"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    io::Read::read_exact(&mut holder.stdout.take().unwrap(), &mut [0]).unwrap();
    mounted.unmount().unwrap();

    let store = LayerStore::open(dir.path().join("layers")).unwrap();
    let layer = LayerRef::new(LayerKind::Output, "held");
    assert!(store.publish(&path, &layer).unwrap());
    let mounted = image::mount(&store.path(&layer), &at, ReadOnly).unwrap();
    assert_eq!(std::fs::read_to_string(mounted.upper().join("file")).unwrap(), "text");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

/// An image whose superblock is in order and whose tables are not, as a hostile kernel writes it.
fn hostile(path: &Path) {
    use std::os::unix::fs::FileExt;
    image::create(path, 16 * MIB).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0xff; 64 * 1024], 4096).unwrap();
    image::mark_guest_written(path).unwrap();
}

#[test]
fn what_a_virtual_machine_wrote_is_never_mounted_and_stays_marked() {
    let dir = tempfile::tempdir().unwrap();
    let (path, copied, at) = (dir.path().join("a.img"), dir.path().join("b.img"), dir.path().join("at"));
    hostile(&path);
    slipway_layers::copy::copy(&path, &copied).unwrap();
    let is_attached = |image: &Path| {
        std::fs::read_dir("/sys/block").unwrap().flatten().any(|device| {
            let file = std::fs::read_to_string(device.path().join("loop/backing_file"));
            file.is_ok_and(|file| file.trim_end() == image.to_str().unwrap())
        })
    };
    for image in [&path, &copied] {
        assert_eq!(image::written_by(image).unwrap(), WrittenBy::Guest);
        for access in [ReadOnly, ReadWrite] {
            let error = image::mount(image, &at, access).unwrap_err();
            assert!(matches!(error, LayerError::GuestWritten { .. }), "{error}");
            assert!(!is_attached(image) && !at.exists(), "nothing was begun");
        }
    }

    // It becomes a layer only by a name that says so; there the mark is made if it is missing.
    let store = LayerStore::open(dir.path().join("layers")).unwrap();
    let host = LayerRef::new(LayerKind::Dependencies, "a");
    let guest = host.clone().written(WrittenBy::Guest);
    assert_eq!(guest.to_string(), "dependencies-a.vm");
    assert!(matches!(store.publish(&path, &host), Err(LayerError::GuestWritten { .. })));
    assert!(!store.contains(&host) && path.exists());
    let unmarked = dir.path().join("c.img");
    image::create(&unmarked, 16 * MIB).unwrap();
    let digest = LayerDigest::of_image(&unmarked).unwrap();
    assert!(store.publish(&unmarked, &guest).unwrap());
    assert_eq!(image::written_by(&store.path(&guest)).unwrap(), WrittenBy::Guest);
    assert!(matches!(image::mount(&store.path(&guest), &at, ReadOnly), Err(LayerError::GuestWritten { .. })));
    store.sync(&guest).unwrap();
    assert_eq!(LayerDigest::of_image(&store.path(&guest)).unwrap(), digest, "the mark is no part of the layer");
    assert_eq!(store.list().unwrap()[0].layer.written_by(), WrittenBy::Guest);
}
