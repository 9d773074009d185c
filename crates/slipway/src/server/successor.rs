//! A server that is told to makes place for the program that stands at its own path by then: the same process, with the same
//! arguments and the same listening sockets, runs the new program (`execve(2)`). Who connects meanwhile waits in the kernel's
//! queue; apps are held by processes of their own; a service manager sees one process that went on.

use super::claim::Listeners;
use super::handed::FIRST;
use super::notify;
use crate::failure::Failure;
use rustix::io::fcntl_dupfd_cloexec;
use std::ffi::OsString;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Above every number that the successor's sockets get: 1,024 and a few.
const ASIDE: RawFd = 2048;

/// What a successor starts with.
#[derive(Debug)]
pub(super) struct Successor {
    program: PathBuf,
    arguments: Vec<OsString>,
    sockets: Vec<(&'static str, OwnedFd)>,
}

impl Successor {
    /// # Errors
    /// When this program does not know where it stands, or there are no more files to be had.
    pub(super) fn of(listeners: &Listeners) -> Result<Self, Failure> {
        let unknown = |error: io::Error| Failure::server("cannot prepare for a successor").caused_by(&error);
        // Later the file may be another one, and the kernel would call this one deleted.
        let program = std::env::current_exe().map_err(unknown)?;
        let api = listeners.api.as_fd().try_clone_to_owned().map_err(unknown)?;
        let edge = listeners.edge.duplicates().map_err(unknown)?;
        let sockets = std::iter::once(("api", api)).chain(edge.into_iter().map(|socket| ("edge", socket))).collect();
        Ok(Self { program, arguments: std::env::args_os().skip(1).collect(), sockets })
    }

    /// Becomes it. To be called when nothing of this server works any more: descriptors are taken from whoever had them.
    ///
    /// # Errors
    /// Returns only when that failed.
    pub(super) fn begin(self) -> Failure {
        let failed = |error: io::Error| {
            let message = format!("cannot start `{}` in this server's place", self.program.display());
            Failure::server(message).caused_by(&error)
        };
        let aside: io::Result<Vec<OwnedFd>> = self
            .sockets
            .iter()
            .map(|(_, socket)| fcntl_dupfd_cloexec(socket, ASIDE).map_err(io::Error::from))
            .collect();
        let aside = match aside {
            Ok(aside) => aside,
            Err(error) => return failed(error),
        };
        for (number, socket) in (FIRST..).zip(&aside) {
            // SAFETY: whatever has this number is not used any more, and is not closed by its owner either: the process
            // becomes another program next, or ends.
            let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
            // A copy made so stays open in the new program.
            if let Err(error) = rustix::io::dup2(socket, &mut place) {
                return failed(error.into());
            }
        }
        let names: Vec<&str> = self.sockets.iter().map(|(name, _)| *name).collect();
        let error = Command::new(&self.program)
            .args(&self.arguments)
            .env("LISTEN_PID", std::process::id().to_string())
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .envs(notify::socket().map(|socket| (notify::VARIABLE, socket)))
            .exec();
        failed(error)
    }
}
