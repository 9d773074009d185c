//! Servers outside, which redirect rules with status 200 and a URL lead to.
//!
//! What it guarantees:
//!
//! - A connection goes to an address that was checked, never to what a second look-up may say.
//! - A certificate is always checked.
//! - Nothing of a request is sent twice: each has a connection of its own, and only making one is tried again.
//! - A request that comes back here ends after a few rounds.

mod address;
mod destination;
mod exchange;
mod tls;

pub use address::{Network, NetworkError};
pub(crate) use exchange::Passage;

use crate::backend::Sender;
use crate::limits::{OUTSIDE_ADDRESSES_MAX, OUTSIDE_LOOKUPS_MAX};
use crate::upstream::{self, ConnectError};
use destination::Destination;
use rustls::ClientConfig;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tls::{SetupError, TlsError};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, Semaphore};

/// What rules may reach outside of this server.
#[derive(Debug, Clone, Default)]
pub struct ProxyConfig {
    /// Addresses that are let through although they are not public, or are this machine's own.
    pub allow: Vec<Network>,
    /// Certificates to trust beside the machine's, as PEM.
    pub ca_bundle: Option<PathBuf>,
}

/// Makes connections to servers outside, for all threads.
#[derive(Debug)]
pub(crate) struct Outside {
    config: ProxyConfig,
    /// Read when it is first needed: most edges never do.
    tls: OnceCell<Arc<ClientConfig>>,
    /// A resolver that does not answer must not take the threads that read files.
    lookups: Arc<Semaphore>,
}

/// Why there is no connection. Nothing was sent.
#[derive(Debug, thiserror::Error)]
enum OutsideError {
    #[error("all of its addresses are closed")]
    Refused,
    #[error("its name was not resolved within {0:?}")]
    LookupTimedOut(Duration),
    #[error("its name cannot be resolved: {0}")]
    Lookup(io::Error),
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    #[error("connection failed: {0}")]
    Failed(io::Error),
    #[error(transparent)]
    Http(ConnectError),
    #[error(transparent)]
    Tls(TlsError),
    #[error("no encrypted connection within {0:?}")]
    TlsTimedOut(Duration),
}

impl Outside {
    pub(crate) fn new(config: ProxyConfig) -> Self {
        Self { config, tls: OnceCell::new(), lookups: Arc::new(Semaphore::new(OUTSIDE_LOOKUPS_MAX)) }
    }

    /// `timeout` is for each step: name, connection, encryption.
    async fn connect(&self, to: &Destination, timeout: Duration) -> Result<Sender, OutsideError> {
        let found = self.addresses(to, timeout).await?;
        let open: Vec<SocketAddr> = found
            .iter()
            .copied()
            .filter(|address| address::is_open(address.ip(), &self.config.allow))
            .take(OUTSIDE_ADDRESSES_MAX)
            .collect();
        if open.is_empty() {
            // Not for the client: it would learn names and addresses of a network that is not its own.
            tracing::warn!(host = to.host, addresses = ?found, "a rule leads to addresses that are not public");
            return Err(OutsideError::Refused);
        }
        let stream = self.connect_to_one(&open, timeout).await?;
        let failed = OutsideError::Http;
        if !to.is_https {
            return upstream::handshake(stream).await.map_err(failed);
        }
        let config = self.tls().await.map_err(|error| OutsideError::Tls(TlsError::Setup(error)))?;
        let stream = tokio::time::timeout(timeout, tls::handshake(config, &to.host, stream))
            .await
            .map_err(|_| OutsideError::TlsTimedOut(timeout))?
            .map_err(|error| OutsideError::Tls(TlsError::Peer(error)))?;
        upstream::handshake(stream).await.map_err(failed)
    }

    async fn addresses(&self, to: &Destination, timeout: Duration) -> Result<Vec<SocketAddr>, OutsideError> {
        if let Ok(address) = to.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, to.port)]);
        }
        let (host, port, lookups) = (to.host.clone(), to.port, self.lookups.clone());
        let lookup = async {
            let place = lookups.acquire_owned().await.map_err(io::Error::other)?;
            let looking = move || {
                // Given back when the resolver has answered, also when nobody waits for it any more.
                let _place = place;
                (host.as_str(), port).to_socket_addrs().map(Iterator::collect)
            };
            tokio::task::spawn_blocking(looking).await.map_err(io::Error::other)?
        };
        let found = tokio::time::timeout(timeout, lookup).await.map_err(|_| OutsideError::LookupTimedOut(timeout))?;
        found.map_err(OutsideError::Lookup)
    }

    /// The first that takes a connection; all together have `timeout`.
    async fn connect_to_one(&self, addresses: &[SocketAddr], timeout: Duration) -> Result<TcpStream, OutsideError> {
        let share = timeout / u32::try_from(addresses.len()).unwrap_or(1).max(1);
        let mut last = OutsideError::Refused;
        for address in addresses {
            last = match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => match self.is_here(&stream) {
                    Ok(false) => return Ok(stream),
                    Ok(true) => {
                        tracing::warn!(%address, "a rule leads to an address of this machine");
                        OutsideError::Refused
                    }
                    Err(error) => OutsideError::Failed(error),
                },
                Ok(Err(error)) => OutsideError::Failed(error),
                Err(_) => OutsideError::TimedOut(share),
            };
        }
        Err(last)
    }

    /// The machine's own public address is as private as loopback: what listens there may rely on a firewall outside.
    fn is_here(&self, stream: &TcpStream) -> io::Result<bool> {
        let (there, here) = (stream.peer_addr()?.ip(), stream.local_addr()?.ip());
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY to a server outside");
        }
        Ok(there == here && !address::is_allowed(there, &self.config.allow))
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, SetupError> {
        let read = || async {
            let bundle = self.config.ca_bundle.clone();
            let reading = tokio::task::spawn_blocking(move || tls::config(bundle.as_deref()));
            reading.await.map_err(SetupError::Panicked)?
        };
        self.tls.get_or_try_init(read).await.cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_machine_s_own_addresses_are_closed_unless_allowed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        for (allow, expected) in [(vec![], true), (vec!["127.0.0.1".parse().unwrap()], false)] {
            let outside = Outside::new(ProxyConfig { allow, ca_bundle: None });
            assert_eq!(outside.is_here(&stream).unwrap(), expected);
        }
    }
}
