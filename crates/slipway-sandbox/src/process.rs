//! A process named so that a reused pid is never mistaken for it: pid and start time.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    /// Clock ticks since the machine booted, as `/proc/<pid>/stat` says.
    pub(crate) started: u64,
}

impl ProcessId {
    /// The process that has this pid now; none when there is none or it is a zombie.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = parse_stat(&stat)?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, started })
    }

    pub(crate) fn alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// A descriptor of exactly this process, so that what follows cannot hit another one.
    fn open(self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        self.alive().then_some(fd)
    }

    /// Sends SIGKILL and waits for the end. True: it is gone.
    pub(crate) fn kill_and_wait(self, bound: Duration) -> bool {
        let Some(fd) = self.open() else { return true };
        // It may end in between: then there is nothing to kill and the wait returns at once.
        let _ = pidfd_send_signal(&fd, Signal::KILL);
        wait_fd(&fd, bound)
    }

    /// True: it ended within `bound`.
    pub(crate) fn wait(self, bound: Duration) -> bool {
        self.open().is_none_or(|fd| wait_fd(&fd, bound))
    }
}

/// Waits until the process of a pidfd has ended.
pub(crate) fn wait_fd(fd: &OwnedFd, bound: Duration) -> bool {
    let timeout = rustix::event::Timespec {
        tv_sec: i64::try_from(bound.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(bound.subsec_nanos()),
    };
    matches!(poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)), Ok(count) if count > 0)
}

/// State and start time. The name in brackets may hold anything, so fields are counted behind the last one.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // The start time is field 22 of the line; the state is field 3.
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_its_pid_and_start() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let id = ProcessId::of(child.id() as i32).unwrap();
        assert!(id.alive());
        assert!(!ProcessId { started: id.started + 1, ..id }.alive(), "same pid, other process");
        assert!(!id.wait(Duration::from_millis(1)));
        assert!(id.kill_and_wait(Duration::from_secs(5)));
        assert!(!id.alive(), "a zombie counts as gone");
        child.wait().unwrap();
    }

    #[test]
    fn stat_with_brackets_in_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(parse_stat(stat), Some(('S', 4242)));
    }
}
