//! A blank: a sandbox that is booted until its agent greets, and is nobody's yet. It has nothing of any app.
//!
//! Its shim says on standard output that it stands ready, and reads from standard input the directory of the sandbox that it is to
//! become: its own, under another name. It then reads that sandbox's spec, takes its files in, configures the agent and is a shim
//! like any other. The end of standard input is the end of the server or of its interest: nothing is left running then.

use super::{Steps, agent, given_up, read_spec, say};
use crate::driver::{self, DriverError, Guest};
use crate::home::{BootSpec, Home};
use crate::wire::{BootReport, CLAIM_BYTES_MAX};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::{BufRead, Read};

/// The sandbox's directory, what runs, and its agent, which is ready.
type Claimed = (Home, Box<dyn Guest>, agent::Reader);

/// None: nobody claimed it, and nothing is left of it.
pub(super) fn boot(
    home: &Home,
    boot: &BootSpec,
    steps: &mut Steps,
    note: &dyn Fn(i32) -> Result<(), DriverError>,
) -> Result<Option<Claimed>, DriverError> {
    let mut guest = driver::of(boot).launch_blank(home, boot)?;
    steps.done("launch");
    let met = note(guest.pid()).and_then(|()| agent::meet(guest.as_ref()));
    steps.done("agent");
    let reader = match met {
        Ok(reader) => reader,
        Err(error) => return Err(given_up(guest.as_ref(), error)),
    };
    say(&BootReport::Ready { steps: std::mem::take(&mut steps.taken) });
    let claimed = match wait_for_claim(guest.as_ref(), &reader) {
        Ok(Some(home)) => home,
        Ok(None) => {
            super::end(guest.as_ref());
            return guest.clean_up().map(|()| None);
        }
        Err(error) => return Err(given_up(guest.as_ref(), error)),
    };
    steps.done("wait");
    steps.taken.clear();
    match become_sandbox(&claimed, guest.as_mut(), reader, steps) {
        Ok(reader) => Ok(Some((claimed, guest, reader))),
        Err(error) => Err(given_up(guest.as_ref(), error)),
    }
}

fn become_sandbox(
    home: &Home,
    guest: &mut dyn Guest,
    reader: agent::Reader,
    steps: &mut Steps,
) -> Result<agent::Reader, DriverError> {
    let boot = read_spec(home)?;
    guest.attach(home, &boot)?;
    steps.done("attach");
    let reader = agent::configure(guest, reader, &boot.spec.hostname)?;
    steps.done("configure");
    Ok(reader)
}

/// The directory that was claimed for. A blank that ends, or whose agent speaks without being asked, is an error.
fn wait_for_claim(guest: &dyn Guest, reader: &agent::Reader) -> Result<Option<Home>, DriverError> {
    let failed = |error: std::io::Error| DriverError::because("cannot wait for a claim", &error);
    let pid = Pid::from_raw(guest.pid()).ok_or_else(|| DriverError::new("the blank has no process"))?;
    let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(errno.into()))?;
    let (stdin, stream) = (std::io::stdin(), guest.stream().map_err(failed)?);
    let mut polled =
        [stdin.as_fd(), process.as_fd(), stream.as_fd()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    loop {
        match poll(&mut polled, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(failed(errno.into())),
        }
        let [claim, end, words] = [0, 1, 2].map(|index: usize| !polled[index].revents().is_empty());
        if end {
            return Err(DriverError::new("it ended while it waited to be claimed"));
        }
        if words || reader.holds_words() {
            return Err(DriverError::new("its agent spoke without being asked"));
        }
        if claim {
            let mut line = String::new();
            stdin.lock().take(CLAIM_BYTES_MAX).read_line(&mut line).map_err(failed)?;
            return Ok(line.strip_suffix('\n').map(Home::new));
        }
    }
}
