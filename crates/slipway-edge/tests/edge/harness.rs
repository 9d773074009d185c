//! An edge under test, and apps behind it.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use slipway_edge::{EdgeConfig, EdgeError, EdgeLimits, EdgeListener};
use slipway_types::route::{EdgeReport, Endpoint, Route, RouteTable, Target};
use slipway_types::{DeploymentId, ProjectName, ReplicaId, ServiceName};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// No single step of a test takes longer: only what hangs, even on a machine that is held off for seconds.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, future).await.unwrap_or_else(|_| panic!("{what} took longer than {BOUND:?}"))
}

pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    pub(crate) reports: mpsc::Receiver<EdgeReport>,
    pub(crate) shutdown: CancellationToken,
    tables: watch::Sender<RouteTable>,
    task: JoinHandle<Result<(), EdgeError>>,
}

impl Edge {
    pub(crate) async fn start(routes: Vec<Route>) -> Self {
        Self::start_with(EdgeConfig::default(), routes).await
    }

    pub(crate) async fn start_limited(limits: EdgeLimits, routes: Vec<Route>) -> Self {
        Self::start_with(EdgeConfig { limits, ..EdgeConfig::default() }, routes).await
    }

    pub(crate) async fn start_with(config: EdgeConfig, routes: Vec<Route>) -> Self {
        Self::start_at(config, RouteTable { generation: 1, routes }).await
    }

    pub(crate) async fn start_at(mut config: EdgeConfig, table: RouteTable) -> Self {
        let generation = table.generation;
        config.threads = config.threads.or(NonZeroUsize::new(2));
        let listener = EdgeListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.address().unwrap();
        let (tables, receiver) = watch::channel(table);
        let (reporter, reports) = mpsc::channel(16);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(slipway_edge::run(config, listener, receiver, reporter, shutdown.clone()));
        let mut edge = Self { address, reports, shutdown, tables, task };
        edge.applied(generation).await;
        edge
    }

    pub(crate) fn send(&self, table: RouteTable) {
        self.tables.send_replace(table);
    }

    /// Puts `routes` in force as the next generation.
    pub(crate) async fn route(&mut self, routes: Vec<Route>) {
        let generation = self.send_next(routes);
        self.applied(generation).await;
    }

    /// As [`Self::route`], when what was idle before may have been reported. Reports keep their order: none of it comes later.
    pub(crate) async fn route_past_idle(&mut self, routes: Vec<Route>) {
        let generation = self.send_next(routes);
        let mut report = self.report().await;
        while matches!(report, EdgeReport::Idle { .. }) {
            report = self.report().await;
        }
        Self::assert_applied(&report, generation);
    }

    fn send_next(&self, routes: Vec<Route>) -> u64 {
        let generation = self.tables.borrow().generation + 1;
        self.send(RouteTable { generation, routes });
        generation
    }

    pub(crate) async fn applied(&mut self, wanted: u64) {
        Self::assert_applied(&self.report().await, wanted);
    }

    fn assert_applied(report: &EdgeReport, wanted: u64) {
        assert!(matches!(report, EdgeReport::Applied { generation, .. } if *generation == wanted), "{report:?}");
    }

    pub(crate) async fn report(&mut self) -> EdgeReport {
        within("a report", self.reports.recv()).await.expect("the edge ended")
    }

    pub(crate) async fn drained(&mut self, replica: &str) {
        assert_eq!(self.report().await, EdgeReport::Drained { replica: ReplicaId::parse(replica).unwrap() });
    }

    /// Ends the edge and returns the reports that nobody has read.
    pub(crate) async fn stop(mut self) -> Vec<EdgeReport> {
        self.shutdown.cancel();
        within("the shutdown", self.task).await.unwrap().unwrap();
        let mut left = Vec::new();
        while let Ok(report) = self.reports.try_recv() {
            left.push(report);
        }
        left
    }
}

pub(crate) fn target(replica: &str, address: SocketAddr) -> Target {
    Target { replica: ReplicaId::parse(replica).unwrap(), at: Endpoint::Address(address) }
}

/// Between two requests of a test anything may pass: a connection to an app is not given up for that.
pub(crate) fn patient() -> EdgeLimits {
    let (upstream_idle_timeout, upstream_idle_unrepeatable) = (BOUND, BOUND);
    EdgeLimits { upstream_idle_timeout, upstream_idle_unrepeatable, ..EdgeLimits::default() }
}

/// `host` → `targets`, of service `web` in project `shop`.
pub(crate) fn route(host: &str, targets: Vec<Target>) -> Route {
    Route {
        host: host.to_owned(),
        project: ProjectName::parse("shop").unwrap(),
        service: ServiceName::parse("web").unwrap(),
        deployment: Some(DeploymentId::parse("dpl-1").unwrap()),
        rules: Default::default(),
        targets,
        unavailable_because: None,
        sleep: None,
    }
}

pub(crate) type AppBody = BoxBody<Bytes, Infallible>;
pub(crate) type AppRequest = Request<Incoming>;

pub(crate) fn full(text: impl Into<Bytes>) -> Response<AppBody> {
    Response::new(Full::new(text.into()).boxed())
}

/// An app behind the edge. Dropping it cuts every connection at once, like the end of a sandbox.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl App {
    pub(crate) async fn start<H, F>(handler: H) -> Self
    where
        H: Fn(AppRequest) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<AppBody>> + Send + 'static,
    {
        let (requests, counted) = (Arc::new(AtomicUsize::new(0)), handler);
        let counter = requests.clone();
        let (address, connections, task) = accept(move |stream| {
            let (handler, counter) = (counted.clone(), counter.clone());
            async move {
                let service = service_fn(move |request| {
                    counter.fetch_add(1, Ordering::SeqCst);
                    let answer = handler(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                let _ = connection.await;
            }
        })
        .await;
        Self { address, connections, requests, task }
    }

    /// Answers every request with `name`, after reading its body.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::start(move |request: AppRequest| async move {
            let _ = request.into_body().collect().await;
            full(name)
        })
        .await
    }

    /// An app that speaks whatever `connection` does.
    pub(crate) async fn raw<H, F>(connection: H) -> Self
    where
        H: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (address, connections, task) = accept(connection).await;
        Self { address, connections, requests: Arc::default(), task }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<H, F>(connection: H) -> (SocketAddr, Arc<AtomicUsize>, JoinHandle<()>)
where
    H: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    let task = tokio::spawn(async move {
        // Aborting this task drops the set, which aborts all connections.
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            stream.set_nodelay(true).unwrap();
            open.spawn(connection(stream));
        }
    });
    (address, connections, task)
}

/// An address at which nothing listens. It is held, or the next listener could be given it.
pub(crate) struct Nobody {
    pub(crate) address: SocketAddr,
    _socket: TcpSocket,
}

pub(crate) fn nobody() -> Nobody {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    Nobody { address: socket.local_addr().unwrap(), _socket: socket }
}
