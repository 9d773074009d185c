//! PID 1 inside every sandbox.
//!
//! `slipway-agent <socket>` listens on a unix socket, runs what the host asks for, streams its output, reaps orphans and ends
//! everything on shutdown. One thread, one poll loop, bounded memory: what the host does not take, the tasks can't write.

mod connection;
mod listening;
mod memory;
mod outbox;
mod shutdown;
mod signals;
mod spawn;
mod statistics;
mod supervisor;
mod task;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        return fail("usage: slipway-agent <socket path>");
    };
    let path = PathBuf::from(path);
    match listen(&path).and_then(supervisor::Supervisor::new) {
        Ok(mut supervisor) => match supervisor.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("error: {error}")),
        },
        Err(error) => fail(&format!("error: could not listen on `{}`: {error}", path.display())),
    }
}

/// Only the agent's own user may connect: the tasks see the socket too.
fn listen(path: &Path) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = listener?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::FAILURE
}
