//! What all processes of the sandbox use, from `/proc`.

use slipway_types::agent::AgentEvent;

/// Fields of `/proc/<pid>/stat` after the name, from 0: own and waited-for children's ticks, and resident pages.
const TICKS: std::ops::Range<usize> = 11..15;
const RESIDENT_PAGES: usize = 21;

pub(crate) fn statistics() -> AgentEvent {
    let page_bytes = system_constant(libc::_SC_PAGESIZE);
    let tick_us = 1_000_000 / system_constant(libc::_SC_CLK_TCK);
    let (mut memory_bytes, mut processes, mut cpu_us) = (0, 0, 0);
    for stat in process_stats() {
        let Some((ticks, pages)) = parse(&stat) else { continue };
        processes += 1;
        cpu_us += ticks * tick_us;
        memory_bytes += pages * page_bytes;
    }
    AgentEvent::Stats { memory_bytes, processes, cpu_us }
}

fn system_constant(name: i32) -> u64 {
    // SAFETY: reads a constant of the system.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).unwrap_or(1).max(1)
}

/// `/proc/<pid>/stat` of every process that is still there.
pub(crate) fn process_stats() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| std::fs::read(entry.path().join("stat")).ok())
        .map(|stat| String::from_utf8_lossy(&stat).into_owned())
        .collect()
}

/// The fields after the name; the name is in brackets and may hold anything, brackets too.
pub(crate) fn fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace().collect()).unwrap_or_default()
}

fn parse(stat: &str) -> Option<(u64, u64)> {
    let fields = fields(stat);
    let ticks = fields.get(TICKS)?.iter().filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some((ticks, fields.get(RESIDENT_PAGES)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) S (b)) S 1 7 7 0 -1 0 1 2 3 4 10 20 3 4 20 0 1 0 555 1000 42 99";
        assert_eq!(parse(stat), Some((37, 42)));
        assert_eq!(fields(stat)[1], "1");
        assert_eq!(parse("7 (x"), None);
    }
}
