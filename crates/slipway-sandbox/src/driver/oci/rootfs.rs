//! The sandbox's file system: images mounted in the shim's mount namespace, and the overlay over them.
//!
//! What stands in an image was written by guests: a path in it is never followed out of it.

use crate::driver::DriverError;
use crate::home::{BootSpec, Home};
use crate::spec::WritableSpec;
use crate::{APP_GID, APP_UID};
use slipway_layers::{Access, LayerError, Mounted, image};
use slipway_tree::root::{cache_name, layer_name, make_dirs_inside, mount_overlay};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The container's own copies of the mounts go an instant after its last process.
const RELEASE_TIME_MAX: Duration = Duration::from_secs(5);
const RELEASE_PAUSE: Duration = Duration::from_millis(2);
/// Nothing fits any more in less, whatever the size of the image.
const FREE_BYTES_MIN: u64 = 4 << 20;
/// Or in less than one part in this many.
const FREE_PARTS: u64 = 100;

#[derive(Debug)]
pub(super) struct Rootfs {
    /// Where the overlay is mounted.
    pub(super) merged: PathBuf,
    /// Shown as `/tmp`.
    pub(super) temporary: PathBuf,
    /// Directory of the cache image, directory in the sandbox.
    pub(super) caches: Vec<(PathBuf, String)>,
    layers: Vec<Mounted>,
    writable: Mounted,
    cache: Option<Mounted>,
}

impl Rootfs {
    pub(super) fn mount(home: &Home, boot: &BootSpec) -> Result<Self, DriverError> {
        let dir = home.mounts_dir();
        let spec = &boot.spec;
        // A mount waits for the disk and for the kernel's grace periods, not for the processor: all at once.
        let (layers, writable, cache) = std::thread::scope(|scope| {
            let layers: Vec<_> = (spec.layers.iter().enumerate())
                .map(|(index, path)| {
                    let at = dir.join(layer_name(index));
                    scope.spawn(move || image::mount(path, &at, Access::ReadOnly))
                })
                .collect();
            let writable = scope.spawn(|| {
                let image = &spec.writable.image;
                if !image.exists() {
                    boot.create_writable()?;
                }
                image::mount(image, &dir.join("writable"), Access::ReadWrite)
            });
            let cache = spec.cache.as_ref();
            let cache = cache.map(|cache| scope.spawn(|| ensure_cache(&cache.image, cache.bytes, &dir.join("cache"))));
            let layers: Result<Vec<_>, _> = layers.into_iter().map(joined).collect();
            (layers, joined(writable), cache.map(joined).transpose())
        });
        let (layers, writable, cache) = (layers?, writable?, cache?);
        // What becomes a layer is to be saved in no time when the command has ended.
        let writable = if spec.writable.keep { writable.write_back_early() } else { writable };
        let merged = dir.join("root");
        std::os::unix::fs::symlink(&boot.skeleton, dir.join("skeleton"))
            .and_then(|()| mount_overlay(&dir, &merged, layers.len()))
            .map_err(|error| DriverError::because("cannot mount the overlay", &error))?;
        let mut rootfs =
            Self { merged, temporary: writable.path().join("tmp"), caches: Vec::new(), layers, writable, cache };
        match rootfs.prepare_directories(boot) {
            Ok(()) => Ok(rootfs),
            Err(error) => {
                // What is said is why it failed, not what followed.
                let _ = rootfs.unmount(&WritableSpec { keep: false, ..boot.spec.writable.clone() });
                Err(error)
            }
        }
    }

    fn prepare_directories(&mut self, boot: &BootSpec) -> Result<(), DriverError> {
        let failed = |what: &str| {
            let what = format!("cannot make {what}");
            move |error: std::io::Error| DriverError::because(what, &error)
        };
        std::fs::create_dir_all(&self.temporary).map_err(failed("the temporary directory"))?;
        std::fs::set_permissions(&self.temporary, std::fs::Permissions::from_mode(0o1777))
            .map_err(failed("the temporary directory"))?;
        let (Some(cache), Some(mounted)) = (&boot.spec.cache, &self.cache) else { return Ok(()) };
        for target in &cache.targets {
            let source = mounted.upper().join(cache_name(target));
            std::fs::create_dir_all(&source).map_err(failed("a cache directory"))?;
            std::os::unix::fs::lchown(&source, Some(APP_UID), Some(APP_GID)).map_err(failed("a cache directory"))?;
            make_dirs_inside(&self.merged, target, APP_UID, APP_GID)
                .map_err(|errno| failed(&format!("the cache directory `{target}`"))(errno.into()))?;
            self.caches.push((source, target.clone()));
        }
        Ok(())
    }

