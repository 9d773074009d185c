//! A site is switched and drained like an app: nothing is lost, and when it is reported as drained nothing of it is open.

use crate::client::Client;
use crate::files::SiteDirectory;
use crate::harness::{App, Edge, route, target, within};
use slipway_edge::EdgeLimits;
use slipway_types::route::RouteTable;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::AsyncReadExt;

const SWITCHES: usize = 30;
/// More than the socket buffers of both sides hold.
const LARGE_BYTES: usize = 24 << 20;

/// Files of this process that are open below `directory`.
fn open_below(directory: &Path) -> usize {
    let directory = directory.canonicalize().unwrap();
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|path| path.starts_with(&directory)).count()
}

fn large_site(version: usize) -> SiteDirectory {
    let mut site = SiteDirectory::new(&[("version.txt", &version.to_string())]);
    let contents: Vec<u8> = (0..LARGE_BYTES).map(|at| (at / 7 + version) as u8).collect();
    site.add("large.bin", &contents);
    site.write();
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_drained_when_its_last_file_is_sent_and_closed() {
    let site = large_site(1);
    let app = App::named("app").await;
    let mut edge = Edge::start(vec![site.route(Default::default())]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET /large.bin HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    assert_eq!(client.head().await.status, 200);
    let first = client.exactly(1000).await;
    edge.route(vec![route("x.test", vec![target("r-app", app.address)])]).await;
    assert_eq!(Client::connect(edge.address).await.get("x.test", "/").await.body, "app");
    assert_eq!(open_below(site.path()), 1, "the file is open while it is sent");
    assert!(edge.reports.try_recv().is_err(), "not drained before its end");
    let rest = client.exactly(LARGE_BYTES - 1000).await;
    for (at, byte) in first.iter().chain(&rest).enumerate() {
        assert_eq!(*byte, (at / 7 + 1) as u8, "byte {at}");
    }
    edge.drained("r-site").await;
    assert_eq!(open_below(site.path()), 0);
    assert_eq!(edge.stop().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_closes_the_file() {
    let site = large_site(1);
    let mut edge = Edge::start(vec![site.route(Default::default())]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET /large.bin HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    client.exactly(1000).await;
    edge.route(vec![]).await;
    drop(client);
    edge.drained("r-site").await;
    assert_eq!(open_below(site.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_shrinks_cuts_the_connection() {
    let site = large_site(1);
    let edge = Edge::start(vec![site.route(Default::default())]).await;
    let mut client = Client::connect(edge.address).await;
    client.send("GET /large.bin HTTP/1.1\r\nHost: x.test\r\n\r\n").await;
    client.exactly(1000).await;
    let path = site.path().join("files").join(site.digest("large.bin"));
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(10_000).unwrap();
    let got = client.rest().await.len();
    assert!(got < LARGE_BYTES - 1000, "{got} bytes of a file that is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_large_file() {
    let site = large_site(3);
    let edge = Edge::start(vec![site.route(Default::default())]).await;
    let mut stream = Client::connect(edge.address).await.stream;
    let (start, end) = (LARGE_BYTES - 200_001, LARGE_BYTES - 2);
    let request =
        format!("GET /large.bin HTTP/1.1\r\nHost: x.test\r\nConnection: close\r\nRange: bytes={start}-{end}\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    within("the part", stream.read_to_end(&mut answer)).await.unwrap();
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(answer.starts_with(b"HTTP/1.1 206"));
    let expected: Vec<u8> = (start..=end).map(|at| (at / 7 + 3) as u8).collect();
    assert_eq!(&answer[body..], expected);
}

fn without_manifest() -> SiteDirectory {
    let site = SiteDirectory::new(&[("index.html", "new")]);
    std::fs::remove_file(site.path().join("site.json")).unwrap();
    site
}

/// Waits until `other.test`, a route that is new in the table, answers: then the table is in force.
async fn in_force(edge: &Edge) {
    let asking = async {
        while Client::connect(edge.address).await.get("other.test", "/").await.status != 200 {
            tokio::task::yield_now().await;
        }
    };
    within("the table", asking).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_stays_until_the_new_site_can_be_read() {
    let (old, new) = (SiteDirectory::new(&[("index.html", "old")]), without_manifest());
    let app = App::named("app").await;
    let mut edge = Edge::start(vec![route("x.test", vec![old.target("r-old")])]).await;
    let routes =
        vec![route("x.test", vec![new.target("r-new")]), route("other.test", vec![target("r-app", app.address)])];
    edge.send(RouteTable { generation: 2, routes });
    in_force(&edge).await;
    assert_eq!(Client::connect(edge.address).await.get("x.test", "/").await.body, "old");
    assert!(edge.reports.try_recv().is_err(), "neither confirmed nor drained");
    new.write();
    edge.applied(2).await;
    assert_eq!(Client::connect(edge.address).await.get("x.test", "/").await.body, "new");
    edge.drained("r-old").await;
    assert_eq!(edge.stop().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_that_stays_unreadable_does_not_hold_up_the_others_for_ever() {
    let (old, new) = (SiteDirectory::new(&[("index.html", "old")]), without_manifest());
    let limits = EdgeLimits { site_hold_timeout: Default::default(), ..EdgeLimits::default() };
    let mut edge = Edge::start_limited(limits, vec![route("x.test", vec![old.target("r-old")])]).await;
    edge.route(vec![route("x.test", vec![new.target("r-new")])]).await;
    assert_eq!(
        Client::connect(edge.address).await.get("x.test", "/").await.header("x-slipway-error"),
        Some("site-unreadable")
    );
    edge.drained("r-old").await;
}

/// What the clients and who switches tell each other.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// The version in force.
    applied: AtomicUsize,
    answered: AtomicUsize,
}

/// Asks until told to stop; every answer must be whole, and never of a version older than one seen before.
async fn keep_asking(edge: SocketAddr, kind: usize, load: Arc<Load>) {
    let mut client = Client::connect(edge).await;
    while !load.stop.load(Ordering::SeqCst) {
        if kind == 0 {
            client = Client::connect(edge).await;
        }
        let oldest = load.applied.load(Ordering::SeqCst);
        let path = if kind == 2 { "/big.txt" } else { "/version" };
        let answer = client.get("x.test", path).await;
        assert_eq!(answer.status, 200, "a request of kind {kind}");
        let version: usize = answer.body.split(' ').next().unwrap().parse().unwrap();
        assert!(version >= oldest, "an old version answered a new request");
        assert!(kind != 2 || answer.body.len() == 300_000, "{} bytes", answer.body.len());
        load.answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// An even version is a site, an odd one an app: the route goes from one kind to the other under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_when_a_site_is_switched() {
    let files = |version: usize| {
        let text = |length: usize| format!("{version} {}", "x".repeat(length))[..length].to_owned();
        SiteDirectory::new(&[("version.html", &text(100)), ("big.txt", &text(300_000))])
    };
    let mut site = files(0);
    let mut edge = Edge::start(vec![route("x.test", vec![site.target("r-0")])]).await;
    let load = Arc::new(Load::default());
    let clients: Vec<_> = (0..6).map(|i| tokio::spawn(keep_asking(edge.address, i % 3, load.clone()))).collect();
    let mut app: Option<App> = None;
    for version in 1..=SWITCHES {
        let replica = format!("r-{version}");
        let next = if version % 2 == 0 { Some(files(version)) } else { None };
        let target = match &next {
            Some(next) => next.target(&replica),
            None => {
                let big = move |length: usize| format!("{version} {}", "y".repeat(length))[..length].to_owned();
                let started = App::start(move |request| {
                    let length = if request.uri().path() == "/big.txt" { 300_000 } else { 100 };
                    async move { crate::harness::full(big(length)) }
                })
                .await;
                let target = target(&replica, started.address);
                app = Some(started);
                target
            }
        };
        edge.route(vec![route("x.test", vec![target])]).await;
        load.applied.store(version, Ordering::SeqCst);
        edge.drained(&format!("r-{}", version - 1)).await;
        match next {
            // The app before it is cut off, as a host would.
            Some(next) => (app, site) = (None, next),
            // As an unmount would: nothing of the former site may be needed any more.
            None => {
                assert_eq!(open_below(site.path()), 0);
                std::fs::remove_dir_all(site.path()).unwrap();
            }
        }
        // One answer to each version at least.
        let before = load.answered.load(Ordering::SeqCst);
        while load.answered.load(Ordering::SeqCst) == before && clients.iter().all(|client| !client.is_finished()) {
            tokio::task::yield_now().await;
        }
    }
    load.stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let answered = load.answered.load(Ordering::SeqCst);
    assert!(answered >= SWITCHES, "only {answered} requests were made");
    drop(app);
    assert_eq!(edge.stop().await, [], "each replica is reported once");
}
