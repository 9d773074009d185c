//! One client connection, from its accept to its end.

use crate::activity::{Activity, ClientIo};
use crate::head::Peer;
use crate::limits::{CLIENT_BUFFER_BYTES_MAX, HEADER_BYTES_MAX, TCP_KEEPALIVE};
use crate::proxy;
use crate::worker::Worker;
use http::HeaderValue;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use socket2::{SockRef, TcpKeepalive};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

/// The longest and shortest time between two looks at a connection's timeouts.
const LOOK_MAX: Duration = Duration::from_secs(5);
const LOOK_MIN: Duration = Duration::from_millis(20);
/// Who was accepted just before a shutdown has its first request on the way: it is not sent away without an answer.
const FIRST_REQUEST_WAIT: Duration = Duration::from_secs(1);

/// What all requests of one connection share.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) worker: Arc<Worker>,
    pub(crate) activity: Arc<Activity>,
    pub(crate) peer: Peer,
    /// One of the connections that the edge may hold; also while upgraded.
    _place: OwnedSemaphorePermit,
}

impl Client {
    pub(crate) fn new(worker: Arc<Worker>, address: SocketAddr, place: OwnedSemaphorePermit) -> Self {
        let text = address.ip().to_canonical().to_string();
        let address = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let peer = Peer { address, trusted: worker.trust_forwarded };
        let activity = Arc::new(Activity::new(worker.counts.clone()));
        Self { worker, activity, peer, _place: place }
    }
}

/// Serves until either side ends it, it is overdue, or the shutdown finds it idle.
pub(crate) async fn serve(client: Client, stream: TcpStream, shutdown: CancellationToken) {
    prepare(&stream);
    let client = Arc::new(client);
    let limits = &client.worker.limits;
    let io = ClientIo::new(stream, client.activity.clone());
    let service = service_fn(|request| {
        client.activity.request_began();
        proxy::answer(client.clone(), request)
    });
    let mut builder = Builder::new();
    builder
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(CLIENT_BUFFER_BYTES_MAX)
        // `Activity` does this, and knows a slow head from an idle connection.
        .header_read_timeout(None);
    let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
    let look = (limits.header_read_timeout / 4).clamp(LOOK_MIN, LOOK_MAX);
    let mut timer = pin!(tokio::time::sleep(look));
    let mut closing = false;
    let mut stop = pin!(stop(&shutdown, &client.activity));
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "client connection ended");
                }
                return;
            }
            () = stop.as_mut(), if !closing => {
                closing = true;
                connection.as_mut().graceful_shutdown();
            }
            () = timer.as_mut() => {
                if let Some(why) = client.activity.overdue(limits) {
                    return tracing::debug!(why, "client connection cut");
                }
                timer.as_mut().reset(tokio::time::Instant::now() + look);
            }
        }
    }
}

/// The time to close an idle connection.
async fn stop(shutdown: &CancellationToken, activity: &Activity) {
    shutdown.cancelled().await;
    if !activity.has_begun() {
        tokio::time::sleep(FIRST_REQUEST_WAIT).await;
    }
}

fn prepare(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE / 4);
    let set = stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = set {
        tracing::debug!(%error, "socket options of a client connection");
    }
}
