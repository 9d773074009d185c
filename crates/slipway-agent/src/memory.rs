//! How often the kernel killed a process for memory, as this sandbox's cgroup counts it.

/// Where a container sees its own cgroup, version 2 then version 1; both have a line `oom_kill <count>`.
const COUNTERS: [&str; 2] = ["/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"];

/// `None` where the cgroup is not to be seen; then the host alone knows.
pub(crate) fn oom_kills() -> Option<u64> {
    COUNTERS.iter().find_map(|path| parse(&std::fs::read_to_string(path).ok()?))
}

fn parse(counters: &str) -> Option<u64> {
    counters.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions() {
        assert_eq!(parse("low 0\noom 3\noom_kill 2\noom_group_kill 0\n"), Some(2));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
