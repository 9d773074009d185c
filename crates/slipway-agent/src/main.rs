//! PID 1 inside every sandbox.
//!
//! `slipway-agent <socket>` listens on a unix socket, runs what the host asks for, streams its output, reaps orphans and ends
//! everything on shutdown. One thread, one poll loop, bounded memory: what the host does not take, the tasks can't write.
//!
//! As the first process of a virtual machine, without an argument, it makes the machine first: see [`machine`].

mod archive;
mod clock;
mod connection;
mod disk;
mod listener;
mod listening;
mod machine;
mod memory;
mod outbox;
mod shutdown;
mod signals;
mod spawn;
mod statistics;
mod supervisor;
mod task;

use listener::Listener;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        return match std::process::id() {
            1 => machine::run(),
            _ => fail("usage: slipway-agent <socket path>"),
        };
    };
    let path = PathBuf::from(path);
    match Listener::unix(&path).and_then(supervisor::Supervisor::new) {
        Ok(mut supervisor) => match supervisor.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&format!("error: {error}")),
        },
        Err(error) => fail(&format!("error: could not listen on `{}`: {error}", path.display())),
    }
}

fn fail(message: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "{message}");
    ExitCode::FAILURE
}
