//! The sockets that the threads accept on.

use crate::limits::ACCEPT_BACKLOG;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// A bound listener, before it is handed out to the threads.
#[derive(Debug)]
pub struct EdgeListener {
    first: TcpListener,
    /// Each thread gets a socket of its own at the same address; else all share the one.
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
        Ok(Self { first: listen(address, true)?, reuse: true })
    }

    /// # Errors
    /// When the socket has no address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }

    pub(crate) fn split(self, threads: usize) -> io::Result<Vec<TcpListener>> {
        let address = self.first.local_addr()?;
        let mut sockets = Vec::with_capacity(threads);
        for _ in 1..threads {
            sockets.push(if self.reuse { listen(address, true)? } else { self.first.try_clone()? });
        }
        sockets.push(self.first);
        Ok(sockets)
    }
}

/// A listener that was bound elsewhere, such as by socket activation.
impl TryFrom<TcpListener> for EdgeListener {
    type Error = io::Error;

    fn try_from(first: TcpListener) -> io::Result<Self> {
        first.set_nonblocking(true)?;
        Ok(Self { first, reuse: false })
    }
}

impl TryFrom<tokio::net::TcpListener> for EdgeListener {
    type Error = io::Error;

    fn try_from(listener: tokio::net::TcpListener) -> io::Result<Self> {
        Self::try_from(listener.into_std()?)
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
        assert_eq!(first.split(3).unwrap().len(), 3);
    }
}
