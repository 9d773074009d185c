//! PID 1 inside every sandbox.
//!
//! `slipway-agent <socket>` listens on a unix socket, runs what the host asks for, streams its output, reaps orphans and ends
//! everything on shutdown. One thread, one poll loop, bounded memory: what the host does not take, the tasks can't write.
//!
//! As the first process of a virtual machine, started as `/init`, it makes the machine first: see [`machine`].

mod archive;
mod clock;
mod connection;
mod disk;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
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
mod values;

use listener::Listener;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// As which a kernel starts the first program of its initramfs.
const MACHINE_NAME: &str = "/init";

/// The whole program.
pub fn run() -> ExitCode {
    let mut words = std::env::args_os();
    // Words of its command line that a kernel does not know become arguments.
    if words.next().is_some_and(|name| name == MACHINE_NAME) && std::process::id() == 1 {
        return machine::run();
    }
    let Some(path) = words.next() else { return fail("usage: slipway-agent <socket path>") };
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
