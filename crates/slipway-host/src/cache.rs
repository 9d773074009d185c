//! Caches of frameworks: one image for each service and branch, `caches/<service>/<branch>.img` beside the layers.
//!
//! A build has a copy of its own. Only after it has succeeded the copy takes the cache's place, by a rename: a build that failed or
//! was killed changes nothing, builds at the same time do not meet, and the last one wins. No cache is ever part of a release, and
//! losing one costs only time.

use crate::branch_file::file_name;
use slipway_layers::LayerError;
use slipway_layers::copy::{self, Copied};
use slipway_layers::image::{allocated_bytes, is_clean, mark_guest_written, written_by};
use slipway_types::source::Lineage;
use slipway_types::{ServiceId, WrittenBy};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Of one cache; the file is sparse. A build that fills it would fail, so one that comes near begins afresh.
pub(crate) const CACHE_BYTES: u64 = 4 << 30;
const CACHE_BYTES_KEPT: u64 = CACHE_BYTES / 4 * 3;
/// A copy between disks takes seconds; what is older was left by a crash.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 60 * 60);
const UNFINISHED: &str = ".new-";
static NUMBER: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone)]
pub(crate) struct Caches {
    directory: PathBuf,
    /// Whose kernel writes the builds' copies.
    written_by: WrittenBy,
}

/// What a build begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CacheBegin {
    /// There is none yet.
    Empty,
    NearlyFull,
    /// There is one that only a virtual machine could mount, and builds run in containers.
    WrittenByGuest,
    /// That of the branch.
    CopyOf {
        branch: String,
        copied: Copied,
    },
}

impl Caches {
    pub(crate) fn new(layers: &Path, written_by: WrittenBy) -> Self {
        Self { directory: layers.join("caches"), written_by }
    }

    /// Copies what a build of that lineage begins with to `image`, where nothing is left by an attempt before.
    pub(crate) fn begin(&self, service: &ServiceId, lineage: &Lineage, image: &Path) -> Result<CacheBegin, LayerError> {
        remove(image).map_err(|error| LayerError::io("remove", image, error))?;
        for branch in lineage.candidates() {
            let from = self.path(service, branch);
            match allocated_bytes(&from) {
                Ok(bytes) if bytes > CACHE_BYTES_KEPT => return Ok(CacheBegin::NearlyFull),
                Ok(_) if written_by(&from)? == WrittenBy::Guest && self.written_by == WrittenBy::Host => {
                    return Ok(CacheBegin::WrittenByGuest);
                }
                Ok(_) => {
                    let copied = copy::copy(&from, image)?;
                    note_use(&from);
                    return Ok(CacheBegin::CopyOf { branch: branch.to_owned(), copied });
                }
                Err(_) => {}
            }
        }
        Ok(CacheBegin::Empty)
    }

    /// Puts the image of a build that succeeded in the place of its branch's cache.
    pub(crate) fn publish(&self, service: &ServiceId, lineage: &Lineage, image: &Path) -> Result<(), LayerError> {
        if self.written_by == WrittenBy::Guest {
            mark_guest_written(image)?;
            // Whoever mounts it does not look: a machine takes what it is given.
            if !is_clean(image)? {
                return Err(LayerError::NotClean { path: image.to_owned() });
            }
        }
        let path = self.path(service, &lineage.branch);
        let directory = self.directory.join(service.as_str());
        fs::create_dir_all(&directory).map_err(|error| LayerError::io("make the directory", &directory, error))?;
        match fs::rename(image, &path) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                let started = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                let beside = directory.join(format!("{UNFINISHED}{}-{number}-{started}", std::process::id()));
                copy::copy(image, &beside)?;
                fs::rename(&beside, &path)
            }
            result => result,
        }
        .map_err(|error| LayerError::io("publish as", &path, error))
    }

    /// Removes what a crash left of copies between disks.
    pub(crate) fn sweep(&self) {
        let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries(&self.directory).flat_map(|service| entries(&service.path()).collect::<Vec<_>>()) {
            let is_unfinished = entry.file_name().to_str().is_some_and(|name| name.starts_with(UNFINISHED));
            let age = entry.metadata().and_then(|found| found.modified()).ok().and_then(|at| at.elapsed().ok());
            if is_unfinished && age.is_some_and(|age| age > LEFTOVER_AGE) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    pub(crate) fn path(&self, service: &ServiceId, branch: &str) -> PathBuf {
        self.directory.join(service.as_str()).join(format!("{}.img", file_name(branch)))
    }
}

/// What nobody uses goes in the end. The time of the last change is that of the last use.
pub(crate) fn note_use(path: &Path) {
    let noted = fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = noted {
        tracing::debug!(%error, path = %path.display(), "a use is not noted");
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Caches of earlier versions, one for each service, are of no branch: they begin afresh.
pub(crate) fn remove_of_services(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "img") {
            tracing::info!(path = %entry.path().display(), "removing a build cache of an earlier version");
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(branch: &str) -> Lineage {
        Lineage::of_git(Some(branch.to_owned()), Some("main".to_owned()))
    }

    #[test]
    fn a_branch_begins_with_its_own_cache_and_else_with_the_default_ones() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::new(dir.path(), WrittenBy::Host);
        let image = dir.path().join("scratch.img");
        let web = ServiceId::parse("web").unwrap();
        let begin = |branch: &str| match caches.begin(&web, &lineage(branch), &image).unwrap() {
            CacheBegin::CopyOf { branch, .. } => format!("{branch}: {}", fs::read_to_string(&image).unwrap()),
            begin => format!("{begin:?}"),
        };
        let publish = |branch: &str, text: &str| {
            fs::write(&image, text).unwrap();
            caches.publish(&web, &lineage(branch), &image).unwrap();
        };
        assert_eq!(begin("next"), "Empty");
        publish("main", "1");
        assert_eq!(begin("next"), "main: 1");
        publish("next", "2");
        publish("../../next", "3");
        assert_eq!((begin("next"), begin("main")), ("next: 2".to_owned(), "main: 1".to_owned()));
        assert_eq!(begin("../../next"), "../../next: 3");
        assert_eq!(fs::read_dir(dir.path().join("caches/web")).unwrap().count(), 3);
        // A build that does not succeed changes nothing.
        fs::write(&image, "broken").unwrap();
        assert_eq!(begin("next"), "next: 2");
    }

    #[test]
    fn one_that_is_nearly_full_begins_afresh() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::new(dir.path(), WrittenBy::Host);
        let web = ServiceId::parse("web").unwrap();
        let path = caches.path(&web, "main");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let full = fs::File::create(&path).unwrap();
        let length = CACHE_BYTES_KEPT + 8192;
        rustix::fs::fallocate(&full, rustix::fs::FallocateFlags::empty(), 0, length).unwrap();
        let image = dir.path().join("scratch.img");
        assert_eq!(caches.begin(&web, &lineage("main"), &image).unwrap(), CacheBegin::NearlyFull);
        assert!(!image.exists());
    }

    #[test]
    fn caches_of_earlier_versions_go() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("svc.img"), "").unwrap();
        fs::create_dir(dir.path().join("versions")).unwrap();
        remove_of_services(dir.path());
        assert!(!dir.path().join("svc.img").exists() && dir.path().join("versions").exists());
    }
}
