//! What a server has on the machine: processes, mounts, loop devices, control groups, network namespaces, scratch files.

use crate::server::TestServer;
use std::path::{Path, PathBuf};
use std::process::Command;

impl TestServer {
    /// What is there although none of the sandboxes that exist needs it, one line each. Prepared network slots are no leftover.
    pub fn leftovers(&self) -> Vec<String> {
        let live = self.sandboxes();
        let of_live = |text: &str| live.iter().any(|name| text.contains(name.as_str()));
        let data = self.data().to_string_lossy().into_owned();
        let mut found = Vec::new();
        let processes = processes_naming(&data).into_iter().filter(|(pid, _)| self.pid_if_running() != Some(*pid));
        found.extend(
            processes.filter(|(_, words)| !of_live(words)).map(|(pid, words)| format!("process {pid} {words}")),
        );
        let mounts = mount_points(&data).into_iter().filter(|point| !point.contains("/sites/") && !of_live(point));
        found.extend(mounts.map(|point| format!("mount {point}")));
        let images = loop_images().into_iter().filter(|image| image.starts_with(&data) && !of_live(image));
        found.extend(images.map(|image| format!("loop device of {image}")));
        found.extend(self.cgroups().iter().map(|dir| dir.display().to_string()).filter(|dir| !of_live(dir)));
        for directory in ["scratch", "scratch/.replicas"] {
            let names = names(&self.data().join(directory)).into_iter();
            found.extend(
                names.filter(|name| name != ".replicas" && !of_live(name)).map(|name| format!("{directory}/{name}")),
            );
        }
        found
    }

    /// Ends, at once and all together, what a loss of power would end: the server, what holds the sandboxes, whatever runs in them,
    /// and all that the kernel kept for them. Files stay.
    pub fn lose_power(&mut self) {
        self.kill_process();
        let cgroups = self.cgroups();
        let mut pids: Vec<u32> =
            processes_naming(&self.data().to_string_lossy()).into_iter().map(|(pid, _)| pid).collect();
        for dir in &cgroups {
            let members = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            pids.extend(members.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        for pid in &pids {
            // One that died with another of them is what was wanted.
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).output();
        }
        crate::wait::until("the processes to be gone", std::time::Duration::from_secs(20), || {
            pids.iter().all(|pid| !is_running(*pid)).then_some(())
        });
        for point in mount_points(&self.data().to_string_lossy()).iter().rev() {
            let _ = Command::new("umount").args(["-l", point]).output();
        }
        for dir in cgroups.iter().rev() {
            let _ = std::fs::remove_dir(dir);
        }
        for namespace in self.namespaces() {
            let _ = Command::new("ip").args(["netns", "del", &namespace]).output();
        }
        let _ = Command::new("nft").args(["delete", "table", "inet", &format!("slipway_{}", self.tag())]).output();
    }

    /// Network namespaces, in use or prepared.
    pub fn namespaces(&self) -> Vec<String> {
        let prefix = format!("slipway-{}-", self.tag());
        names(Path::new("/run/netns")).into_iter().filter(|name| name.starts_with(&prefix)).collect()
    }

    /// Those of its sandboxes, in every hierarchy.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = names(root).into_iter().map(|name| root.join(name)).chain([root.to_owned()]);
        let parents = hierarchies.map(|dir| dir.join(format!("slipway-{}", self.tag())));
        parents.flat_map(|dir| directories(&dir)).filter(|dir| !self.former_cgroups.contains(dir)).collect()
    }
}

/// The directories below, each before what is in it.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let below = names(dir).into_iter().map(|name| dir.join(name)).filter(|path| path.is_dir());
    below.flat_map(|path| [vec![path.clone()], directories(&path)].concat()).collect()
}

/// Processes whose words name the directory.
fn processes_naming(directory: &str) -> Vec<(u32, String)> {
    let pids = names(Path::new("/proc")).into_iter().filter_map(|name| name.parse::<u32>().ok());
    let words = |pid| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some(String::from_utf8_lossy(&words).replace('\0', " "))
    };
    let with_words = pids.filter_map(|pid| Some((pid, words(pid)?)));
    with_words.filter(|(_, words)| words.contains(directory)).collect()
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn mount_points(below: &str) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| point.starts_with(below)).map(str::to_owned).collect()
}

fn loop_images() -> Vec<String> {
    let devices = names(Path::new("/sys/block")).into_iter().filter(|name| name.starts_with("loop"));
    let image = |name| std::fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok();
    devices.filter_map(image).map(|path| path.trim_end().to_owned()).collect()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
