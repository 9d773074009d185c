//! Starts the processes of a virtual machine without the rights of this one: a user of their own, the sandbox's cgroup and
//! network namespace, no way to new privileges, and their end with this process.

use super::DriverError;
use crate::network::Slot;
use crate::process::wait_fd;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

/// First user of virtual machines: in a range that systemd's and Debian's allocations leave alone.
const UID_BASE: u32 = 1_900_000_000;
/// Slots have four addresses; their low bits tell all slots of all servers of a machine apart.
const ADDRESS_BITS: u32 = 27;
/// Enough for a disk image each, and what an event loop needs.
const OPEN_FILES_MAX: u64 = 1024;

/// The user, and group, that a slot's machine runs as: nobody else's.
pub(crate) fn uid_of(slot: &Slot) -> u32 {
    UID_BASE + ((slot.guest.to_bits() & ((1 << ADDRESS_BITS) - 1)) >> 2)
}

#[derive(Debug)]
pub(crate) struct Confinement<'a> {
    /// `None`: a program that needs all rights and gives them up itself, such as a jailer.
    pub(crate) uid: Option<u32>,
    /// Beside its own: to open `/dev/kvm`.
    pub(crate) extra_group: Option<u32>,
    pub(crate) slot: &'a Slot,
    /// `cgroup.procs` of every hierarchy.
    pub(crate) cgroup: &'a [File],
}

/// A child of this process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Process {
    /// `kept` are the descriptors that it gets, under their own numbers.
    pub(crate) fn start(
        mut command: Command,
        confinement: &Confinement<'_>,
        kept: &[BorrowedFd<'_>],
    ) -> Result<Self, DriverError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let failed = |error: io::Error| DriverError::because(format!("cannot start `{program}`"), &error);
        let netns = File::open(confinement.slot.path()).map_err(failed)?;
        let cgroup: Vec<RawFd> = confinement.cgroup.iter().map(AsRawFd::as_raw_fd).collect();
        let kept: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
        let (uid, groups) = (confinement.uid, confinement.extra_group.into_iter().collect::<Vec<u32>>());
        let confine = move || become_confined(uid, &groups, netns.as_raw_fd(), &cgroup, &kept);
        // SAFETY: between fork and exec it only makes system calls; all that they take was made before.
        unsafe { command.pre_exec(confine) };
        let child = command.spawn().map_err(failed)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| DriverError::new(format!("`{program}` has no process id")))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(errno.into()))?;
        Ok(Self { pid, pidfd })
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether it ended within `bound`; once true, always true.
    pub(crate) fn wait(&self, bound: Duration) -> bool {
        let ended = wait_fd(&self.pidfd, bound);
        if ended {
            // Only the first caller finds it.
            let _ = waitpid(Some(self.pid), WaitOptions::NOHANG);
        }
        ended
    }

    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// In the child, before the exec.
fn become_confined(uid: Option<u32>, groups: &[u32], netns: RawFd, cgroup: &[RawFd], kept: &[RawFd]) -> io::Result<()> {
    let check = |result: i32| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    let core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let files = libc::rlimit { rlim_cur: OPEN_FILES_MAX, rlim_max: OPEN_FILES_MAX };
    // SAFETY: plain system calls on descriptors that are open, with buffers and structs that outlive them.
    unsafe {
        for procs in cgroup {
            if libc::write(*procs, b"0".as_ptr().cast(), 1) != 1 {
                return Err(io::Error::last_os_error());
            }
        }
        check(libc::setns(netns, libc::CLONE_NEWNET))?;
        check(libc::unshare(libc::CLONE_NEWIPC | libc::CLONE_NEWUTS))?;
        check(libc::setrlimit(libc::RLIMIT_CORE, &raw const core))?;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const files))?;
        if let Some(uid) = uid {
            check(libc::setgroups(groups.len(), groups.as_ptr()))?;
            check(libc::setresgid(uid, uid, uid))?;
            check(libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0))?;
            check(libc::setresuid(uid, uid, uid))?;
            keep_until_exec(CAP_DAC_READ_SEARCH)?;
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        // A change of user forgets it: last.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0))?;
        for fd in kept {
            check(libc::fcntl(*fd, libc::F_SETFD, 0))?;
        }
    }
    Ok(())
}

/// capabilities(7): passes through directories that are closed to others, such as root's own, in which the program may lie.
const CAP_DAC_READ_SEARCH: u32 = 2;

/// Gives up all capabilities but one, which the exec takes: a user that is not root has none after it.
fn keep_until_exec(capability: u32) -> io::Result<()> {
    /// capset(2), version 3: the second half of each set has the capabilities from 32 on.
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Sets {
        effective: u32,
        permitted: u32,
        inheritable: u32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let none = Sets { effective: 0, permitted: 0, inheritable: 0 };
    let sets = [Sets { effective: 1 << capability, permitted: 1 << capability, ..none }, none];
    // SAFETY: both structs have the layout that the call reads, and outlive it.
    match unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn slots_have_users_of_their_own() {
        let slot = |guest: [u8; 4]| Slot {
            index: 0,
            namespace: String::new(),
            device: String::new(),
            host: Ipv4Addr::UNSPECIFIED,
            guest: guest.into(),
        };
        let uids = [[10, 201, 0, 2], [10, 201, 0, 6], [10, 202, 0, 2], [10, 201, 255, 254]].map(|g| uid_of(&slot(g)));
        let different: std::collections::BTreeSet<u32> = uids.into_iter().collect();
        assert_eq!(different.len(), uids.len());
        assert!(uids.into_iter().all(|uid| (UID_BASE..i32::MAX as u32).contains(&uid)));
    }
}
