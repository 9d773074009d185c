//! What an installation wrote: `/etc/slipway/installed.json`, written before the files that it names.

use super::plan::digest_of;
use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) const RECORD: &str = "/etc/slipway/installed.json";

/// Digests by path; empty for a link. And directories that were not there before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) files: BTreeMap<String, String>,
    pub(super) directories: Vec<String>,
}

impl Record {
    /// # Errors
    /// When there is one that cannot be read: then nobody knows what is whose.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let unreadable = || Failure::server(format!("cannot read `{}`, which says what was installed", path.display()));
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable().caused_by(&error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable().caused_by(&error)),
        }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        replace(path, 0o644, &mut text.as_slice())
    }
}

/// Files that were installed may have another content now, and that was no change by hand.
///
/// # Errors
/// When the record cannot be read or written.
pub(crate) fn note_upgrade(paths: &[&Path]) -> Result<(), Failure> {
    note_changed(Path::new(RECORD), paths)
}

fn note_changed(record_path: &Path, paths: &[&Path]) -> Result<(), Failure> {
    let Some(mut record) = Record::read(record_path)? else { return Ok(()) };
    for path in paths {
        if let Some(digest) = record.files.get_mut(&*path.to_string_lossy()) {
            *digest = digest_of(path)
                .map_err(|error| Failure::server(format!("cannot read `{}`", path.display())).caused_by(&error))?;
        }
    }
    record
        .write(record_path)
        .map_err(|error| Failure::server(format!("cannot write `{}`", record_path.display())).caused_by(&error))
}

/// Where a file is written first.
pub(super) fn beside(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.new", path.file_name().unwrap_or_default().to_string_lossy()))
}

/// Whole or not at all, and on the disk.
pub(crate) fn replace(path: &Path, mode: u32, content: &mut dyn io::Read) -> io::Result<()> {
    let beside = beside(path);
    let _ = fs::remove_file(&beside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        io::copy(content, &mut file)?;
        file.flush()?;
        // The mask of this process has no say in it.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upgrade_is_no_change_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let (record_path, program, other) =
            (dir.path().join("installed.json"), dir.path().join("slipway"), dir.path().join("other"));
        note_changed(&record_path, &[&program]).unwrap();
        assert!(!record_path.exists(), "nothing was installed");
        fs::write(&program, "new").unwrap();
        fs::write(&other, "not installed").unwrap();
        let name = program.to_string_lossy().into_owned();
        let installed = Record { files: [(name.clone(), "old".to_owned())].into(), directories: Vec::new() };
        installed.write(&record_path).unwrap();
        note_changed(&record_path, &[&program, &other]).unwrap();
        let noted = Record::read(&record_path).unwrap().unwrap();
        assert_eq!(noted.files, [(name, digest_of(&program).unwrap())].into());
    }
}
