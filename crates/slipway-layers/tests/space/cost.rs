//! What publishing and mounting a large dependency layer costs. Not run by default: it promises a time and writes 400 MB.

use crate::bench::{Bench, MIB, layer};
use slipway_layers::image::{self, ReadOnly, ReadWrite};
use std::path::Path;
use std::time::{Duration, Instant};

const FILES: u64 = 40_000;
const FILE_BYTES: u64 = 400 * MIB / FILES;
const PUBLISH_MAX: Duration = Duration::from_secs(1);
const MOUNT_MAX: Duration = Duration::from_millis(50);

/// Like a `node_modules`: directories of 100 files.
fn fill(root: &Path) {
    for n in 0..FILES {
        let directory = root.join(format!("node_modules/package-{}", n / 100));
        if n % 100 == 0 {
            std::fs::create_dir_all(&directory).unwrap();
        }
        let mut content = vec![0_u8; FILE_BYTES as usize];
        content.chunks_exact_mut(8).enumerate().for_each(|(word, bytes)| {
            bytes.copy_from_slice(&(n << 32 | word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        });
        std::fs::write(directory.join(format!("file-{n}.js")), content).unwrap();
    }
}

#[test]
#[ignore = "writes 400 MB and measures"]
#[allow(clippy::print_stderr)]
fn publishing_400_mb_in_40000_files_takes_less_than_a_second() {
    let bench = Bench::new();
    let (scratch, at) = (bench.dir.path().join("scratch.img"), bench.dir.path().join("at"));
    image::create(&scratch, 4096 * MIB).unwrap();
    let mounted = image::mount(&scratch, &at, ReadWrite).unwrap().write_back_early();
    let started = Instant::now();
    fill(&mounted.upper());
    let filled = started.elapsed();
    // As a build does it: the sandbox ends, the host tidies, then the layer is published and mounted.
    let started = Instant::now();
    mounted.unmount().unwrap();
    let unmounted = started.elapsed();
    let mounted = image::mount(&scratch, &at, ReadWrite).unwrap();
    let again = started.elapsed();
    std::fs::remove_dir_all(mounted.upper().join("node_modules/package-1")).unwrap();
    mounted.unmount().unwrap();
    assert!(bench.store.publish(&scratch, &layer("large")).unwrap());
    let published = started.elapsed();
    let started = Instant::now();
    let mounted = image::mount(&bench.store.path(&layer("large")), &at, ReadOnly).unwrap();
    let mount = started.elapsed();
    drop(mounted);
    eprintln!(
        "fill {filled:?}; unmounted {unmounted:?}, mounted to tidy {again:?}, published {published:?}; mount {mount:?}; {} MB",
        bench.store.allocated_bytes(&layer("large")).unwrap() / MIB
    );
    assert!(published < PUBLISH_MAX, "{published:?}");
    assert!(mount < MOUNT_MAX, "{mount:?}");
}
