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
/// A sweep removes some files; the next one would find little to do.
const SWEEP_LOCK_WAIT_MAX: Duration = Duration::from_secs(60);

impl LayerStore {
    /// Evicts what the quota asks for, or only says what it would. What is used at or after `asked_at` stays. One sweep at a time.
    pub fn sweep(&self, quota: &Quota, asked_at: SystemTime, mode: SweepMode) -> Result<SweepReport, LayerError> {
        self.run_sweep(mode, Some(asked_at), || {
            Ok(eviction::plan(&self.inventory()?, quota, self.free_bytes()?, asked_at))
        })
    }

    /// Evicts all that no release and no running build needs, of one service or of all, whatever its age.
    pub fn clear(&self, service: Option<&ServiceId>, mode: SweepMode) -> Result<SweepReport, LayerError> {
        self.run_sweep(mode, None, || Ok(eviction::plan_clear(&self.inventory()?, service)))
    }

    /// Free room of the disk that holds the store.
    pub fn free_bytes(&self) -> Result<u64, LayerError> {
        crate::image::usage_at(self.directory()).map(|usage| usage.free_bytes)
    }

    fn run_sweep(
        &self,
        mode: SweepMode,
        unused_since: Option<SystemTime>,
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
        let mut done = SweepReport::default();
        for _ in 0..ROUNDS_MAX {
            let planned = plan()?;
            done.short_bytes = planned.short_bytes;
            let mut kept_bytes = 0;
            for eviction in planned.evicted {
                if self.evict(&eviction, unused_since)? {
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
        Ok(done)
    }

    /// `false`: it is in use by now, or gone.
    fn evict(&self, eviction: &Eviction, unused_since: Option<SystemTime>) -> Result<bool, LayerError> {
        let area = WorkArea::new(self.directory())?;
        match &eviction.id {
            StoredId::Layer(layer) => {
                // Who holds it makes, fetches or archives this layer.
                let Some(_work) = self.lock_within(layer, Duration::ZERO)? else { return Ok(false) };
                let gate = self.gate(FlockOperation::NonBlockingLockExclusive)?;
                let used = || unused_since.is_some_and(|since| self.used_at(layer).is_some_and(|at| at >= since));
                if self.pins().contain(layer) || self.leases().contain(layer) || used() {
                    return Ok(false);
                }
                self.forget_record(layer)?;
                let taken = self.take_out(&eviction.id, &area)?;
                drop(gate);
                Ok(taken)
            }
            StoredId::Cache { .. } => {
                let saved_at = std::fs::metadata(self.stored_path(&eviction.id)).and_then(|found| found.modified());
                let saved = unused_since.is_some_and(|since| saved_at.is_ok_and(|at| at >= since));
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
