//! The process that holds one sandbox: it outlives the server, and the sandbox ends with it.
//!
//! It owns the mounts (in a mount namespace of its own), the container and the connection to the agent. It takes
//! commands from one supervisor at a time and keeps the agent's events until a supervisor has taken them. After the
//! sandbox's end it stays, holding nothing but these events, until they are taken.

mod agent;
mod blank;
mod detach;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hold;
mod rate;
mod ring;
mod serve;

use crate::driver::{self, DriverError, Guest};
use crate::home::{BootSpec, Home, SHIM_SOCKET, ShimState, short_path};
use crate::process::ProcessId;
use crate::steps::Steps;
use crate::wire::BootReport;
use hold::Hold;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// After SIGKILL, or for the last output of a sandbox that ended.
const END_TIME_MAX: Duration = Duration::from_secs(10);
/// Of a machine that sometimes hangs by no fault of its own.
const ROUNDS_MAX: u32 = 2;
/// How often a shim whose sandbox is gone looks whether its directory still is.
const LINGER_LOOK: Duration = Duration::from_secs(60);

/// What `slipway shim <sandbox dir>` runs. Call it before the process has a second thread: it forks.
///
/// The first process ends at once; its child boots the sandbox, writes one line to standard output when the agent is
/// ready or the boot failed, and stays. That of a blank writes such a line when it stands ready, and another one when it was claimed.
pub fn shim_main(dir: &Path) -> ExitCode {
    let mut steps = Steps::begin();
    match detach::fork() {
        Ok(detach::Side::Parent) => return ExitCode::SUCCESS,
        Ok(detach::Side::Child) => {}
        Err(error) => return failed(&DriverError::because("cannot leave the server", &error)),
    }
    // A thread that dies would leave a sandbox that nobody serves: end, and let the supervisor remove it.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
    match boot(Home::new(dir), &mut steps) {
        Ok(Some((home, hold, listener))) => {
            say(&BootReport::Ready { steps: steps.taken });
            detach::let_go_of_server();
            serve::accept(Arc::clone(&hold), listener);
            live(&home, &hold);
            ExitCode::SUCCESS
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// A sandbox that is ready, with its directory. None: a blank that nobody claimed.
fn boot(home: Home, steps: &mut Steps) -> Result<Option<(Home, Arc<Hold>, UnixListener)>, DriverError> {
    let boot = read_spec(&home)?;
    let shim = ProcessId::of(std::process::id().cast_signed())
        .ok_or_else(|| DriverError::new("cannot read this process' start time"))?;
    let state = home.state_path();
    let note = |init| home.write_json(&state, &ShimState { shim, init }).map_err(files_failed);
    note(None)?;
    detach::enter_mount_namespace(&boot.data_dir, &boot.slot.path())?;
    steps.done("detach");
    let note = |pid| note(ProcessId::of(pid));
    let (home, guest, reader) = if boot.blank {
        let Some(claimed) = blank::boot(&home, &boot, steps, &note)? else { return Ok(None) };
        claimed
    } else {
        let (guest, reader) = launch(&home, &boot, steps, &note)?;
        (home, guest, reader)
    };
    match listen(&home) {
        Ok(listener) => {
            let hold = Hold::new(guest, reader.version);
            let hold = Arc::new(hold.map_err(|e| DriverError::because("cannot reach the agent", &e))?);
            agent::follow(Arc::clone(&hold), reader);
            Ok(Some((home, hold, listener)))
        }
        Err(error) => Err(given_up(guest.as_ref(), error)),
    }
}

fn files_failed(error: crate::SandboxError) -> DriverError {
    DriverError::because("cannot read or write the sandbox's files", &error)
}

fn read_spec(home: &Home) -> Result<BootSpec, DriverError> {
    home.boot_spec().map_err(files_failed)
}

/// Until the agent is ready. `note` writes down the process whose end is the sandbox's end.
fn launch(
    home: &Home,
    boot: &BootSpec,
    steps: &mut Steps,
    note: &dyn Fn(i32) -> Result<(), DriverError>,
) -> Result<(Box<dyn Guest>, agent::Reader), DriverError> {
    let mut round = 1;
    loop {
        let guest = driver::of(boot).launch(home, boot)?;
        steps.done("launch");
        note(guest.pid())?;
        let greeted = agent::meet(guest.as_ref())
            .and_then(|reader| agent::configure(guest.as_ref(), reader, &boot.spec.hostname));
        steps.done("agent");
        match greeted {
            Ok(reader) => return Ok((guest, reader)),
            Err(error) if error.is_silence() && guest.is_moody() && round < ROUNDS_MAX => round += 1,
            Err(error) => return Err(given_up(guest.as_ref(), error)),
        }
        end(guest.as_ref());
        let _ = guest.clean_up();
    }
}

/// Leaves nothing of the sandbox, and says all that there is to say about why.
fn given_up(guest: &dyn Guest, error: DriverError) -> DriverError {
    end(guest);
    let error = match guest.last_words().filter(|_| !error.is_told()) {
        Some(words) => DriverError::new(format!("{error}; its console ends with: {words}")),
        None => error,
    };
    // What is said is why it failed, not what followed.
    let _ = guest.clean_up();
    error
}

fn listen(home: &Home) -> Result<UnixListener, DriverError> {
    let failed = |error: std::io::Error| DriverError::because("cannot listen for the supervisor", &error);
    let (_dir, path) = short_path(&home.dir, SHIM_SOCKET).map_err(failed)?;
    UnixListener::bind(path).map_err(failed)
}

fn end(guest: &dyn Guest) {
    guest.kill();
    guest.wait(END_TIME_MAX);
}

/// Holds the sandbox to its end, then its last words until they are taken.
fn live(home: &Home, hold: &Arc<Hold>) {
    hold.watch_guest();
    let reason = hold.wait_for_end();
    end(hold.guest());
    // The agent's side of the connection is closed now: what it wrote before is read to the end.
    hold.wait_for_last_output(END_TIME_MAX);
    let reason = match hold.guest().clean_up() {
        Ok(()) => reason,
        Err(error) => format!("{reason}; {error}"),
    };
    hold.gone(reason);
    while !hold.wait_until_taken(LINGER_LOOK) {
        if !home.state_path().exists() {
            return;
        }
    }
}

fn say(report: &BootReport) {
    let mut line = serde_json::to_string(report).unwrap_or_default();
    line.push('\n');
    // A server that died meanwhile reads no report; it adopts or removes the sandbox when it comes back.
    let _ = std::io::stdout().write_all(line.as_bytes());
}

fn failed(error: &DriverError) -> ExitCode {
    say(&BootReport::Failed { why: error.to_string() });
    ExitCode::FAILURE
}
