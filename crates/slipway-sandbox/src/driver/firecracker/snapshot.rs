//! Snapshots: a machine that was booted once, up to the agent that listens and has been told nothing, and is taken up from there.
//!
//! One is good for machines of one size, of one kernel, initramfs and command line, by one Firecracker on one model of processor
//! under one kernel of the host's: all that is in its name. It holds no secret and nothing of any sandbox: its disks are empty
//! places, which get their images before the machine goes on. Address, host name, clock and random numbers come with `configure`,
//! before anything of the sandbox runs; a machine that does not confirm its new random numbers is not used.
//!
//! A snapshot that cannot be made or taken up costs a note and an ordinary boot.

use super::body::{NETWORK, disk};
use super::jail::Jail;
use super::{Access, DriverError, Ground, PLACEHOLDER_BYTES, Running, access, take_images};
use crate::driver::{kvm, machine, tap::TAP};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Part of the name: what a snapshot is made of here.
const FORMAT: &str = "1";
/// Of the digest, in the name.
const KEY_CHARS: usize = 16;
/// Each takes as much disk as its machine has memory; sizes of machines are few. The least recently used ones go.
const SNAPSHOTS_MAX: usize = 8;
/// After a snapshot failed, so long machines of its kind boot.
const FAILED_PAUSE: Duration = Duration::from_secs(3600);
/// The agent's first line.
const HELLO_BYTES_MAX: u64 = 4096;
/// What of `/proc/cpuinfo` tells models apart.
const PROCESSOR_LINES: [&str; 8] =
    ["vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags", "CPU part"];

/// A machine from a snapshot, which is made where there is none. None: boot one.
pub(super) fn restore(ground: &Ground<'_>) -> Option<Running> {
    let dir = ground.programs.snapshots_dir.as_deref()?;
    if ground.boot.spec.layers.len() > machine::LAYER_PLACES {
        return None;
    }
    let key = key(ground);
    let failed = dir.join(format!("{key}.failed"));
    if is_young(&failed) {
        return None;
    }
    match ensure(ground, dir, &key).and_then(|found| found.map(|snapshot| load(ground, &snapshot)).transpose()) {
        Ok(running) => running,
        Err(error) => {
            tracing::warn!(%error, "cannot use a snapshot, booting the virtual machine");
            let _ = std::fs::remove_dir_all(dir.join(&key));
            let _ = std::fs::write(&failed, error.to_string());
            None
        }
    }
}

fn is_young(marker: &Path) -> bool {
    let age = marker.metadata().and_then(|metadata| metadata.modified()).map(|made| made.elapsed().unwrap_or_default());
    age.is_ok_and(|age| age < FAILED_PAUSE)
}

/// None: another sandbox is about to make it.
fn ensure(ground: &Ground<'_>, dir: &Path, key: &str) -> Result<Option<PathBuf>, DriverError> {
    let failed = |error: std::io::Error| DriverError::because("cannot make a snapshot", &error);
    let there = dir.join(key);
    if there.exists() {
        // Its last use; what goes first depends on it, nothing else.
        let _ = File::open(&there).and_then(|there| there.set_modified(SystemTime::now()));
        return Ok(Some(there));
    }
    std::fs::create_dir_all(dir).map_err(failed)?;
    let lock = File::create(dir.join("lock")).map_err(failed)?;
    if lock.try_lock().is_err() {
        return Ok(None);
    }
    let partial = dir.join(".new");
    let _ = std::fs::remove_dir_all(&partial);
    std::fs::create_dir(&partial).map_err(failed)?;
    create(ground, &partial)?;
    std::fs::rename(&partial, &there).map_err(failed)?;
    remove_oldest(dir).map_err(failed)?;
    Ok(Some(there))
}

/// Boots a machine with empty places and writes it down. It never meets a sandbox's files.
fn create(ground: &Ground<'_>, dir: &Path) -> Result<(), DriverError> {
    let failed = |error: std::io::Error| DriverError::because("cannot write a snapshot", &error);
    let files = ["state", "memory"].map(|name| dir.join(name));
    for path in &files {
        File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    }
    let (vm, stream) = ground.boot_empty(|jail| show_files(jail, dir, Access::ReadWrite))?;
    let mut hello = String::new();
    stream.set_read_timeout(Some(ground.programs.boot_time_max)).map_err(failed)?;
    BufReader::new(stream.take(HELLO_BYTES_MAX)).read_line(&mut hello).map_err(failed)?;
    let mut api = vm.api()?;
    api.patch("/vm", &json!({ "state": "Paused" }))?;
    let order = json!({
        "snapshot_type": "Full",
        "snapshot_path": "/snapshot/state",
        "mem_file_path": "/snapshot/memory",
    });
    api.put("/snapshot/create", &order)?;
    drop(vm);
    files.iter().try_for_each(|path| File::open(path).and_then(|file| file.sync_all())).map_err(failed)
}

