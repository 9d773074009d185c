//! Connections to replicas and to servers outside, and one request on one of them.

use crate::backend::Sender;
use crate::body::RequestBody;
use crate::connection::Client;
use crate::limits::{UPSTREAM_BUFFER_BYTES_MAX, UPSTREAM_HEADER_BYTES_MAX};
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
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
    handshake(stream).await
}

/// Drives what is connected already.
pub(crate) async fn handshake<S>(stream: S) -> Result<Sender, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = Builder::new()
        .max_header_size(UPSTREAM_HEADER_BYTES_MAX)
        .max_buf_size(UPSTREAM_BUFFER_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ConnectError::Handshake)?;
    tokio::spawn(async move {
        // The request that it breaks gets the error too, with the words for its client.
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "connection to a replica or a server outside ended");
        }
    });
    Ok(sender)
}

/// What became of a request on one connection.
pub(crate) enum Sent {
    Response(Response<Incoming>),
    /// The connection was closed before it took any of the request.
    Unsent(Request<RequestBody>, hyper::Error),
    /// It broke after some or all of the request was sent.
    Broken(hyper::Error),
    TimedOut,
}

/// Sends, and waits for the head of the answer.
pub(crate) async fn send(client: &Client, sender: &mut Sender, request: Request<RequestBody>) -> Sent {
    let limit = client.worker.limits.response_header_timeout;
    let uploads = !request.body().is_end_stream();
    let mut answer = pin!(sender.try_send_request(request));
    let mut wait = limit;
    loop {
        match tokio::time::timeout(wait, answer.as_mut()).await {
            Ok(Ok(response)) => return Sent::Response(response),
            Ok(Err(mut error)) => {
                return match error.take_message() {
                    Some(mut request) => {
                        request.body_mut().uncount();
                        Sent::Unsent(request, error.into_error())
                    }
                    None => Sent::Broken(error.into_error()),
                };
            }
            // An upload that still moves is not late.
            Err(_) if uploads && client.activity.still_for() < limit => {
                wait = limit.saturating_sub(client.activity.still_for());
            }
            Err(_) => return Sent::TimedOut,
        }
    }
}
