//! Room on the disks: builds begin only where enough stays free for what runs.

use crate::host::Host;
use crate::tier::size;
use slipway_layers::{LayerError, image};
use std::path::{Path, PathBuf};

/// One twentieth of the disk stays free, as file systems themselves reserve it; but never less than a small build writes, and
/// no more than the largest build writes with its default limit (8 GB) and some room for logs and databases of what runs.
const KEEP_FREE_SHARE: u64 = 20;
const KEEP_FREE_MIN: u64 = 2 << 30;
const KEEP_FREE_MAX: u64 = 10 << 30;

/// A disk that has too little room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shortage {
    directory: PathBuf,
    free_bytes: u64,
    keep_bytes: u64,
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (free, keep) = (size(self.free_bytes), size(self.keep_bytes));
        write!(
            f,
            "the disk of `{}` has {free} free, and {keep} must stay free (`layers.keep_free`)",
            self.directory.display()
        )
    }
}

impl Host {
    /// What must stay free of the disk that holds the layers. Blocks.
    pub(crate) fn keep_free_bytes(&self) -> u64 {
        let total = image::usage_at(&self.config.layers_dir).map(|usage| usage.total_bytes).unwrap_or_default();
        keep_free(self.config.layers.keep_free, total)
    }

    /// The first disk with too little room. Blocks.
    pub(crate) fn shortage(&self) -> Result<Option<Shortage>, LayerError> {
        for directory in [&self.config.layers_dir, &self.config.data_dir] {
            if let Some(shortage) = of_disk(directory, self.config.layers.keep_free)? {
                return Ok(Some(shortage));
            }
        }
        Ok(None)
    }
}

fn of_disk(directory: &Path, wanted: Option<u64>) -> Result<Option<Shortage>, LayerError> {
    let usage = image::usage_at(directory)?;
    let (free_bytes, keep_bytes) = (usage.free_bytes, keep_free(wanted, usage.total_bytes));
    let directory = directory.to_owned();
    Ok((free_bytes < keep_bytes).then_some(Shortage { directory, free_bytes, keep_bytes }))
}

fn keep_free(wanted: Option<u64>, total_bytes: u64) -> u64 {
    wanted.unwrap_or_else(|| (total_bytes / KEEP_FREE_SHARE).clamp(KEEP_FREE_MIN, KEEP_FREE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_twentieth_within_bounds() {
        let total = |gigabytes: u64| keep_free(None, gigabytes << 30) >> 30;
        assert_eq!([total(10), total(100), total(1000)], [2, 5, 10]);
        assert_eq!(keep_free(Some(1), 1 << 40), 1);
    }

    #[test]
    fn a_shortage_says_how_much_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of_disk(dir.path(), Some(0)).unwrap(), None);
        let shortage = of_disk(dir.path(), Some(u64::MAX)).unwrap().unwrap().to_string();
        assert!(shortage.contains("must stay free (`layers.keep_free`)"), "{shortage}");
    }
}