    /// Whether the image that takes what is written has no room left.
    pub(super) fn full(&self) -> bool {
        image::usage(&self.writable).is_ok_and(|usage| {
            usage.free_inodes == 0 || usage.free_bytes < FREE_BYTES_MIN.max(usage.total_bytes / FREE_PARTS)
        })
    }

    /// Tidies what was written, unmounts everything and waits until the kernel has let go of it. A tree that could not be tidied is
    /// removed: it must not become a layer.
    pub(super) fn unmount(self, spec: &WritableSpec) -> Result<(), DriverError> {
        let failed = |error: LayerError| DriverError::because("cannot unmount the sandbox's file system", &error);
        let attached: Vec<Attached> = [Some(&self.writable), self.cache.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|mounted| Attached::at(mounted.path()))
            .collect();
        slipway_layers::image::unmount(&self.merged).map_err(failed)?;
        let mut tidied = Ok(());
        if spec.keep {
            // Best effort: what stays of it costs room in a layer, nothing else.
            let _ = std::fs::remove_dir_all(&self.temporary);
            if let Some(tidy) = &spec.tidy {
                tidied = slipway_tree::tidy(&self.writable.upper(), tidy);
            }
        }
        self.writable.unmount().map_err(failed)?;
        self.cache.map_or(Ok(()), Mounted::unmount).map_err(failed)?;
        self.layers.into_iter().try_for_each(Mounted::unmount).map_err(failed)?;
        wait_released(&attached)?;
        tidied.map_err(|error| {
            let _ = std::fs::remove_file(&spec.image);
            DriverError::because("cannot tidy what was written", &error)
        })
    }
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T, LayerError>>) -> Result<T, DriverError> {
    match thread.join() {
        Ok(result) => result.map_err(|error| DriverError::because("cannot mount the sandbox's file system", &error)),
        Err(_) => Err(DriverError::new("a mounting thread panicked")),
    }
}

fn ensure(path: &Path, bytes: u64, at: &Path) -> Result<Mounted, LayerError> {
    if !path.exists() {
        image::create(path, bytes)?;
    }
    image::mount(path, at, Access::ReadWrite)
}

/// A cache that a power cut tore is lost without harm.
fn ensure_cache(path: &Path, bytes: u64, at: &Path) -> Result<Mounted, LayerError> {
    match ensure(path, bytes, at) {
        Err(LayerError::NotClean { .. } | LayerError::NotAnImage { .. }) => {
            let _ = std::fs::remove_file(path);
            ensure(path, bytes, at)
        }
        other => other,
    }
}

/// An image that a loop device holds.
#[derive(Debug)]
struct Attached {
    /// In `/sys`. It is there as long as the device holds any file.
    backing_file: PathBuf,
    /// What it says of this image. A device that was freed is soon another sandbox's.
    image: Vec<u8>,
}

impl Attached {
    /// The image that is mounted there.
    fn at(point: &Path) -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        let line = mounts.lines().find(|line| line.split(' ').nth(4).is_some_and(|at| Path::new(at) == point))?;
        let source = line.split_once(" - ")?.1.split(' ').nth(1)?;
        Self::read(Path::new("/sys/block").join(source.strip_prefix("/dev/")?).join("loop/backing_file"))
    }

    fn read(backing_file: PathBuf) -> Option<Self> {
        let image = std::fs::read(&backing_file).ok()?;
        Some(Self { backing_file, image })
    }

    fn is_released(&self) -> bool {
        std::fs::read(&self.backing_file).map_or(true, |now| now != self.image)
    }
}

fn wait_released(attached: &[Attached]) -> Result<(), DriverError> {
    let deadline = Instant::now() + RELEASE_TIME_MAX;
    while let Some(busy) = attached.iter().find(|attached| !attached.is_released()) {
        if Instant::now() >= deadline {
            let image = String::from_utf8_lossy(&busy.image);
            return Err(DriverError::new(format!("the image `{}` is still in use", image.trim())));
        }
        std::thread::sleep(RELEASE_PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_released_when_its_device_is_gone_or_anothers() {
        let dir = tempfile::tempdir().unwrap();
        let backing_file = dir.path().join("backing_file");
        std::fs::write(&backing_file, "/data/scratch/a.img\n").unwrap();
        let attached = Attached::read(backing_file.clone()).unwrap();
        assert!(!attached.is_released());
        std::fs::write(&backing_file, "/data/scratch/b.img\n").unwrap();
        assert!(attached.is_released(), "the number was given to another sandbox");
        std::fs::remove_file(&backing_file).unwrap();
        assert!(attached.is_released());
        assert!(Attached::read(backing_file).is_none());
    }
}
