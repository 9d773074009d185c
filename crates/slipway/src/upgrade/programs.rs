//! The two programs of a version, and how one version takes the other's place.

use crate::failure::Failure;
use crate::install::{digest_of, replace};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Of a program that was replaced, until its successor is ready.
pub(super) const FORMER: &str = ".former";
const EXECUTABLE: u32 = 0o755;
const VERSION_TIME_MAX: Duration = Duration::from_secs(10);

/// Where they stand.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) program: PathBuf,
    pub(super) agent: PathBuf,
}

impl Programs {
    /// # Errors
    /// When one is missing or cannot be run.
    pub(super) fn at(program: &Path) -> Result<Self, Failure> {
        let program = std::path::absolute(program)
            .map_err(|error| Failure::usage(format!("`{}` is no usable path", program.display())).caused_by(&error))?;
        let agent = program.with_file_name("libexec/slipway-agent");
        for (file, hint) in [
            (&program, "give the program `slipway` of the new version"),
            (&agent, "a version is two programs: `slipway`, and `libexec/slipway-agent` beside it"),
        ] {
            let found = fs::metadata(file).map_err(|error| {
                Failure::usage(format!("cannot read `{}`", file.display())).caused_by(&error).hint(hint)
            })?;
            if !found.is_file() || found.permissions().mode() & 0o111 == 0 {
                return Err(Failure::usage(format!("`{}` is no program", file.display())).hint(hint));
            }
        }
        Ok(Self { program, agent })
    }

    /// What the program calls itself, such as `slipway 0.1.0`.
    pub(super) async fn version(&self) -> Result<String, Failure> {
        let is_none = |why: String| {
            Failure::usage(format!("`{}` is no version of Slipway", self.program.display()))
                .caused_by(&io::Error::other(why))
        };
        let mut command = Command::new(&self.program);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let said = match tokio::time::timeout(VERSION_TIME_MAX, command.output()).await {
            Ok(Ok(output)) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            Ok(Err(error)) => return Err(is_none(error.to_string())),
            Err(_) => return Err(is_none("it does not say its version".to_owned())),
        };
        match said.starts_with("slipway ") && said.lines().count() == 1 {
            true => Ok(crate::output::printable(&said)),
            false => Err(is_none(format!("asked for its version, it says `{}`", crate::output::printable(&said)))),
        }
    }

    pub(super) fn are_same_as(&self, other: &Self) -> Result<bool, Failure> {
        let digest = |path: &Path| {
            digest_of(path)
                .map_err(|error| Failure::server(format!("cannot read `{}`", path.display())).caused_by(&error))
        };
        Ok(digest(&self.program)? == digest(&other.program)? && digest(&self.agent)? == digest(&other.agent)?)
    }

    fn both(&self) -> [&Path; 2] {
        [&self.agent, &self.program]
    }

    /// Puts copies of the new ones where these stand; these are kept beside them.
    ///
    /// # Errors
    /// When one cannot be written; then these stand where they stood.
    pub(super) fn replace_by(&self, new: &Self) -> Result<Former<'_>, Failure> {
        let former = Former { of: self };
        let replaced = self.both().into_iter().zip(new.both()).try_for_each(|(old, new)| {
            let kept = former_of(old);
            match fs::remove_file(&kept) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((kept, error)),
                _ => {}
            }
            // A second name, not a move: at each moment there is a program.
            fs::hard_link(old, &kept)
                .and_then(|()| replace(old, EXECUTABLE, &mut File::open(new)?))
                .map_err(|error| (old.to_owned(), error))
        });
        match replaced {
            Ok(()) => Ok(former),
            Err((path, error)) => {
                former.put_back()?;
                Err(Failure::server(format!("cannot replace `{}`", path.display())).caused_by(&error))
            }
        }
    }
}

/// Programs that were replaced.
#[derive(Debug)]
pub(super) struct Former<'a> {
    of: &'a Programs,
}

impl Former<'_> {
    /// # Errors
    /// When one cannot be put back.
    pub(super) fn put_back(&self) -> Result<(), Failure> {
        for path in self.of.both() {
            match fs::rename(former_of(path), path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::server(format!("cannot put `{}` back", path.display())).caused_by(&error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn forget(&self) {
        for path in self.of.both() {
            // A leftover costs disk, and the next upgrade replaces it.
            let _ = fs::remove_file(former_of(path));
        }
    }
}

fn former_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{name}{FORMER}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(dir: &Path, name: &str) -> Programs {
        let place = dir.join(name);
        fs::create_dir_all(place.join("libexec")).unwrap();
        for file in ["slipway", "libexec/slipway-agent"] {
            fs::write(place.join(file), format!("#!/bin/sh\necho {name} {file}\n")).unwrap();
            fs::set_permissions(place.join(file), PermissionsExt::from_mode(0o755)).unwrap();
        }
        Programs::at(&place.join("slipway")).unwrap()
    }

    fn content(programs: &Programs) -> String {
        programs.both().map(|path| fs::read_to_string(path).unwrap()).concat()
    }

    #[test]
    fn what_was_replaced_can_be_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (version(dir.path(), "old"), version(dir.path(), "new"));
        let (of_old, of_new) = (content(&old), content(&new));
        let former = old.replace_by(&new).unwrap();
        assert_eq!(content(&old), of_new);
        assert!(old.are_same_as(&new).unwrap());
        former.put_back().unwrap();
        assert_eq!(content(&old), of_old);
        assert!(!old.are_same_as(&new).unwrap());
        old.replace_by(&new).unwrap().forget();
        assert_eq!(fs::read_dir(dir.path().join("old")).unwrap().count(), 2, "nothing is left of what was replaced");
        // One that cannot be written leaves both as they were.
        fs::remove_file(&new.program).unwrap();
        fs::write(&new.agent, "newer").unwrap();
        old.replace_by(&new).unwrap_err();
        assert_eq!(content(&old), of_new);
    }

    #[tokio::test]
    async fn what_is_no_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let programs = version(dir.path(), "odd");
        assert!(programs.version().await.unwrap_err().in_one_line().contains("no version of Slipway"));
        fs::set_permissions(&programs.agent, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(Programs::at(&programs.program).unwrap_err().in_one_line().contains("is no program"));
        assert!(Programs::at(&dir.path().join("none")).is_err());
    }
}
