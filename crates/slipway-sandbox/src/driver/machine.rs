//! What every virtual machine of ours is made of, whichever VMM runs it: its disks in order, its memory, and what its agent is told.

use super::console::Console;
use super::{DriverError, Guest, Setup, cgroup, tap};
use crate::config::CA_BUNDLE_IN_SANDBOX;
use crate::home::BootSpec;
use crate::reap::settle_images;
use crate::{APP_GID, APP_UID};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fd::OwnedFd;
use slipway_layers::{LayerError, image};
use slipway_types::Secret;
use slipway_types::agent::{CacheDevice, DeviceSize, FILES_BYTES_MAX, Machine, MachineLimits, MachineNetwork};
use slipway_types::settings::ResourceLimits;
use std::borrow::Borrow;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the kernel, its tables and the agent take of the memory, measured, with room.
const GUEST_OVERHEAD_BYTES: u64 = 96 << 20;
const MIB: u64 = 1 << 20;
/// For the end of a machine whose written image is kept: it removes what does not stay, which may be the hundred thousand files of a
/// package manager's cache, and writes back the rest.
pub(crate) const TIDY_MARGIN: Duration = Duration::from_secs(90);
/// Of a /30.
const PREFIX: u8 = 30;
const SEED_BYTES: usize = 64;
/// Of the number by which a machine confirms that it took the seed.
const REQUEST_BYTES: usize = 8;

/// A machine that boots before it is known what for has empty disks in these places: for layers first. A sandbox with more of them
/// boots for itself.
pub(crate) const LAYER_PLACES: usize = 8;
/// Then for the writable image, and last for the cache.
pub(crate) const WRITABLE_PLACE: usize = LAYER_PLACES;
pub(crate) const PLACES: usize = LAYER_PLACES + 2;

/// Boots a machine in its cgroup, within `limits`, and then leaves it the processor time of its sandbox. A boot that fails leaves
/// nothing.
pub(crate) fn launch<M: Guest + 'static>(
    boot: &BootSpec,
    limits: &cgroup::Limits,
    start: impl FnOnce(&[File]) -> Result<M, DriverError>,
) -> Result<Box<dyn Guest>, DriverError> {
    let launched = launch_within(boot, limits, start);
    if launched.is_err() {
        // Ends every process of it. What is said is why it failed, not what followed.
        let _ = cgroup::remove(&boot.cgroup);
        let _ = settle_images(boot);
    }
    launched
}

fn launch_within<M: Guest + 'static>(
    boot: &BootSpec,
    limits: &cgroup::Limits,
    start: impl FnOnce(&[File]) -> Result<M, DriverError>,
) -> Result<Box<dyn Guest>, DriverError> {
    let cgroup =
        cgroup::create(&boot.cgroup, limits).map_err(|error| DriverError::because("cannot make the cgroup", &error))?;
    let machine = start(&cgroup)?;
    limit_cpu(boot)?;
    Ok(Box::new(machine))
}

/// To the processor time of its sandbox.
pub(crate) fn limit_cpu(boot: &BootSpec) -> Result<(), DriverError> {
    cgroup::limit_cpu(&boot.cgroup, cgroup::cpu_quota_us(&boot.spec.limits))
        .map_err(|error| DriverError::because("cannot limit the machine's processor time", &error))
}

/// A block device, named by its place: the first is `vda`.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) file: OwnedFd,
    pub(crate) read_only: bool,
}

impl Disk {
    pub(crate) fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { file: self.file.try_clone()?, read_only: self.read_only })
    }
}

/// The file of a disk.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
}

/// Opens the images of [`ensure_images`].
pub(crate) fn open_disks(boot: &BootSpec) -> Result<Vec<Disk>, DriverError> {
    let open = |image: &Image| Ok(Disk { file: open(&image.path, !image.read_only)?, read_only: image.read_only });
    ensure_images(boot)?.iter().map(open).collect()
}

/// Lowest layer first, then the writable image, then the cache. Missing ones are made: a new image is the host's own work, and it
/// is not mounted here.
pub(crate) fn ensure_images(boot: &BootSpec) -> Result<Vec<Image>, DriverError> {
    let spec = &boot.spec;
    let layer = |path: &PathBuf| Image { path: path.clone(), read_only: true };
    let mut images: Vec<Image> = spec.layers.iter().map(layer).collect();
    let failed = |e: LayerError| DriverError::because("cannot make an image", &e);
    if !spec.writable.image.exists() {
        boot.create_writable().map_err(failed)?;
    }
    if let Some(cache) = spec.cache.as_ref().filter(|cache| !cache.image.exists()) {
        image::create(&cache.image, cache.bytes).map_err(failed)?;
    }
    let cache = spec.cache.as_ref().map(|cache| &cache.image);
    for path in std::iter::once(&spec.writable.image).chain(cache) {
        // The guest can take the mark away; it is there again when the guest is gone.
        image::mark_guest_written(path).map_err(|e| DriverError::because("cannot mark an image", &e))?;
        images.push(Image { path: path.clone(), read_only: false });
    }
    Ok(images)
}

