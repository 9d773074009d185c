//! The directory that a backup is restored into, until it is whole.
//!
//! `.restoring/` in it says that the rest belongs to a restore that has not ended: no server starts there, and the next restore
//! removes what is there and begins anew. It goes last.

use super::member::{CONFIG, DATABASE, KEY, TOKEN, UPLOADS};
use super::{failed, sync_directory};
use crate::failure::Failure;
use crate::server::DataDir;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const MARK: &str = ".restoring";
const LOCK: &str = "server.lock";

/// Whether a restore into that data directory has begun and not ended.
pub(crate) fn is_unfinished(data_dir: &Path) -> bool {
    data_dir.join(MARK).exists()
}

/// What a server says that finds one.
pub(crate) fn unfinished(data_dir: &Path) -> Failure {
    let message = format!("a restore into the data directory `{}` has not ended", data_dir.display());
    Failure::server(message).hint("run `slipway restore` again; it begins anew")
}

/// A data directory in the making; removed when dropped before [`Staging::keep`].
pub(super) struct Staging {
    data_dir: PathBuf,
    /// Whether it was there before.
    existed: bool,
    /// No server starts meanwhile.
    _claim: DataDir,
    kept: bool,
}

impl Staging {
    /// # Errors
    /// When the directory has anything in it, or is in use.
    pub(super) fn begin(data_dir: &Path) -> Result<Self, Failure> {
        let existed = data_dir.exists();
        if existed {
            check_empty(data_dir)?;
        }
        let claim = DataDir::claim(data_dir)?;
        let staging = Self { data_dir: data_dir.to_owned(), existed, _claim: claim, kept: false };
        staging.clear().map_err(failed("clear", data_dir))?;
        let mark = data_dir.join(MARK);
        fs::create_dir(&mark).map_err(failed("create", &mark))?;
        sync_directory(data_dir).map_err(failed("write", data_dir))?;
        Ok(staging)
    }

    /// Where members are written first.
    pub(super) fn directory(&self) -> PathBuf {
        self.data_dir.join(MARK)
    }

    /// Everything is there and checked: takes it into its places, the database last.
    pub(super) fn keep(mut self) -> Result<(), Failure> {
        let from = self.directory();
        for name in [first(KEY), TOKEN, CONFIG, first(UPLOADS), DATABASE] {
            match fs::rename(from.join(name), self.data_dir.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("restore", &self.data_dir.join(name))(error));
                }
                _ => {}
            }
        }
        sync_directory(&self.data_dir).map_err(failed("write", &self.data_dir))?;
        fs::remove_dir_all(&from).map_err(failed("remove", &from))?;
        self.kept = true;
        sync_directory(&self.data_dir).map_err(failed("write", &self.data_dir))
    }

    /// Removes all but the lock.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.data_dir)? {
            let entry = entry?;
            // The mark goes last: as long as it is there, this can be done again.
            if entry.file_name() != LOCK && entry.file_name() != MARK {
                remove(&entry.path())?;
            }
        }
        remove(&self.data_dir.join(MARK))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let lock = self.data_dir.join(LOCK);
        let removed = self.clear().and_then(|()| fs::remove_file(&lock));
        let removed = removed.and_then(|()| if self.existed { Ok(()) } else { fs::remove_dir(&self.data_dir) });
        if let Err(error) = removed {
            let failure = failed("remove what was restored from", &self.data_dir)(error);
            crate::output::say(&format!("warning: {}", failure.in_one_line()));
        }
    }
}

/// The first part of a name: a file, or the directory that it is in.
fn first(name: &'static str) -> &'static str {
    name.split('/').next().unwrap_or(name)
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        _ => fs::remove_file(path),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A lock alone is nothing, and what an earlier restore left may go; anything else is somebody's.
fn check_empty(data_dir: &Path) -> Result<(), Failure> {
    let unfinished = is_unfinished(data_dir);
    let ours = |name: &str| {
        let restored = [first(KEY), TOKEN, CONFIG, first(UPLOADS), DATABASE, "layers", MARK];
        name == LOCK || (unfinished && restored.contains(&name))
    };
    let mut others = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(failed("read", data_dir))? {
        let name = entry.map_err(failed("read", data_dir))?.file_name().to_string_lossy().into_owned();
        if !ours(&name) {
            others.push(name);
        }
    }
    others.sort();
    let Some(name) = others.first() else { return Ok(()) };
    // A server that runs is the better reason.
    if data_dir.join(LOCK).exists() {
        drop(DataDir::claim(data_dir)?);
    }
    Err(Failure::usage(format!("the data directory `{}` is not empty: it has `{name}`", data_dir.display()))
        .hint("choose a new one by `--data`, or move this one away; nothing is ever restored over what is there"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_kept_leaves_the_directory_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        drop(Staging::begin(&data).unwrap());
        assert!(!data.exists());
        fs::create_dir(&data).unwrap();
        drop(Staging::begin(&data).unwrap());
        assert!(names(&data).is_empty());
    }

    #[test]
    fn what_a_killed_restore_left_makes_room_for_the_next_and_what_is_somebody_s_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let staging = Staging::begin(&data).unwrap();
        std::mem::forget(staging);
        fs::create_dir(data.join("keys")).unwrap();
        fs::write(data.join("keys/master.key"), "half").unwrap();
        assert!(is_unfinished(&data));
        // The lock is still held: by this process, for the one that is killed.
        let refusal = format!("{:?}", Staging::begin(&data).err().unwrap());
        assert!(refusal.contains("another server"), "{refusal}");
        fs::remove_file(data.join(LOCK)).unwrap();
        let staging = Staging::begin(&data).unwrap();
        fs::write(staging.directory().join(DATABASE), "rows").unwrap();
        staging.keep().unwrap();
        assert_eq!(names(&data), [LOCK, DATABASE]);
        let refusal = format!("{:?}", Staging::begin(&data).err().unwrap());
        assert!(refusal.contains("is not empty: it has `slipway.db`"), "{refusal}");
    }
}
