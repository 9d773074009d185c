//! The sandbox's cgroup as the host sees it, in version 1 (one tree per controller), version 2 and both mixed.

use crate::error::SandboxError;
use rustix::process::{Pid, Signal, kill_process};
use slipway_types::settings::ResourceLimits;
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// For the kernel to let go of a killed process' cgroup.
const REMOVE_TIME_MAX: Duration = Duration::from_secs(5);
const REMOVE_PAUSE: Duration = Duration::from_millis(2);
pub(crate) const CPU_PERIOD_US: u64 = 100_000;
/// The kernel refuses a smaller quota.
const CPU_QUOTA_US_MIN: u64 = 1000;
/// Version 1: against each process of the root, which weighs 1024. All sandboxes of a server together would else get as much as one
/// such process, and a translated machine on a busy host would not boot.
const CPU_SHARES: u64 = 20 * 1024;

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    /// The cgroup that the mount shows as its root; `/` outside of containers.
    root: String,
    /// Version 1: its controllers. Version 2: none.
    controllers: Vec<String>,
    pub(crate) unified: bool,
}

/// All hierarchies that this process sees.
pub(crate) fn hierarchies() -> Vec<Hierarchy> {
    parse_mounts(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Kills what is in the cgroup and removes it from every hierarchy, with what is below it.
pub(crate) fn remove(cgroup: &str) -> Result<(), SandboxError> {
    hierarchies().iter().map(|hierarchy| hierarchy.dir(cgroup)).try_for_each(|dir| remove_tree(&dir))
}

/// Removes a cgroup where nothing is in it and leaves it where something is.
pub(crate) fn remove_empty(cgroup: &str) {
    for hierarchy in hierarchies() {
        let _ = std::fs::remove_dir(hierarchy.dir(cgroup));
    }
}

/// Controllers that can be limited here, by the names of version 2.
pub(crate) fn controllers() -> Vec<String> {
    let mut names = Vec::new();
    for hierarchy in hierarchies() {
        let own = match hierarchy.unified {
            true => std::fs::read_to_string(hierarchy.mount.join("cgroup.controllers")).unwrap_or_default(),
            false => hierarchy.controllers.join(" "),
        };
        names.extend(own.split_ascii_whitespace().map(str::to_owned));
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether swap can be limited; the kernel may have been built or booted without it.
pub(crate) fn counts_swap() -> bool {
    let v1 = |hierarchy: &Hierarchy| hierarchy.mount.join("memory.memsw.limit_in_bytes").exists();
    hierarchies().iter().any(|hierarchy| match hierarchy.unified {
        true => std::fs::read_to_string(hierarchy.mount.join("cgroup.controllers")).is_ok_and(|c| c.contains("memory")),
        false => v1(hierarchy),
    })
}

/// What a cgroup's processes may use together.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) memory_bytes: u64,
    /// In each period of 100 ms.
    pub(crate) cpu_quota_us: u64,
    /// Threads count.
    pub(crate) processes: u64,
}

/// Makes the cgroup in every hierarchy that limits something; answers the files that take its processes' numbers.
pub(crate) fn create(cgroup: &str, limits: &Limits) -> Result<Vec<File>, SandboxError> {
    let mut procs = Vec::new();
    for hierarchy in hierarchies() {
        let values = hierarchy.values(limits);
        if values.is_empty() {
            continue;
        }
        let dir = hierarchy.dir(cgroup);
        std::fs::create_dir_all(&dir).map_err(SandboxError::file("make", &dir))?;
        if hierarchy.unified {
            hierarchy.delegate(cgroup)?;
        }
        if let Some(above) = dir.parent().filter(|above| !hierarchy.unified && **above != hierarchy.mount) {
            // Best effort; only the processor's hierarchy has the file.
            let shares = above.join("cpu.shares");
            let _ = shares.exists().then(|| std::fs::write(&shares, CPU_SHARES.to_string()));
        }
        for (name, value, needed) in values {
            let file = dir.join(name);
            match std::fs::write(&file, value) {
                // The kernel may have been built or booted without it.
                Err(_) if !needed => {}
                result => result.map_err(SandboxError::file("write", &file))?,
            }
        }
        let file = dir.join("cgroup.procs");
        procs.push(File::options().write(true).open(&file).map_err(SandboxError::file("open", &file))?);
    }
    Ok(procs)
}

/// Of each period, as a sandbox's limits ask for it.
pub(crate) fn cpu_quota_us(limits: &ResourceLimits) -> u64 {
    ((limits.cpus.max(0.0) * CPU_PERIOD_US as f64) as u64).max(CPU_QUOTA_US_MIN)
}

/// Changes how much processor time it gets.
pub(crate) fn limit_cpu(cgroup: &str, cpu_quota_us: u64) -> Result<(), SandboxError> {
    for hierarchy in hierarchies() {
        let dir = hierarchy.dir(cgroup);
        let (name, value) = match hierarchy.unified {
            true => ("cpu.max", format!("{cpu_quota_us} {CPU_PERIOD_US}")),
            false => ("cpu.cfs_quota_us", cpu_quota_us.to_string()),
        };
        let file = dir.join(name);
        if file.exists() {
            std::fs::write(&file, value).map_err(SandboxError::file("write", &file))?;
        }
    }
    Ok(())
}

/// Reads how many processes the kernel killed for memory in one cgroup.
#[derive(Debug)]
pub(crate) struct MemoryKills {
    file: Option<PathBuf>,
}

impl MemoryKills {
    /// Of the cgroup that the process is in now.
    pub(crate) fn of(pid: i32) -> Self {
        let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        Self { file: memory_file(&hierarchies(), &own) }
    }

    pub(crate) fn count(&self) -> u64 {
        let text = self.file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    }
}

impl Hierarchy {
    /// Files of this hierarchy with their values, and whether they have to be there.
    fn values(&self, limits: &Limits) -> Vec<(&'static str, String, bool)> {
        let Limits { memory_bytes, cpu_quota_us, processes } = limits;
        if self.unified {
            let own = std::fs::read_to_string(self.mount.join("cgroup.controllers")).unwrap_or_default();
            if !own.split_ascii_whitespace().any(|name| name == "memory") {
                return Vec::new();
            }
            return vec![
                ("memory.max", memory_bytes.to_string(), true),
                ("memory.swap.max", "0".to_owned(), false),
                ("cpu.max", format!("{cpu_quota_us} {CPU_PERIOD_US}"), true),
                ("pids.max", processes.to_string(), true),
            ];
        }
        let mut values = Vec::new();
        for controller in &self.controllers {
            match controller.as_str() {
                "memory" => values.extend([
                    ("memory.limit_in_bytes", memory_bytes.to_string(), true),
                    ("memory.memsw.limit_in_bytes", memory_bytes.to_string(), false),
                ]),
                "cpu" => values.extend([
                    ("cpu.cfs_period_us", CPU_PERIOD_US.to_string(), true),
                    ("cpu.cfs_quota_us", cpu_quota_us.to_string(), true),
                ]),
                "pids" => values.push(("pids.max", processes.to_string(), true)),
                _ => {}
            }
        }
        values
    }

    /// Version 2: what stands above hands its controllers down.
    fn delegate(&self, cgroup: &str) -> Result<(), SandboxError> {
        let dir = self.dir(cgroup);
        let above: Vec<&Path> = dir.ancestors().skip(1).take_while(|above| above.starts_with(&self.mount)).collect();
        for above in above.into_iter().rev() {
            let file = above.join("cgroup.subtree_control");
            std::fs::write(&file, "+memory +cpu +pids").map_err(SandboxError::file("write", &file))?;
        }
        Ok(())
    }

    /// Where `cgroup` (a path from the hierarchy's root) is in the file system.
    fn dir(&self, cgroup: &str) -> PathBuf {
        let below = cgroup.strip_prefix(self.root.trim_end_matches('/')).unwrap_or(cgroup);
        self.mount.join(below.trim_start_matches('/'))
    }
}

/// `own` is a `/proc/<pid>/cgroup`: lines of number, controllers and path.
fn memory_file(hierarchies: &[Hierarchy], own: &str) -> Option<PathBuf> {
    let rows = || own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let v1 = rows().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
    let memory = |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|name| name == "memory");
    if let (Some((_, path)), Some(hierarchy)) = (v1, hierarchies.iter().find(memory)) {
        return Some(hierarchy.dir(path).join("memory.oom_control"));
    }
    let (_, path) = rows().find(|(controllers, _)| controllers.is_empty())?;
    let hierarchy = hierarchies.iter().find(|hierarchy| hierarchy.unified)?;
    Some(hierarchy.dir(path).join("memory.events"))
}

fn parse_mounts(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((own, rest)) = line.split_once(" - ") else { continue };
        let own: Vec<&str> = own.split(' ').collect();
        let rest: Vec<&str> = rest.split(' ').collect();
        let (&[_, _, _, root, mount, ..], &[kind @ ("cgroup" | "cgroup2"), _, options]) = (&own[..], &rest[..]) else {
            continue;
        };
        let unified = kind == "cgroup2";
        let names = options.split(',').filter(|name| !unified && !matches!(*name, "rw" | "ro"));
        found.push(Hierarchy {
            mount: mount.into(),
            root: root.to_owned(),
            controllers: names.map(str::to_owned).collect(),
            unified,
        });
    }
    found
}

fn remove_tree(dir: &Path) -> Result<(), SandboxError> {
    let deadline = Instant::now() + REMOVE_TIME_MAX;
    loop {
        let Ok(entries) = std::fs::read_dir(dir) else { return Ok(()) };
        for child in entries.flatten().filter(|entry| entry.path().is_dir()) {
            remove_tree(&child.path())?;
        }
        kill_all(dir);
        match std::fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(SandboxError::file("remove", dir)(error)),
            Err(_) => std::thread::sleep(REMOVE_PAUSE),
        }
    }
}

fn kill_all(dir: &Path) {
    let pids = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw) {
        // Ended already: what was wanted.
        let _ = kill_process(pid, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "30 25 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        32 25 0:28 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n\
        33 25 8:1 / / rw - ext4 /dev/vda rw\n";
    const V2: &str = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_file_of_memory_kills() {
        for (mounts, own, file) in [
            (V1, "5:memory:/slipway/a\n0::/\n", Some("/sys/fs/cgroup/memory/slipway/a/memory.oom_control")),
            (V2, "0::/slipway/a\n", Some("/sys/fs/cgroup/slipway/a/memory.events")),
            (V2, "", None),
        ] {
            assert_eq!(memory_file(&parse_mounts(mounts), own), file.map(PathBuf::from));
        }
    }

    #[test]
    fn a_mount_that_shows_a_part_of_the_tree() {
        let mounts = "30 25 0:26 /docker/x /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let file = memory_file(&parse_mounts(mounts), "0::/docker/x/slipway/a\n");
        assert_eq!(file, Some("/sys/fs/cgroup/slipway/a/memory.events".into()));
    }
}
