//! Listening sockets that a service manager opened, or a server before this one left, and hands over (`sd_listen_fds(3)`): they
//! outlive a server, so that whoever connects while it restarts waits in the kernel's queue and is refused by nobody.
//!
//! A socket is told by its name: `edge` or `api`. One that has another name, or is none that listens on TCP, is refused: it would
//! be a port on which nobody ever answers.

use crate::failure::Failure;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::socket_acceptconn;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Where they begin.
pub(super) const FIRST: RawFd = 3;
/// The edge has one for each of its threads.
const COUNT_MAX: RawFd = 1024;

/// What was handed over.
#[derive(Debug, Default)]
pub(super) struct Handed {
    pub(super) edge: Vec<TcpListener>,
    pub(super) api: Option<TcpListener>,
}

impl Handed {
    /// Takes them. To be called once, before anything else opens a file.
    ///
    /// # Errors
    /// When one is not usable.
    pub(super) fn take() -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let names =
            names(&variable("LISTEN_PID"), &variable("LISTEN_FDS"), &variable("LISTEN_FDNAMES"), std::process::id())?;
        let mut handed = Self::default();
        for (fd, name) in (FIRST..).zip(&names) {
            // SAFETY: who started this process says by its id that this descriptor is its own; nothing in it has opened or
            // taken one yet, and each number is taken once.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            let listener = listener(fd, name)?;
            match name.as_str() {
                "edge" => handed.edge.push(listener),
                _ if handed.api.is_none() => handed.api = Some(listener),
                _ => return Err(Failure::usage("two sockets with the name `api` were handed over")),
            }
        }
        Ok(handed)
    }
}

fn listener(fd: OwnedFd, name: &str) -> Result<TcpListener, Failure> {
    let unusable = |why: &dyn std::error::Error| {
        let message = format!("the socket `{name}` that was handed over is none that listens on TCP");
        Failure::usage(message).caused_by(why)
    };
    // Programs that the server starts must not have it.
    fcntl_setfd(&fd, FdFlags::CLOEXEC).map_err(|error| unusable(&error))?;
    match socket_acceptconn(&fd) {
        Ok(true) => {}
        Ok(false) => return Err(unusable(&std::io::Error::other("it does not listen"))),
        Err(error) => return Err(unusable(&error)),
    }
    let listener = TcpListener::from(fd);
    listener.local_addr().map_err(|error| unusable(&error))?;
    listener.set_nonblocking(true).map_err(|error| unusable(&error))?;
    Ok(listener)
}

/// Names of the sockets, in their order: none, when they are another process's.
fn names(pid: &str, count: &str, names: &str, own: u32) -> Result<Vec<String>, Failure> {
    if pid.parse() != Ok(own) {
        return Ok(Vec::new());
    }
    let count: RawFd = count.parse().unwrap_or_default();
    let names: Vec<String> = names.split(':').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let known = names.iter().all(|name| matches!(name.as_str(), "edge" | "api"));
    if !(0..=COUNT_MAX).contains(&count) || names.len() != usize::try_from(count).unwrap_or_default() || !known {
        return Err(Failure::usage(format!("{count} sockets were handed over as `{}`", names.join(":")))
            .hint("each is called `edge` or `api`: see `FileDescriptorName=` in the socket's unit"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_told_by_its_name_and_process() {
        let told = |pid, count, list| names(pid, count, list, 7).map_err(|failure| failure.in_one_line());
        assert_eq!(told("7", "1", "edge"), Ok(vec!["edge".to_owned()]));
        assert_eq!(told("7", "3", "api:edge:edge"), Ok(["api", "edge", "edge"].map(str::to_owned).to_vec()));
        for none in [told("8", "1", "edge"), told("", "", ""), told("7", "0", "")] {
            assert_eq!(none, Ok(Vec::new()));
        }
        for (count, list) in [("1", ""), ("1", "http"), ("2", "edge"), ("5000", "edge"), ("-1", "edge")] {
            assert!(told("7", count, list).is_err(), "{count} {list}");
        }
    }

    #[test]
    fn only_what_listens_is_taken() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = open.local_addr().unwrap();
        let taken = listener(open.try_clone().unwrap().into(), "edge").unwrap();
        assert_eq!(taken.local_addr().unwrap(), address);
        let stream = std::net::TcpStream::connect(address).unwrap();
        assert!(listener(stream.into(), "edge").is_err());
        assert!(listener(std::fs::File::open("/dev/null").unwrap().into(), "edge").is_err());
    }
}
