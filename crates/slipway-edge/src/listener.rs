//! The sockets that the threads accept on.

use crate::limits::ACCEPT_BACKLOG;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};

/// A bound listener, before it is handed out to the threads.
#[derive(Debug)]
pub struct EdgeListener {
    /// At least one, all at the same address.
    sockets: Vec<TcpListener>,
    /// Each thread gets a socket of its own; else all share the first.
    reuse: bool,
}

impl EdgeListener {
    /// Binds `address`; the kernel spreads connections over the threads.
    ///
    /// # Errors
    /// When the address cannot be bound. Another listener there is an error, though the sockets share a port.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        // Without this, a second server of the same user would quietly take half of the connections.
        let probe = listen(address, false)?;
        let address = probe.local_addr()?;
        drop(probe);
        Ok(Self { sockets: vec![listen(address, true)?], reuse: true })
    }

    /// With a socket for each thread that an edge has where nothing else is configured, so that [`Self::duplicates`] are all of them.
    ///
    /// # Errors
    /// When the process may not open more files.
    pub fn widened(mut self) -> io::Result<Self> {
        self.widen(threads())?;
        Ok(self)
    }

    /// # Errors
    /// When the socket has no address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.sockets.first().ok_or(io::ErrorKind::NotConnected)?.local_addr()
    }

    /// All of its sockets once more. While one of these is open, who connects waits in its queue and is refused by nobody, also
    /// after the edge has ended.
    ///
    /// # Errors
    /// When the process may not open more files.
    pub fn duplicates(&self) -> io::Result<Vec<OwnedFd>> {
        self.sockets.iter().map(|socket| socket.as_fd().try_clone_to_owned()).collect()
    }

    /// One for each thread; more where there are more: nobody may wait at a socket that no thread accepts on.
    pub(crate) fn split(mut self, threads: usize) -> io::Result<Vec<TcpListener>> {
        self.widen(threads)?;
        Ok(self.sockets)
    }

    fn widen(&mut self, threads: usize) -> io::Result<()> {
        while self.sockets.len() < threads {
            let another = match self.sockets.first() {
                Some(first) if !self.reuse => first.try_clone()?,
                _ => listen(self.address()?, true)?,
            };
            self.sockets.push(another);
        }
        Ok(())
    }
}

/// As many as work where nothing else is configured.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Listeners that were bound elsewhere, such as by socket activation: one, or several that share their address.
impl TryFrom<Vec<TcpListener>> for EdgeListener {
    type Error = io::Error;

    fn try_from(sockets: Vec<TcpListener>) -> io::Result<Self> {
        let first = sockets.first().ok_or(io::ErrorKind::InvalidInput)?;
        let reuse = SockRef::from(first).reuse_port()?;
        for socket in &sockets {
            socket.set_nonblocking(true)?;
            if socket.local_addr()? != first.local_addr()? {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "they have different addresses"));
            }
        }
        Ok(Self { sockets, reuse })
    }
}

fn listen(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_an_error() {
        let first = EdgeListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = first.address().unwrap();
        let error = EdgeListener::bind(address).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(first.split(64).unwrap().len(), 64);
    }

    #[test]
    fn what_was_bound_elsewhere_goes_on_as_it_was() {
        for reuse in [false, true] {
            let first = listen(([127, 0, 0, 1], 0).into(), reuse).unwrap();
            let address = first.local_addr().unwrap();
            let handed = EdgeListener::try_from(vec![first]).unwrap();
            let duplicates = handed.duplicates().unwrap();
            assert_eq!(handed.split(64).unwrap().len(), 64);
            // The edge has ended; who connects waits.
            std::net::TcpStream::connect(address).unwrap();
            drop(duplicates);
            assert!(std::net::TcpStream::connect(address).is_err());
        }
        let other = || listen(([127, 0, 0, 1], 0).into(), true).unwrap();
        assert!(EdgeListener::try_from(vec![other(), other()]).is_err());
        assert!(EdgeListener::try_from(Vec::new()).is_err());
    }
}
