//! What keeps layers in place: pins of releases, leases of running builds, and the gate between those and eviction.
//!
//! Whoever adds a hold passes the gate with others; an eviction passes it alone, looks at all holds and takes the layer out.
//! So a layer that is there once a hold was taken stays there, and one that was taken out before is seen to be gone.

use crate::error::LayerError;
use crate::key::is_valid_key;
use crate::store::{LayerStore, parse_layer};
use crate::temp_file::{self, TempFile};
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use slipway_types::LayerRef;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(crate) const PINS: &str = "pins";
pub(crate) const LEASES: &str = "leases";
const PIN_SUFFIX: &str = ".json";
const LEASE_SUFFIX: &str = ".lease";
/// About 200,000 layers of one server.
const PIN_BYTES_MAX: u64 = 16 << 20;
/// A build stands on a handful of layers.
const LEASE_LAYERS_MAX: usize = 256;
const LEASE_BYTES_MAX: u64 = LEASE_LAYERS_MAX as u64 * 256;
/// The gate is passed in milliseconds; on a slow shared directory in some more.
const GATE_WAIT_MAX: Duration = Duration::from_secs(30);
const GATE_POLL: Duration = Duration::from_millis(1);

/// Layers that some holder needs.
#[derive(Debug, Default)]
pub(crate) struct Held {
    layers: BTreeSet<LayerRef>,
    /// What a holder needs cannot be read: then it may be anything.
    everything: bool,
}

impl Held {
    pub(crate) fn contain(&self, layer: &LayerRef) -> bool {
        self.everything || self.layers.contains(layer)
    }

    fn add(&mut self, file: &Path, bytes_max: u64) {
        match read_layers(file, bytes_max) {
            Ok(layers) => self.layers.extend(layers),
            // Dropped since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %file.display(), %error, "layers that are in use cannot be told: nothing is evicted");
                self.everything = true;
            }
        }
    }
}

/// The layers of a running build: none of them is evicted until this is dropped, or its process ends.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    _locked: Option<File>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // While still locked, like every lock here.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl LayerStore {
    /// Sets what the releases and unfinished deployments of a server stand on, in place of what it said before. `holder` is the
    /// server's stable id.
    pub fn pin(&self, holder: &str, layers: &BTreeSet<LayerRef>) -> Result<(), LayerError> {
        if !is_valid_key(holder) {
            return Err(LayerError::InvalidHolder { holder: holder.to_owned() });
        }
        let path = self.directory().join(PINS).join(format!("{holder}{PIN_SUFFIX}"));
        let content = encode(layers.iter());
        if content.len() as u64 > PIN_BYTES_MAX {
            return Err(LayerError::TooManyPins { count: layers.len() });
        }
        let _gate = self.gate(FlockOperation::NonBlockingLockShared)?;
        temp_file::replace(&path, &content)
    }

    /// Keeps layers, there or not yet, until the lease is dropped. What is there now stays.
    pub fn lease(&self, layers: &[LayerRef]) -> Result<Lease, LayerError> {
        layers.iter().try_for_each(crate::key::check_key)?;
        if layers.len() > LEASE_LAYERS_MAX {
            return Err(LayerError::TooManyPins { count: layers.len() });
        }
        let directory = self.directory().join(LEASES);
        let path = directory.join(format!("{}{LEASE_SUFFIX}", temp_file::unique_name()));
        let _gate = self.gate(FlockOperation::NonBlockingLockShared)?;
        let locked = TempFile::new(&directory, &encode(layers.iter()))?.rename(&path)?;
        Ok(Lease { path, _locked: locked })
    }

    pub(crate) fn pins(&self) -> Held {
        let mut held = Held::default();
        for path in self.hold_files(PINS, PIN_SUFFIX, &mut held) {
            held.add(&path, PIN_BYTES_MAX);
        }
        held
    }

    pub(crate) fn leases(&self) -> Held {
        let mut held = Held::default();
        for path in self.hold_files(LEASES, LEASE_SUFFIX, &mut held) {
            if temp_file::is_held(&path) {
                held.add(&path, LEASE_BYTES_MAX);
            }
        }
        held
    }

    /// Removes the leases of processes that are gone.
    pub(crate) fn sweep_leases(&self) -> Result<(), LayerError> {
        let _gate = self.gate(FlockOperation::NonBlockingLockExclusive)?;
        for path in self.hold_files(LEASES, LEASE_SUFFIX, &mut Held::default()) {
            if !temp_file::is_held(&path) {
                let _ = std::fs::remove_file(&path);
            }
        }
        Ok(())
    }

    /// A file that is never removed: unlike a layer's lock it is always in use.
    pub(crate) fn gate(&self, passage: FlockOperation) -> Result<File, LayerError> {
        let path = self.directory().join(LEASES).join(".gate");
        let failed = |source| LayerError::io("lock", &path, source);
        let opened = OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(&path);
        let file = opened.map_err(failed)?;
        let deadline = Instant::now() + GATE_WAIT_MAX;
        loop {
            match rustix::fs::flock(&file, passage) {
                Ok(()) => return Ok(file),
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < deadline => std::thread::sleep(GATE_POLL),
                Err(Errno::WOULDBLOCK) => {
                    return Err(LayerError::LockTimeout { layer: "gate".to_owned(), seconds: GATE_WAIT_MAX.as_secs() });
                }
                Err(error) => return Err(failed(error.into())),
            }
        }
    }

    fn hold_files(&self, directory: &str, suffix: &str, held: &mut Held) -> Vec<PathBuf> {
        let directory = self.directory().join(directory);
        match std::fs::read_dir(&directory) {
            Ok(entries) => entries
                .flatten()
                .filter(|entry| {
                    entry.file_name().to_str().is_some_and(|name| name.ends_with(suffix) && !name.starts_with('.'))
                })
                .map(|entry| entry.path())
                .collect(),
            Err(error) => {
                tracing::warn!(path = %directory.display(), %error, "layers that are in use cannot be told: nothing is evicted");
                held.everything = true;
                Vec::new()
            }
        }
    }
}

fn encode<'a>(layers: impl Iterator<Item = &'a LayerRef>) -> Vec<u8> {
    let names: Vec<String> = layers.map(LayerRef::to_string).collect();
    serde_json::to_vec(&names).unwrap_or_default()
}

fn read_layers(path: &Path, bytes_max: u64) -> io::Result<Vec<LayerRef>> {
    let names: Vec<String> = serde_json::from_slice(&temp_file::read(path, bytes_max)?)?;
    let unknown = |name: &String| io::Error::new(io::ErrorKind::InvalidData, format!("`{name}` is not a layer"));
    names.iter().map(|name| parse_layer(name).ok_or_else(|| unknown(name))).collect()
}
