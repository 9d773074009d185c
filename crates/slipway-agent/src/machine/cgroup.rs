//! The tasks' cgroup: what they may use of the machine. The kernel and this process stand outside of it.

use super::MachineError;
use slipway_types::agent::MachineLimits;

/// The tasks' own view begins here: see `confine`.
const CGROUP: &str = "/sys/fs/cgroup/sandbox";
const CPU_PERIOD_US: u64 = 100_000;
/// The supervisor itself, which the owner's limit does not count.
const AGENT_PROCESSES: u64 = 4;

pub(super) fn make(limits: &MachineLimits) -> Result<(), MachineError> {
    let write = |path: &str, value: String| {
        std::fs::write(path, value).map_err(|e| MachineError::because(format!("write `{path}`"), e))
    };
    write("/sys/fs/cgroup/cgroup.subtree_control", "+memory +pids +cpu".to_owned())?;
    std::fs::create_dir(CGROUP).map_err(|e| MachineError::because("make the cgroup of the tasks", e))?;
    write(&format!("{CGROUP}/memory.max"), limits.memory_bytes.to_string())?;
    write(&format!("{CGROUP}/pids.max"), (u64::from(limits.processes_max) + AGENT_PROCESSES).to_string())?;
    write(&format!("{CGROUP}/cpu.max"), format!("{} {CPU_PERIOD_US}", limits.cpu_quota_us))
}

/// Moves the calling process.
pub(super) fn join() -> Result<(), MachineError> {
    std::fs::write(format!("{CGROUP}/cgroup.procs"), "0").map_err(|e| MachineError::because("enter the cgroup", e))
}
