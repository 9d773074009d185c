//! `[build]`: how many deployments may wait for a build worker, and what memory builds may take together.

use super::file::BuildTable;
use crate::failure::Failure;
use slipway_control::QUEUE_MAX;
use slipway_types::ServiceSettings;
use slipway_types::settings::ByteSize;

/// The database looks at all of them for each choice.
const WAITING_MAX: u32 = 1000;
/// Of the machine's memory, for builds: the rest is for what is live.
const MEMORY_SHARE: (u64, u64) = (3, 4);
/// A build with less ends before it begins.
const MEMORY_MIN: ByteSize = ByteSize(256 << 20);
const MEMORY_FILE: &str = "/proc/meminfo";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueConfig {
    pub(crate) waiting_max: u32,
    /// The limits of all builds that run together.
    pub(crate) memory_max_bytes: u64,
}

pub(super) fn queue_config(table: &BuildTable) -> Result<QueueConfig, Failure> {
    let waiting_max = table.queue.unwrap_or(QUEUE_MAX);
    if !(1..=WAITING_MAX).contains(&waiting_max) {
        return Err(Failure::usage(format!("`build.queue = {waiting_max}` is out of range: 1 to {WAITING_MAX}")));
    }
    if let Some(memory) = table.memory.filter(|memory| *memory < MEMORY_MIN) {
        return Err(Failure::usage(format!("`build.memory = \"{memory}\"` is too small: {MEMORY_MIN} at least")));
    }
    let text = std::fs::read_to_string(MEMORY_FILE).unwrap_or_default();
    let memory_max_bytes = table.memory.map_or_else(|| memory_default(&text), |memory| memory.0);
    Ok(QueueConfig { waiting_max, memory_max_bytes })
}

/// A share of what the machine has, but one build that says nothing of memory always fits.
fn memory_default(text: &str) -> u64 {
    let one_build = ServiceSettings::default().build.memory.0;
    let total_bytes = total_bytes(text).unwrap_or(0);
    (total_bytes / MEMORY_SHARE.1 * MEMORY_SHARE.0).max(one_build)
}

/// The line `MemTotal:       16337584 kB` (proc(5)).
fn total_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_quarters_of_the_machine_but_at_least_one_build() {
        let of = |kilobytes: u64| memory_default(&format!("MemTotal:       {kilobytes} kB\nMemFree: 1 kB\n"));
        let one_build = ServiceSettings::default().build.memory.0;
        assert_eq!(of(16 << 20), 12 << 30);
        assert_eq!((of(1 << 20), memory_default("")), (one_build, one_build));
    }
}
