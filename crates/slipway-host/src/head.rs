//! The newest dependency layer of each service and branch: what an install whose key is not there begins from.
//!
//! `heads/<service>/<branch>.json` in the directory of the layers. A head is a hint: one that is lost, torn or names a layer that
//! is gone costs an install from nothing.

use crate::branch_file::file_name;
use serde::{Deserialize, Serialize};
use slipway_types::{DeploymentId, LayerRef, ServiceId};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A head is some hundred bytes.
const HEAD_BYTES_MAX: u64 = 16 << 10;
static NUMBER: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) layer: LayerRef,
    pub(crate) family: String,
    /// Which made the layer, as far as that is known.
    pub(crate) made_by: Option<DeploymentId>,
    /// Installs in a row that went on from the one before.
    #[serde(default)]
    pub(crate) generation: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Heads {
    directory: PathBuf,
}

impl Heads {
    pub(crate) fn new(layers: &Path) -> Self {
        Self { directory: layers.join("heads") }
    }

    pub(crate) fn read(&self, service: &ServiceId, branch: &str) -> Option<Head> {
        let mut text = Vec::new();
        let file = File::open(self.path(service, branch)).ok()?;
        file.take(HEAD_BYTES_MAX).read_to_end(&mut text).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Never fails a build.
    pub(crate) fn write(&self, service: &ServiceId, branch: &str, head: &Head) {
        let path = self.path(service, branch);
        if let Err(error) = replace(&path, head) {
            tracing::warn!(%error, path = %path.display(), "the next install of this branch begins from an older layer");
        }
    }

    fn path(&self, service: &ServiceId, branch: &str) -> PathBuf {
        self.directory.join(service.as_str()).join(format!("{}.json", file_name(branch)))
    }
}

/// Through a file of its own: servers that share the directory see the old head or the new one.
fn replace(path: &Path, head: &Head) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    // Of this process alone on this machine; another machine's has another start of its clock.
    let started = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let beside = directory.join(format!(".new-{}-{number}-{started}", std::process::id()));
    let written = fs::write(&beside, serde_json::to_vec(head)?).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_types::LayerKind;

    #[test]
    fn the_newest_head_of_a_branch_is_read_and_a_broken_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let heads = Heads::new(dir.path());
        let service = ServiceId::parse("web").unwrap();
        let head = |key: &str| Head {
            layer: LayerRef::new(LayerKind::Dependencies, key),
            family: "f".to_owned(),
            made_by: Some(DeploymentId::parse("dpl-1").unwrap()),
            generation: 1,
        };
        assert_eq!(heads.read(&service, "main"), None);
        heads.write(&service, "main", &head("1"));
        heads.write(&service, "main", &head("2"));
        heads.write(&service, "../main", &head("3"));
        assert_eq!(heads.read(&service, "main"), Some(head("2")));
        assert_eq!(heads.read(&service, "../main"), Some(head("3")));
        let names = fs::read_dir(dir.path().join("heads/web")).unwrap();
        assert_eq!(names.count(), 2, "nothing else is left");
        fs::write(dir.path().join("heads/web/main.json"), "{\"layer\":").unwrap();
        assert_eq!(heads.read(&service, "main"), None);
    }
}
