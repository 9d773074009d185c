//! A server with its data directory, and the ways to wait for it.

use crate::client::{Client, PATIENCE};
use crate::fake::{Fake, Seen};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use serde_json::{Value, json};
use slipway_control::{ControlConfig, ControlError, EdgeLink, HostLink, TrafficReader, run};
use slipway_store::Store;
use slipway_types::api::{DeploymentView, ServiceView};
use slipway_types::host::HostCommand;
use slipway_types::route::RouteTable;
use slipway_types::traffic::Traffic;
use slipway_types::{Phase, ReplicaId};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) const WEB: &str = "/v1/projects/shop/services/web";

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) fake: Fake,
    pub(crate) client: Client,
    pub(crate) tables: watch::Receiver<RouteTable>,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), ControlError>>,
}

impl World {
    pub(crate) async fn new() -> World {
        Self::start(tempfile::tempdir().unwrap(), Fake::default(), |_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut ControlConfig)) -> World {
        Self::start(tempfile::tempdir().unwrap(), Fake::default(), change).await
    }

    async fn start(dir: tempfile::TempDir, fake: Fake, change: impl FnOnce(&mut ControlConfig)) -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = ControlConfig::new(dir.path(), listener);
        config.edge_port = 8080;
        change(&mut config);
        let store = Store::open(&dir.path().join("slipway.db")).await.unwrap();
        let (commands, for_host) = mpsc::channel::<HostCommand>(4);
        let (host_reports, from_host) = mpsc::channel(4);
        let (tables, for_edge) = watch::channel(RouteTable::default());
        let (edge_reports, from_edge) = mpsc::channel(4);
        tokio::spawn(fake.clone().host(for_host, host_reports));
        tokio::spawn(fake.clone().edge(for_edge.clone(), edge_reports));
        let shutdown = CancellationToken::new();
        let address = config.api_listener.local_addr().unwrap();
        let host = HostLink { commands, reports: from_host };
        let edge = EdgeLink { tables, reports: from_edge, traffic: TrafficReader::new(traffic) };
        let running = tokio::spawn(run(config, store, host, edge, shutdown.clone()));
        let token_file = dir.path().join("client.json");
        wait(|| token_file.exists()).await;
        let client: Value = serde_json::from_slice(&std::fs::read(token_file).unwrap()).unwrap();
        let client = Client::new(address, client["token"].as_str().unwrap().to_owned());
        World { dir, fake, client, tables: for_edge, shutdown, running }
    }

    /// Stops the server and starts it again. Sandboxes live on meanwhile.
    pub(crate) async fn restart(self) -> World {
        self.restart_with(|_| {}).await
    }

    pub(crate) async fn restart_with(self, change: impl FnOnce(&Fake)) -> World {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.expect("a stop in time").unwrap().unwrap();
        change(&self.fake);
        Self::start(self.dir, self.fake, |_| {}).await
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) async fn upload(&self) -> String {
        let answer = self.client.send(self.client.request(Method::POST, "/v1/uploads", archive())).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json::<Value>()["upload"].as_str().unwrap().to_owned()
    }

    /// Uploads and asks for a deployment.
    pub(crate) async fn deploy(&self) -> DeploymentView {
        let upload = self.upload().await;
        let source = json!({"source": {"from": "upload", "upload": upload}, "force": true});
        let answer = self.client.post(&format!("{WEB}/deployments"), source).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    /// Deploys and follows to the end.
    pub(crate) async fn deploy_to_end(&self) -> DeploymentView {
        let view = self.deploy().await;
        self.client.follow(view.deployment.as_str()).await;
        self.deployment(&view).await
    }

    pub(crate) async fn deployment(&self, view: &DeploymentView) -> DeploymentView {
        self.client.get(&format!("/v1/deployments/{}", view.deployment)).await.json()
    }

    pub(crate) async fn web(&self) -> ServiceView {
        self.client.get(WEB).await.json()
    }

    /// Waits until the service is as wanted.
    pub(crate) async fn until_web(&self, wanted: impl Fn(&ServiceView) -> bool) -> ServiceView {
        let looking = async {
            loop {
                let service = self.web().await;
                if wanted(&service) {
                    return service;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("the service to come there")
    }

    /// Waits until the deployment's view is as wanted.
    pub(crate) async fn until(
        &self,
        view: &DeploymentView,
        wanted: impl Fn(&DeploymentView) -> bool,
    ) -> DeploymentView {
        let looking = async {
            loop {
                let view = self.deployment(view).await;
                if wanted(&view) {
                    return view;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("the deployment to come there")
    }

    /// Waits until the host was given the phase, which the test holds.
    pub(crate) async fn until_held(&self, view: &DeploymentView, phase: Phase) {
        let given = |seen: &Seen| {
            seen.work.iter().any(|(deployment, work)| *deployment == view.deployment && work.phase() == phase)
        };
        wait(|| self.fake.seen(given)).await;
    }

    /// Waits until the route table is as wanted.
    pub(crate) async fn until_routes(&self, wanted: impl Fn(&RouteTable) -> bool) -> RouteTable {
        let mut tables = self.tables.clone();
        let table = tokio::time::timeout(PATIENCE, tables.wait_for(|table| wanted(table))).await;
        table.expect("the route table to come there").unwrap().clone()
    }
}

/// Replicas that a host name leads to.
pub(crate) fn targets(table: &RouteTable, host: &str) -> Vec<String> {
    let route = table.routes.iter().find(|route| route.host == host);
    route.map(|route| route.targets.iter().map(|target| target.replica.to_string()).collect()).unwrap_or_default()
}

pub(crate) async fn wait(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("the condition to become true");
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A directory with one file.
pub(crate) fn archive() -> Bytes {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    builder.append_data(&mut header, "package.json", &b"{}"[..]).unwrap();
    gzip(&builder.into_inner().unwrap()).into()
}

pub(crate) fn replica(of: &DeploymentView, number: u32) -> ReplicaId {
    ReplicaId::parse(format!("{}-{number}", of.deployment)).unwrap()
}

/// What an edge might have counted.
fn traffic() -> Traffic {
    let refusals = [("no-such-host".to_owned(), 2)].into();
    let heads = [1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    Traffic {
        connections_accepted: 9,
        connections_open: 4,
        requests_open: 1,
        answers: [0, 3, 0, 2, 0],
        refusals,
        heads,
        heads_us: 40_007_000,
    }
}
