//! What a sandbox takes of the host's memory: the proportional set of its processes, by what they are.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;

/// In bytes.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Use {
    pub(super) shim: u64,
    /// The virtual machine monitor without the guest's memory.
    pub(super) monitor: u64,
    pub(super) devices: u64,
    /// A machine's memory as far as it was touched, or a container's processes.
    pub(super) guest: u64,
}

impl Use {
    pub(super) fn overhead(&self) -> u64 {
        self.shim + self.monitor + self.devices
    }
}

/// Of the sandbox with that directory. A mapping as large as the machine's memory is the machine's memory.
pub(super) fn of(home: &Path, memory_bytes: u64) -> Result<Use> {
    let state: Value = serde_json::from_slice(&std::fs::read(home.join("state.json"))?)?;
    let pid = |who: &str| state[who]["pid"].as_u64().with_context(|| format!("the number of the {who}"));
    let (shim, init) = (pid("shim")?, pid("init")?);
    let mut used = Use::default();
    for process in family(shim)? {
        let program = std::fs::read_link(format!("/proc/{process}/exe")).unwrap_or_default();
        let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (guest, own) = split(&std::fs::read_to_string(format!("/proc/{process}/smaps"))?, memory_bytes);
        let is_monitor = program.starts_with("qemu-system-") || program.starts_with("firecracker");
        match process {
            _ if process == shim => used.shim += guest + own,
            _ if is_monitor => {
                used.monitor += own;
                used.guest += guest;
            }
            _ if program.starts_with("vhost-device") => {
                used.devices += own;
                used.guest += guest;
            }
            _ => used.guest += guest + own,
        }
        anyhow::ensure!(process != init || used.guest > 0, "the guest of {} takes no memory", home.display());
    }
    Ok(used)
}

/// The process and all that descend from it.
fn family(first: u64) -> Result<Vec<u64>> {
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()) else { continue };
        // Ended meanwhile: not of a sandbox that stands idle.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let parent = after_name.split(' ').nth(1).and_then(|word| word.parse::<u64>().ok());
        parents.push((pid, parent.unwrap_or(0)));
    }
    let mut family = vec![first];
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(family)
}

/// Proportional bytes of the guest's memory and of all other mappings.
fn split(smaps: &str, memory_bytes: u64) -> (u64, u64) {
    let (mut guest, mut own) = (0, 0);
    let mut is_guest = false;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(first) = words.next() else { continue };
        if let Some((from, to)) = first.split_once('-').filter(|_| !first.ends_with(':')) {
            let at = |hex: &str| u64::from_str_radix(hex, 16).unwrap_or(0);
            // A translator reserves as much for its code; that has no rights to be shared and a name of its own kind.
            let is_code = words.next().is_some_and(|rights| rights.contains('x'));
            is_guest = at(to) - at(from) >= memory_bytes && !is_code;
        } else if first == "Pss:" {
            let bytes = words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1024;
            *(if is_guest { &mut guest } else { &mut own }) += bytes;
        }
    }
    (guest, own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_s_memory_is_told_from_the_monitor_s() {
        let smaps = "7f0000000000-7f0010000000 rw-s 00000000 00:01 5 /memfd:memory (deleted)\nSize: 262144 kB\nPss: 100 kB\n\
            7f1000000000-7f1040000000 rwxp 00000000 00:00 0\nPss: 7 kB\nPss_Dirty: 9 kB\n\
            00400000-00500000 r-xp 00000000 00:00 0 /usr/bin/qemu\nPss: 3 kB\n";
        assert_eq!(split(smaps, 256 << 20), (100 << 10, 10 << 10));
    }
}
