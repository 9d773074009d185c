//! Signals as readable events. They are blocked, not handled: a blocked signal reaches PID 1 too, which the kernel would
//! otherwise spare every signal that it has no handler for.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

pub(crate) struct Signals(OwnedFd);

/// What came since the last look.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) child: bool,
    pub(crate) terminate: bool,
}

impl Signals {
    pub(crate) fn block() -> io::Result<Self> {
        // SAFETY: `set` is initialised by sigemptyset before any use; the calls only read or fill it.
        let fd = unsafe {
            let mut set = std::mem::zeroed::<libc::sigset_t>();
            libc::sigemptyset(&raw mut set);
            for signal in [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT] {
                libc::sigaddset(&raw mut set, signal);
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: signalfd just returned it, and nothing else owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(crate) fn take(&self) -> Pending {
        let mut pending = Pending::default();
        loop {
            // SAFETY: all zero is a valid value of this plain struct.
            let mut info = unsafe { std::mem::zeroed::<libc::signalfd_siginfo>() };
            let size = size_of_val(&info);
            // SAFETY: the buffer is `info`, of exactly that size.
            let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
            if usize::try_from(read) != Ok(size) {
                return pending;
            }
            match i32::try_from(info.ssi_signo) {
                Ok(libc::SIGCHLD) => pending.child = true,
                _ => pending.terminate = true,
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// For a child between fork and exec: nothing blocked, nothing ignored (Rust's start ignores SIGPIPE, and whoever started the
/// agent may have ignored others).
pub(crate) fn reset_in_child() {
    /// The kernel's `struct sigaction`, large enough on every 64-bit machine; all zero means "the default".
    const DEFAULT: [u64; 4] = [0; 4];
    const SET_BYTES: usize = 8;
    let none: *const u64 = std::ptr::null();
    // SAFETY: plain system calls with buffers of the kernel's sizes. Not by libc: it refuses the two signals that it uses itself.
    unsafe {
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, DEFAULT.as_ptr(), none, SET_BYTES);
        }
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, DEFAULT.as_ptr(), none, SET_BYTES);
    }
}