/// Takes the machine up, with this sandbox's images in the places of its disks.
fn load(ground: &Ground<'_>, snapshot: &Path) -> Result<Running, DriverError> {
    let places = machine::placed(ground.boot, ground.images.iter().collect())?;
    let vm = ground.start_vmm(|jail| {
        (0..machine::PLACES).try_for_each(|place| match places.iter().find(|(used, _)| *used == place) {
            Some((_, image)) => jail.show(&image.path, &disk(place), access(image.read_only)),
            None => jail.placeholder(&disk(place), PLACEHOLDER_BYTES),
        })?;
        show_files(jail, snapshot, Access::ReadOnly)
    })?;
    let order = json!({
        "snapshot_path": "/snapshot/state",
        "mem_backend": { "backend_type": "File", "backend_path": "/snapshot/memory" },
        "resume_vm": false,
        "network_overrides": [{ "iface_id": NETWORK, "host_dev_name": TAP }],
    });
    let mut api = vm.api()?;
    let mut go_on = || -> Result<(), DriverError> {
        api.put("/snapshot/load", &order)?;
        take_images(&mut api, places.iter().map(|(place, _)| *place))?;
        api.patch("/vm", &json!({ "state": "Resumed" }))
    };
    go_on().map_err(|error| vm.explain(error))?;
    let stream = vm.dial(ground.programs.boot_time_max)?;
    let mut running = ground.running(vm, stream, machine::WRITABLE_PLACE);
    running.devices = machine::sizes(&places)?;
    Ok(running)
}

fn show_files(jail: &Jail, dir: &Path, access: Access) -> Result<(), DriverError> {
    jail.directory("snapshot")?;
    ["state", "memory"].iter().try_for_each(|name| jail.show(&dir.join(name), &format!("snapshot/{name}"), access))
}

/// Everything that a snapshot depends on. Files count by path, length and time: they are replaced, never written into.
fn key(ground: &Ground<'_>) -> String {
    let programs = ground.programs;
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let host = rustix::system::uname();
    let mut parts = vec![
        FORMAT.to_owned(),
        processor_model(&processor),
        host.release().to_string_lossy().into_owned(),
        host.version().to_string_lossy().into_owned(),
        if kvm::is_pvm() { "pvm".to_owned() } else { "native".to_owned() },
        programs.version.clone(),
        programs.kernel_words.clone(),
        format!("{:?}", programs.limits),
        machine::memory_mib(ground.boot).to_string(),
        machine::processors(&ground.boot.spec.limits).to_string(),
    ];
    for path in [&programs.firecracker, &programs.guest.kernel, &programs.guest.initramfs] {
        let metadata = path.metadata().map(|m| (m.len(), m.mtime(), m.mtime_nsec(), m.ino()));
        parts.push(format!("{} {:?}", path.display(), metadata.ok()));
    }
    digest(&parts)
}

fn digest(parts: &[String]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().chars().take(KEY_CHARS).collect()
}

/// Of the first processor: a machine whose processors differ is not one that we know.
fn processor_model(cpuinfo: &str) -> String {
    let block = cpuinfo.lines().take_while(|line| !line.trim().is_empty());
    let known = |line: &&str| line.split_once(':').is_some_and(|(name, _)| PROCESSOR_LINES.contains(&name.trim()));
    block.filter(known).collect::<Vec<_>>().join("\n")
}

/// A machine that runs keeps what it was taken up from, whether it has a name or not.
fn remove_oldest(dir: &Path) -> std::io::Result<()> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)?.flatten() {
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            all.push((metadata.modified()?, entry.path()));
        }
    }
    all.sort_unstable();
    let over = all.len().saturating_sub(SNAPSHOTS_MAX);
    all.iter().take(over).try_for_each(|(_, path)| std::fs::remove_dir_all(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_s_model_is_all_that_counts_of_it() {
        let one = "processor\t: 0\nvendor_id\t: X\nmodel\t\t: 1\ncpu MHz\t\t: 2445.4\nflags\t\t: fpu vmx\n\nprocessor\t: 1\nmodel\t: 2\n";
        assert_eq!(processor_model(one), "vendor_id\t: X\nmodel\t\t: 1\nflags\t\t: fpu vmx");
        let faster = one.replace("2445.4", "3000.0");
        assert_eq!(processor_model(one), processor_model(&faster));
        assert_ne!(processor_model(one), processor_model(&one.replace("vmx", "svm")));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let of = |parts: &[&str]| digest(&parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["a", "b"]), of(&["a", "b"]));
        assert_ne!(of(&["ab", ""]), of(&["a", "b"]));
        assert_eq!(of(&["a"]).len(), KEY_CHARS);
    }

    #[test]
    fn the_least_recently_used_go() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..SNAPSHOTS_MAX + 2 {
            let one = dir.path().join(format!("s{number}"));
            std::fs::create_dir(&one).unwrap();
            let used_at = SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64);
            File::open(&one).unwrap().set_modified(used_at).unwrap();
        }
        File::open(dir.path().join("s0")).unwrap().set_modified(SystemTime::now()).unwrap();
        remove_oldest(dir.path()).unwrap();
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, SNAPSHOTS_MAX);
        assert!(dir.path().join("s0").exists() && !dir.path().join("s1").exists() && !dir.path().join("s2").exists());
    }
}