/// Whether the guest tidied what it wrote and ended it in order, where that is to become a layer; else its last words.
pub(crate) fn check_whole(boot: &BootSpec, console: &Console) -> Result<(), DriverError> {
    let writable = &boot.spec.writable;
    match writable.keep.then(|| image::is_clean(&writable.image)) {
        None | Some(Ok(true)) => Ok(()),
        Some(_) => {
            let words = console.last_words().unwrap_or_else(|| "nothing".to_owned());
            Err(DriverError::new(format!(
                "the machine did not end what it wrote in order; its console ends with: {words}"
            )))
        }
    }
}

/// The images of [`ensure_images`], each with its place in a machine with empty disks.
pub(crate) fn placed<T>(boot: &BootSpec, images: Vec<T>) -> Result<Vec<(usize, T)>, DriverError> {
    let layers = boot.spec.layers.len();
    if layers > LAYER_PLACES {
        return Err(DriverError::new(format!("{layers} layers are too many, at most {LAYER_PLACES}")));
    }
    let place = |index: usize| if index < layers { index } else { WRITABLE_PLACE + index - layers };
    Ok(images.into_iter().enumerate().map(|(index, image)| (place(index), image)).collect())
}

/// Of the disks that these images take the places of.
pub(crate) fn sizes<T: Borrow<Image>>(places: &[(usize, T)]) -> Result<Vec<DeviceSize>, DriverError> {
    let size = |(place, image): &(usize, T)| {
        let path = &image.borrow().path;
        let bytes = path.metadata().map(|metadata| metadata.len());
        let bytes = bytes.map_err(|e| DriverError::because(format!("cannot measure `{}`", path.display()), &e))?;
        Ok(DeviceSize { device: disk_name(*place), bytes })
    };
    places.iter().map(size).collect()
}

fn open(path: &Path, write: bool) -> Result<OwnedFd, DriverError> {
    let file = File::options().read(true).write(write).open(path);
    let file = file.map_err(|e| DriverError::because(format!("cannot open the image `{}`", path.display()), &e))?;
    Ok(file.into())
}

/// Of the whole machine, in MiB: what the sandbox may use, and what it costs to be a machine.
pub(crate) fn memory_mib(boot: &BootSpec) -> u64 {
    (boot.spec.limits.memory.0 + GUEST_OVERHEAD_BYTES).div_ceil(MIB)
}

/// Processors that the guest sees; a part of one is a matter of its quota.
pub(crate) fn processors(limits: &ResourceLimits) -> u32 {
    let machine = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    (limits.cpus.ceil().max(1.0) as u32).min(machine)
}

/// What the agent makes of a machine whose writable image stands at that place, with the cache behind it and layers before it, and whose disks have
/// to have these sizes first.
pub(crate) fn setup_at(boot: &BootSpec, writable_place: usize, devices: Vec<DeviceSize>) -> Result<Setup, DriverError> {
    let spec = &boot.spec;
    let layers = spec.layers.len();
    let failed = |e: std::io::Error| DriverError::because("cannot draw random bytes", &e);
    let (seed, reseed) = (random::<SEED_BYTES>().map_err(failed)?, random::<REQUEST_BYTES>().map_err(failed)?);
    let machine = Machine {
        layers: (0..layers).map(disk_name).collect(),
        writable: disk_name(writable_place),
        cache: spec
            .cache
            .as_ref()
            .map(|cache| CacheDevice { device: disk_name(writable_place + 1), targets: cache.targets.clone() }),
        older_tree: spec.writable.older_tree,
        tidy: spec.writable.tidy.clone(),
        network: MachineNetwork {
            address: boot.slot.guest,
            prefix: PREFIX,
            gateway: boot.slot.host,
            mtu: tap::mtu(&boot.slot),
        },
        limits: MachineLimits {
            memory_bytes: spec.limits.memory.0,
            processes_max: spec.limits.processes_max,
            cpu_quota_us: cgroup::cpu_quota_us(&spec.limits),
        },
        app_uid: APP_UID,
        app_gid: APP_GID,
        entropy: Secret::new(STANDARD.encode(seed)),
        reseed: u64::from_le_bytes(reseed),
        devices,
    };
    Ok(Setup { files: files(boot)?, machine: Some(machine) })
}

/// The name that Linux gives the disk at that place. There are at most 18.
pub(crate) fn disk_name(place: usize) -> String {
    let letter = u8::try_from(place).ok().filter(|place| *place < 26).map_or('z', |place| char::from(b'a' + place));
    format!("vd{letter}")
}

fn random<const BYTES: usize>() -> std::io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn files(boot: &BootSpec) -> Result<Vec<(String, Vec<u8>)>, DriverError> {
    let mut files: Vec<(String, Vec<u8>)> =
        boot.generated_files().into_iter().map(|(name, text)| (format!("/etc/{name}"), text.into_bytes())).collect();
    if let Some(bundle) = &boot.ca_bundle {
        let what = format!("cannot read the certificates in `{}`", bundle.display());
        let bytes = std::fs::read(bundle).map_err(|e| DriverError::because(&what, &e))?;
        if bytes.len() > FILES_BYTES_MAX / 2 {
            return Err(DriverError::new(format!("{what}: {} bytes are too many", bytes.len())));
        }
        files.push((CA_BUNDLE_IN_SANDBOX.to_owned(), bytes));
    }
    Ok(files)
}
