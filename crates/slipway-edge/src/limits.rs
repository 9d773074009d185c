//! Every bound of the edge, with its reason. The constants are the defaults; a test or an operator may set others.

use std::time::Duration;

/// Request head in bytes, all lines. Twice what Node.js accepts, so that the app decides first.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Header fields in one head: the size that hyper parses without an allocation. More: 431.
pub const HEADERS_MAX: usize = 100;
/// Read buffer of one client connection; a head that does not fit in it is answered with 431.
pub const CLIENT_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Read buffer of one upstream connection, and so the most of a response that waits for a slow client.
pub const UPSTREAM_BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Response head in bytes.
pub const UPSTREAM_HEADER_BYTES_MAX: usize = 64 * 1024;
/// From the first byte of a request (or the start of a connection) to the end of its head.
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(15);
/// A client connection with no request. Longer than the 60 s of common load balancers in front.
pub const CLIENT_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// A request in flight in which no byte moves to or from the client.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(600);
/// An upgraded connection (WebSocket) in which no byte moves.
pub const UPGRADED_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// One TCP connection to a replica. Above the kernel's first retransmission of a SYN at 1 s and 3 s.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the last byte of the request to the head of the response; then 504.
pub const RESPONSE_HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// An upstream connection kept for reuse. Node.js closes its side after 5 s, so ours must go well before.
pub const UPSTREAM_IDLE_TIMEOUT: Duration = Duration::from_millis(3500);
/// The same for a request that must not be sent twice: a wider margin, because nothing can be done when it breaks.
pub const UPSTREAM_IDLE_UNREPEATABLE: Duration = Duration::from_millis(1000);
/// Idle upstream connections of one replica in one thread.
pub const UPSTREAM_IDLE_MAX: usize = 256;
/// Connections that could not be established in one request before it is answered with 502. With the waits in between two and a
/// half seconds: long enough for a busy machine to notice that a replica has ended, and to say where its requests go.
pub const CONNECT_ATTEMPTS_MAX: u32 = 9;
/// First wait before a replica that refused is tried again; doubles with each attempt.
pub const CONNECT_BACKOFF: Duration = Duration::from_millis(20);
/// Up to 640 ms: whoever waits longer hears too late of a replica that is back.
pub const CONNECT_DOUBLINGS_MAX: u32 = 5;
/// Reused connections found broken in one request before it is given a fresh one.
pub const STALE_ATTEMPTS_MAX: u32 = 3;
/// Route tables that may replace each other while one request picks its target.
pub const PICK_ATTEMPTS_MAX: u32 = 64;
/// Client connections of all threads together. Past it new ones wait in the kernel's queue.
pub const CONNECTIONS_MAX: usize = 16 * 1024;
/// Connections that the kernel holds until they are accepted.
pub const ACCEPT_BACKLOG: i32 = 4096;
/// After a failed accept (out of file descriptors, say) before the next.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// From the shutdown to the end of requests that still run.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(10);
/// Between two sweeps of idle upstream connections.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Idle time and probes after which the kernel gives up on a client that vanished.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// Manifest of a site. The host writes none that is larger.
pub const SITE_MANIFEST_BYTES_MAX: u64 = slipway_types::site::MANIFEST_BYTES_MAX;
/// Reading one. More than a slow disk needs for the largest.
pub const SITE_LOAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts at sites that could not be read while a route keeps what it had.
pub const SITE_RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long such sites hold up the confirmation of a table, and with it the deployments of all services. Then they are in
/// force and answer 503.
pub const SITE_HOLD_TIMEOUT: Duration = Duration::from_secs(60);
/// A file of a site up to this size is read as a whole, and kept in memory while there is room.
pub const SITE_MEMORY_FILE_BYTES_MAX: u64 = 128 * 1024;
/// Files of all sites kept in memory.
pub const SITE_MEMORY_BYTES_MAX: u64 = 32 << 20;
/// One piece of a larger file on its way to a client, and so what a slow client holds of it.
pub const SITE_CHUNK_BYTES_MAX: u64 = 64 * 1024;
/// Threads of each thread of the edge that read files. More would not make a disk faster.
pub const READER_THREADS_MAX: usize = 8;
/// Addresses of a server outside that are tried for one request.
pub const OUTSIDE_ADDRESSES_MAX: usize = 4;
/// Names looked up at once, of all threads together: half of the [`READER_THREADS_MAX`] of one, so that a resolver
/// that does not answer leaves threads to read files with.
pub const OUTSIDE_LOOKUPS_MAX: usize = 4;
/// Connections for one request to a server outside; a second one where the first took none of the request.
pub const OUTSIDE_ATTEMPTS_MAX: u32 = 2;
/// How often a request may leave a Slipway server by a rule. One that asks another by rule is ordinary, more is rare.
pub const OUTSIDE_ROUNDS_MAX: usize = 3;
/// Requests that wait for one deployment that sleeps: a page with all that it loads, for many visitors. More get 503.
pub const WAKE_WAITING_MAX: usize = 512;
/// How long one waits, whatever the start timeout of its app: below [`STALL_TIMEOUT`], which cuts the connection.
pub const WAKE_WAIT_MAX: Duration = Duration::from_secs(300);
/// A wake that nothing came of within this time is asked for again, by the next request.
pub const WAKE_ASK_AGAIN: Duration = Duration::from_secs(1);
/// Longest request id that a client may choose.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// The bounds that can be set.
#[derive(Debug, Clone)]
pub struct EdgeLimits {
    pub connections_max: usize,
    pub header_read_timeout: Duration,
    pub client_idle_timeout: Duration,
    pub stall_timeout: Duration,
    pub upgraded_idle_timeout: Duration,
    pub connect_timeout: Duration,
    pub connect_attempts_max: u32,
    pub response_header_timeout: Duration,
    pub upstream_idle_timeout: Duration,
    pub upstream_idle_unrepeatable: Duration,
    pub shutdown_grace: Duration,
    pub site_hold_timeout: Duration,
    pub wake_waiting_max: usize,
    pub wake_wait_max: Duration,
    pub wake_ask_again: Duration,
}

impl Default for EdgeLimits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            header_read_timeout: HEADER_READ_TIMEOUT,
            client_idle_timeout: CLIENT_IDLE_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            upgraded_idle_timeout: UPGRADED_IDLE_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            connect_attempts_max: CONNECT_ATTEMPTS_MAX,
            response_header_timeout: RESPONSE_HEADER_TIMEOUT,
            upstream_idle_timeout: UPSTREAM_IDLE_TIMEOUT,
            upstream_idle_unrepeatable: UPSTREAM_IDLE_UNREPEATABLE,
            shutdown_grace: SHUTDOWN_GRACE,
            site_hold_timeout: SITE_HOLD_TIMEOUT,
            wake_waiting_max: WAKE_WAITING_MAX,
            wake_wait_max: WAKE_WAIT_MAX,
            wake_ask_again: WAKE_ASK_AGAIN,
        }
    }
}
