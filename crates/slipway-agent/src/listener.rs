//! Where the host dials: a unix socket in a container, a vsock port in a virtual machine.

use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Connections that wait to be accepted: the host has one, and a new one after a break.
const VSOCK_BACKLOG: i32 = 8;
/// What the kernel says of an address whose length and family it filled in.
const ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_vm>() as libc::socklen_t;

#[derive(Debug)]
pub(crate) enum Listener {
    Unix(UnixListener),
    Vsock(OwnedFd),
}

impl Listener {
    /// Only the agent's own user may connect: the tasks see the socket too.
    pub(crate) fn unix(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        rustix::process::umask(before);
        let listener = listener?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self::Unix(listener))
    }

    pub(crate) fn vsock(port: u32) -> io::Result<Self> {
        let flags = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let address = vsock_address(libc::VMADDR_CID_ANY, port);
        // SAFETY: plain system calls; `address` outlives them, and the descriptor is owned as soon as it is known to be one.
        unsafe {
            let fd = libc::socket(libc::AF_VSOCK, flags, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = OwnedFd::from_raw_fd(fd);
            if libc::bind(fd.as_raw_fd(), (&raw const address).cast(), ADDRESS_BYTES) != 0
                || libc::listen(fd.as_raw_fd(), VSOCK_BACKLOG) != 0
            {
                return Err(io::Error::last_os_error());
            }
            Ok(Self::Vsock(fd))
        }
    }

    /// The next connection of the host's, if one waits.
    pub(crate) fn accept(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(listener) => Ok(listener.accept()?.0.into()),
            Self::Vsock(listener) => accept_from_host(listener),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(listener) => listener.as_fd(),
            Self::Vsock(listener) => listener.as_fd(),
        }
    }
}

/// A task can dial the port too, where the kernel loops vsock back: whoever is not the host is hung up on.
fn accept_from_host(listener: &OwnedFd) -> io::Result<OwnedFd> {
    loop {
        let mut peer = vsock_address(0, 0);
        let mut length = ADDRESS_BYTES;
        // SAFETY: `peer` and `length` outlive the call, and `length` is the size of `peer`.
        let fd =
            unsafe { libc::accept4(listener.as_raw_fd(), (&raw mut peer).cast(), &raw mut length, libc::SOCK_CLOEXEC) };
        if fd < 0 {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(errno) if errno == Errno::INTR.raw_os_error() => continue,
                _ => return Err(error),
            }
        }
        // SAFETY: accept4 just returned it, and nothing else owns it.
        let stream = unsafe { OwnedFd::from_raw_fd(fd) };
        if peer.svm_cid == libc::VMADDR_CID_HOST {
            return Ok(stream);
        }
    }
}

fn vsock_address(cid: u32, port: u32) -> libc::sockaddr_vm {
    // SAFETY: all zero is a valid value of this plain struct.
    let mut address = unsafe { std::mem::zeroed::<libc::sockaddr_vm>() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = cid;
    address.svm_port = port;
    address
}
