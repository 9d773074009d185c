//! The server that is to be replaced, as the kernel knows it.

use crate::client::ClientFile;
use crate::failure::Failure;
use crate::server::DataDir;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A server's end takes up to 40 s, its start with many sandboxes up to two minutes.
const TAKEOVER_TIME_MAX: Duration = Duration::from_secs(180);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Running {
    process: Pid,
    /// Where its program stands: another one may stand there by now.
    pub(super) program: PathBuf,
    /// Without the program's own name.
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) directory: PathBuf,
}

/// Why a successor is not ready.
#[derive(Debug)]
pub(super) enum NotTaken {
    /// The process is gone.
    Ended(Failure),
    /// It is there, and may yet come.
    Late(Failure),
}

impl Running {
    /// # Errors
    /// When no server runs on that directory, or it is another user's.
    pub(super) fn find(data_dir: &Path) -> Result<Self, Failure> {
        let process = DataDir::server_of(data_dir).and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        let Some(process) = process else {
            let message = format!("no server runs on the data directory `{}`", data_dir.display());
            return Err(Failure::usage(message).hint(
                "`--data` names another; where none runs, `slipway install` of the new version replaces the old one",
            ));
        };
        let proc = PathBuf::from(format!("/proc/{process}"));
        let read = |name: &str| fs::read(proc.join(name)).map(|bytes| words(&bytes));
        let seen = (|| -> io::Result<Self> {
            Ok(Self {
                process,
                program: undeleted(fs::read_link(proc.join("exe"))?),
                arguments: read("cmdline")?.into_iter().skip(1).collect(),
                environment: read("environ")?.into_iter().filter_map(variable).collect(),
                directory: fs::read_link(proc.join("cwd"))?,
            })
        })();
        seen.map_err(|error| {
            Failure::usage(format!("cannot look at the server (process {process})"))
                .caused_by(&error)
                .hint("run the command as the user that the server runs as, which is root")
        })
    }

    /// Tells it to make place for the program that stands at its path.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn make_place(&self) -> Result<(), Failure> {
        kill_process(self.process, Signal::USR2).map_err(|error| {
            Failure::server(format!("the server (process {}) is gone", self.process)).caused_by(&error)
        })
    }

    /// Waits until the process runs the program that stands at its path, and serves.
    ///
    /// # Errors
    /// When it ends before, or takes too long.
    pub(super) async fn successor_is_ready(&self, data_dir: &Path) -> Result<(), NotTaken> {
        let deadline = Instant::now() + TAKEOVER_TIME_MAX;
        let client_file = ClientFile::path(data_dir);
        loop {
            match self.runs_the_new_program() {
                // The file is there while a server is ready; the one before took its own away.
                Ok(true) if client_file.exists() => return Ok(()),
                Ok(_) => {}
                Err(error) => {
                    let message = format!("the new server ended before it was ready (process {})", self.process);
                    return Err(NotTaken::Ended(Failure::server(message).caused_by(&error).hint("its log says why")));
                }
            }
            if Instant::now() >= deadline {
                let seconds = TAKEOVER_TIME_MAX.as_secs();
                return Err(NotTaken::Late(Failure::server(format!(
                    "the new server was not ready within {seconds} s"
                ))));
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    fn runs_the_new_program(&self) -> io::Result<bool> {
        // A process that ended but was not waited for has no program either.
        let runs = fs::metadata(format!("/proc/{}/exe", self.process))?;
        let stands = fs::metadata(&self.program)?;
        Ok((runs.dev(), runs.ino()) == (stands.dev(), stands.ino()))
    }
}

/// Each ends with a zero byte.
fn words(bytes: &[u8]) -> Vec<OsString> {
    let words = bytes.split_inclusive(|byte| *byte == 0);
    words.map(|word| OsString::from_vec(word.strip_suffix(&[0]).unwrap_or(word).to_vec())).collect()
}

fn variable(word: OsString) -> Option<(OsString, OsString)> {
    let bytes = word.into_vec();
    let at = bytes.iter().position(|byte| *byte == b'=')?;
    // Those are for one process.
    let is_own = bytes.starts_with(b"LISTEN_") || bytes.starts_with(b"NOTIFY_SOCKET=");
    (!is_own).then(|| (OsString::from_vec(bytes[..at].to_vec()), OsString::from_vec(bytes[at + 1..].to_vec())))
}

/// The kernel marks the path of a file that was replaced.
fn undeleted(path: PathBuf) -> PathBuf {
    match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(text) => PathBuf::from(text),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_variables_of_a_process() {
        assert_eq!(words(b"slipway\0server\0\0"), ["slipway", "server", ""]);
        assert_eq!(words(b""), Vec::<OsString>::new());
        assert_eq!(variable("A=b=c".into()), Some(("A".into(), "b=c".into())));
        for none in ["A", "LISTEN_FDS=1", "NOTIFY_SOCKET=/run/x"] {
            assert_eq!(variable(none.into()), None, "{none}");
        }
        assert_eq!(undeleted("/usr/bin/slipway (deleted)".into()), Path::new("/usr/bin/slipway"));
    }

    #[test]
    fn no_server_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let refusal = Running::find(dir.path()).unwrap_err().in_one_line();
        assert!(refusal.contains("no server runs"), "{refusal}");
    }
}
