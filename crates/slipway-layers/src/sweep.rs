//! Eviction: what [`crate::eviction`] decided, done.
//!
//! Crash-safe at any point: a layer leaves the index by one rename, and what lies in a work area is removed by whoever finds
//! its process gone.

use crate::error::LayerError;
use crate::eviction::{self, Eviction, Quota, SweepMode, SweepReport};
use crate::inventory::StoredId;
use crate::leftover::WorkArea;
use crate::lock::LayerLock;
use crate::store::{LOCKS, LayerStore};
use rustix::fs::FlockOperation;
use slipway_types::ServiceId;
use std::io;
use std::time::{Duration, SystemTime};

/// What was to go may be in use by the time: then the next ones are asked. More rounds would chase a busy store.
const ROUNDS_MAX: u32 = 3;
/// One that cannot be evicted does not keep the others; where so many fail the next would too, and each may wait for the gate.
const FAILURES_MAX: usize = 4;
/// A sweep removes some files; the next one would find little to do.
const SWEEP_LOCK_WAIT_MAX: Duration = Duration::from_secs(60);

/// What stays, whatever was decided.
#[derive(Debug, Clone, Copy)]
struct Spared {
    used_since: SystemTime,
    /// Layers without a cold copy.
    without_copy: bool,
}

impl LayerStore {
    /// Evicts what the quota asks for, or only says what it would. What is used at or after `asked_at` stays. One sweep at a time.
    pub fn sweep(&self, quota: &Quota, asked_at: SystemTime, mode: SweepMode) -> Result<SweepReport, LayerError> {
        let spared = Spared { used_since: asked_at, without_copy: quota.requires_cold };
        self.run_sweep(mode, spared, || Ok(eviction::plan(&self.inventory()?, quota, self.free_bytes()?, asked_at)))
    }

    /// Evicts all that no release and no running build needs, of one service or of all, whatever its age. What is used at or
    /// after `asked_at` stays.
    pub fn clear(
        &self,
        service: Option<&ServiceId>,
        asked_at: SystemTime,
        mode: SweepMode,
    ) -> Result<SweepReport, LayerError> {
        let spared = Spared { used_since: asked_at, without_copy: false };
        self.run_sweep(mode, spared, || Ok(eviction::plan_clear(&self.inventory()?, service)))
    }

    /// Free room of the disk that holds the store.
    pub fn free_bytes(&self) -> Result<u64, LayerError> {
        crate::image::usage_at(self.directory()).map(|usage| usage.free_bytes)
    }

    fn run_sweep(
        &self,
        mode: SweepMode,
        spared: Spared,
        plan: impl Fn() -> Result<SweepReport, LayerError>,
    ) -> Result<SweepReport, LayerError> {
        if mode == SweepMode::DryRun {
            return plan();
        }
        let path = self.directory().join(LOCKS).join("sweep");
        let busy = || LayerError::LockTimeout { layer: "sweep".to_owned(), seconds: SWEEP_LOCK_WAIT_MAX.as_secs() };
        let _lock = LayerLock::acquire(&path, SWEEP_LOCK_WAIT_MAX)?.ok_or_else(busy)?;
        self.recover()?;
        self.sweep_leases()?;
        self.sweep_records()?;
        let (mut done, mut failed) = (SweepReport::default(), Vec::new());
        for _ in 0..ROUNDS_MAX {
            let planned = plan()?;
            done.short_bytes = planned.short_bytes;
            let mut kept_bytes = 0;
            for eviction in planned.evicted {
                let evicted = failed.len() < FAILURES_MAX
                    && self.evict(&eviction, spared).unwrap_or_else(|error| {
                        tracing::warn!(%error, "could not evict");
                        failed.push(error);
                        false
                    });
                if evicted {
                    done.freed_bytes += eviction.bytes;
                    done.evicted.push(eviction);
                } else {
                    kept_bytes += eviction.bytes;
                }
            }
            done.short_bytes += kept_bytes;
            if kept_bytes == 0 {
                break;
            }
        }
        match failed.into_iter().next() {
            Some(error) if done.evicted.is_empty() => Err(error),
            _ => Ok(done),
        }
    }

    /// `false`: it is in use by now, or gone.
    fn evict(&self, eviction: &Eviction, spared: Spared) -> Result<bool, LayerError> {
        let area = WorkArea::new(self.directory())?;
        match &eviction.id {
            StoredId::Layer(layer) => {
                // Who holds it makes this layer. Whoever fetches or archives it does not mind: an open file outlives its name.
                let Some(_work) = self.lock_within(layer, Duration::ZERO)? else { return Ok(false) };
                let gate = self.gate(FlockOperation::NonBlockingLockExclusive)?;
                let used = || self.used_at(layer).is_some_and(|at| at >= spared.used_since);
                // The copy may have turned out to be gone since the decision.
                let is_only_one = || spared.without_copy && !self.record(layer).cold;
                if self.pins().contain(layer) || self.leases().contain(layer) || used() || is_only_one() {
                    return Ok(false);
                }
                self.forget_record(layer)?;
                let taken = self.take_out(&eviction.id, &area)?;
                drop(gate);
                Ok(taken)
            }
            StoredId::Cache { .. } => {
                let saved_at = std::fs::metadata(self.stored_path(&eviction.id)).and_then(|found| found.modified());
                let saved = saved_at.is_ok_and(|at| at >= spared.used_since);
                if saved { Ok(false) } else { self.take_out(&eviction.id, &area) }
            }
        }
    }

    /// Takes the file out of the index. Its blocks are freed with the area, outside of the gate.
    fn take_out(&self, id: &StoredId, area: &WorkArea) -> Result<bool, LayerError> {
        let path = self.stored_path(id);
        match std::fs::rename(&path, area.image()) {
            Ok(()) => {
                tracing::info!(path = %path.display(), "evicted");
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(LayerError::io("evict", &path, error)),
        }
    }
}
