//! Making a connection to a replica.

use crate::backend::Sender;
use crate::limits::{UPSTREAM_BUFFER_BYTES_MAX, UPSTREAM_HEADER_BYTES_MAX};
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// Why there is no connection. The request was not sent: any other replica may get it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
    #[error("connection failed: {0}")]
    Failed(std::io::Error),
    #[error("connection failed: {0}")]
    Handshake(hyper::Error),
}

/// Connects, and drives the connection by a task of this thread's runtime until either side ends it.
pub(crate) async fn connect(address: SocketAddr, timeout: Duration) -> Result<Sender, ConnectError> {
    let stream = tokio::time::timeout(timeout, TcpStream::connect(address))
        .await
        .map_err(|_| ConnectError::TimedOut(timeout))?
        .map_err(ConnectError::Failed)?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY to a replica");
    }
    let (sender, connection) = Builder::new()
        .max_header_size(UPSTREAM_HEADER_BYTES_MAX)
        .max_buf_size(UPSTREAM_BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ConnectError::Handshake)?;
    tokio::spawn(async move {
        // The request that it breaks gets the error too, with the words for its client.
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%address, %error, "connection to a replica ended");
        }
    });
    Ok(sender)
}
