//! Deployments that sleep: when they are idle, and requests that wait for one.

use crate::client::{Answer, Client};
use crate::drain::streaming;
use crate::harness::{App, AppRequest, BOUND, Edge, full, route, target, within};
use http_body_util::BodyExt;
use slipway_edge::{EdgeConfig, EdgeLimits};
use slipway_types::DeploymentId;
use slipway_types::route::{EdgeReport, Route, Sleep, Target};
use slipway_types::settings::DurationMs;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HOST: &str = "x.test";
const LONG: DurationMs = DurationMs::seconds(60);

/// Between two requests of a test anything may pass: the second asks for no other wake.
fn one_ask() -> EdgeLimits {
    EdgeLimits { wake_ask_again: BOUND, ..EdgeLimits::default() }
}

fn deployment() -> DeploymentId {
    DeploymentId::parse("dpl-1").unwrap()
}

fn sleeping(targets: Vec<Target>, sleep: Option<Sleep>) -> Vec<Route> {
    vec![Route { sleep, ..route(HOST, targets) }]
}

fn asleep(wait_max: DurationMs) -> Vec<Route> {
    sleeping(Vec::new(), Some(Sleep::Asleep { wait_max }))
}

fn waking(wait_max: DurationMs) -> Vec<Route> {
    sleeping(Vec::new(), Some(Sleep::Waking { wait_max }))
}

fn awake(app: &App, idle: DurationMs) -> Vec<Route> {
    sleeping(vec![target("r-a", app.address)], Some(Sleep::After { idle }))
}

async fn wake_wanted(edge: &mut Edge) {
    assert_eq!(edge.report().await, EdgeReport::WakeWanted { deployment: deployment() });
}

async fn waiting(edge: &Edge, request: &str) -> Client {
    let mut client = Client::connect(edge.address).await;
    client.send(request).await;
    client
}

const GET: &str = "GET /page HTTP/1.1\r\nHost: x.test\r\n\r\n";

fn assert_refused(answer: &Answer, code: &str) {
    assert_eq!((answer.status, answer.header("x-slipway-error")), (503, Some(code)), "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(answer.body.contains("Service web of project shop"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_asks_once_and_is_answered_when_there_is_a_target() {
    let app = App::start(|request: AppRequest| async move { full(request.uri().path().to_owned()) }).await;
    let mut edge = Edge::start(asleep(LONG)).await;
    let mut client = waiting(&edge, GET).await;
    wake_wanted(&mut edge).await;
    // Tables in between change nothing for it.
    edge.route(waking(LONG)).await;
    edge.route(awake(&app, LONG)).await;
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "/page"));
    assert_eq!(edge.stop().await, [], "it asked once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_answers_at_once_and_is_not_woken() {
    let edge = Edge::start(sleeping(Vec::new(), Some(Sleep::Stopped))).await;
    let mut client = waiting(&edge, GET).await;
    assert_refused(&client.answer().await, "service-stopped");
    drop(client);
    assert_eq!(edge.stop().await, [], "nobody is asked to wake it");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_wake_is_asked_for_however_many_requests_wait_on_both_names() {
    let app = App::named("awake").await;
    let own = |routes: Vec<Route>| {
        let own = Route { host: "dpl-1.test".to_owned(), ..routes[0].clone() };
        [routes, vec![own]].concat()
    };
    let mut edge = Edge::start_limited(one_ask(), own(asleep(LONG))).await;
    let mut clients = Vec::new();
    for number in 0..20 {
        let host = if number % 2 == 0 { HOST } else { "dpl-1.test" };
        clients.push(waiting(&edge, &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await);
    }
    wake_wanted(&mut edge).await;
    edge.route(own(waking(LONG))).await;
    clients.push(waiting(&edge, GET).await);
    edge.route(own(awake(&app, LONG))).await;
    for client in &mut clients {
        assert_eq!(client.answer().await.body, "awake");
    }
    assert_eq!(edge.stop().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_not_read_before_there_is_who_wants_it() {
    let app = App::start(|request: AppRequest| async move {
        full(request.into_body().collect().await.unwrap().to_bytes().len().to_string())
    })
    .await;
    let mut edge = Edge::start_limited(one_ask(), asleep(LONG)).await;
    let head = "POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let mut polite = waiting(&edge, head).await;
    wake_wanted(&mut edge).await;
    // One that does not ask: what the edge takes of it is one buffer, the rest is the kernel's.
    let size = 16 << 20;
    let mut bold = waiting(&edge, &format!("POST / HTTP/1.1\r\nHost: x.test\r\nContent-Length: {size}\r\n\r\n")).await;
    let part = vec![7; 1 << 20];
    let mut sent = 0;
    while let Ok(written) = tokio::time::timeout(Duration::from_millis(300), bold.stream.write(&part)).await {
        sent += written.unwrap();
        assert!(sent < size, "all of it was taken");
    }
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(20), polite.stream.read(&mut byte)).await;
    assert!(early.is_err(), "the edge asked for the body: {early:?}");

    edge.route(awake(&app, LONG)).await;
    let rest = async {
        while sent < size {
            let part = &part[..part.len().min(size - sent)];
            sent += bold.stream.write(part).await.unwrap();
        }
    };
    within("the rest of the upload", rest).await;
    assert_eq!(bold.answer().await.body, size.to_string());
    assert_eq!(polite.head().await.status, 100);
    polite.send("12345").await;
    assert_eq!(polite.answer().await.body, "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_may_wait_are_refused_and_who_leaves_makes_room() {
    let app = App::named("awake").await;
    let limits = EdgeLimits { wake_waiting_max: 2, ..one_ask() };
    // Requests are looked at in their order by one thread, not by two.
    let config = EdgeConfig { limits, threads: NonZeroUsize::new(1), ..EdgeConfig::default() };
    let mut edge = Edge::start_with(config, asleep(LONG)).await;
    let mut first = waiting(&edge, GET).await;
    wake_wanted(&mut edge).await;
    let second = waiting(&edge, GET).await;
    looked_at(&edge).await;
    assert_refused(&waiting(&edge, GET).await.answer().await, "wake-crowded");
    drop(second);
    let room = async {
        loop {
            let mut third = waiting(&edge, GET).await;
            looked_at(&edge).await;
            if !answered_soon(&mut third).await {
                return third;
            }
        }
    };
    let mut third = within("a free place", room).await;
    edge.route(awake(&app, LONG)).await;
    assert_eq!(first.answer().await.body, "awake");
    assert_eq!(third.answer().await.body, "awake");
}

/// When an edge of one thread has answered a later request, it has taken in those before.
async fn looked_at(edge: &Edge) {
    assert_eq!(Client::connect(edge.address).await.get("other.test", "/").await.status, 404);
}

async fn answered_soon(client: &mut Client) -> bool {
    tokio::time::timeout(Duration::from_millis(100), client.head()).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_that_takes_too_long_is_said_and_asked_for_again_later() {
    // Longer than it takes until it is asked for again, also when the first was asked for late.
    let wait_max = DurationMs::seconds(3);
    let mut edge = Edge::start(asleep(wait_max)).await;
    let began = Instant::now();
    let request = "GET / HTTP/1.1\r\nHost: x.test\r\nAccept: application/json\r\n\r\n";
    let answer = waiting(&edge, request).await.answer().await;
    assert_refused(&answer, "wake-timeout");
    assert!(began.elapsed() >= wait_max.as_duration(), "{:?}", began.elapsed());
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((body["code"].as_str(), body["status"].as_u64()), (Some("wake-timeout"), Some(503)));
    wake_wanted(&mut edge).await;
    let _later = waiting(&edge, GET).await;
    wake_wanted(&mut edge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wake_that_fails_is_said_at_once() {
    let mut edge = Edge::start(asleep(LONG)).await;
    let mut client = waiting(&edge, GET).await;
    wake_wanted(&mut edge).await;
    edge.route(waking(LONG)).await;
    let mut failed = sleeping(Vec::new(), None);
    failed[0].unavailable_because = Some("it was asleep and could not start".to_owned());
    edge.route(failed).await;
    let answer = client.answer().await;
    assert_refused(&answer, "wake-failed");
    assert!(answer.body.contains("could not start."), "{answer:?}");
    // Later ones do not wait.
    assert_refused(&client.get(HOST, "/").await, "no-ready-replica");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_is_gone_is_waited_for_no_longer() {
    let mut edge = Edge::start(asleep(LONG)).await;
    let mut client = waiting(&edge, GET).await;
    wake_wanted(&mut edge).await;
    edge.route(Vec::new()).await;
    assert_eq!(client.answer().await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_for_no_wake() {
    let mut edge = Edge::start(asleep(LONG)).await;
    let mut client = waiting(&edge, GET).await;
    wake_wanted(&mut edge).await;
    edge.shutdown.cancel();
    let answer = client.answer().await;
    assert_eq!((answer.status, answer.header("x-slipway-error")), (503, Some("edge-stopping")));
    assert_eq!(edge.stop().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_is_reported_after_the_last_request_and_again() {
    let app = App::named("a").await;
    let idle = DurationMs(400);
    let mut asked_at = Instant::now();
    let mut edge = Edge::start(awake(&app, idle)).await;
    let mut client = Client::connect(edge.address).await;
    // Requests keep it awake, a new table does not.
    let until = Instant::now() + Duration::from_millis(900);
    let mut gap = Duration::ZERO;
    while Instant::now() < until {
        let before = std::mem::replace(&mut asked_at, Instant::now());
        assert_eq!(client.get(HOST, "/").await.body, "a");
        gap = gap.max(before.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Who was held off for as long has let it be idle.
    let reported = edge.reports.try_recv();
    assert!(gap.max(asked_at.elapsed()) >= idle.as_duration() || reported.is_err(), "idle with requests");
    let last = Instant::now();
    client.get(HOST, "/").await;
    edge.route_past_idle(awake(&app, idle)).await;
    for round in 1..=2 {
        assert_eq!(edge.report().await, EdgeReport::Idle { deployment: deployment() });
        let took = last.elapsed();
        assert!(took >= idle.as_duration() * round - Duration::from_millis(50), "round {round} after {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_and_an_open_upgrade_are_traffic() {
    let idle = DurationMs(200);
    let not_idle = |edge: &mut Edge| assert!(edge.reports.try_recv().is_err(), "idle with traffic");
    let (app, mut opened) = streaming().await;
    let mut edge = Edge::start(awake(&app, idle)).await;
    let mut client = waiting(&edge, GET).await;
    let chunks = opened.recv().await.unwrap();
    client.head().await;
    edge.route_past_idle(awake(&app, idle)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    not_idle(&mut edge);
    drop(chunks);
    assert_eq!(edge.report().await, EdgeReport::Idle { deployment: deployment() });

    let app = App::raw(|mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read_to_end(&mut head).await;
    })
    .await;
    // Woken by the upgrade itself.
    let mut edge = Edge::start(asleep(LONG)).await;
    let upgrade = "GET / HTTP/1.1\r\nHost: x.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    let mut client = waiting(&edge, upgrade).await;
    wake_wanted(&mut edge).await;
    edge.route(awake(&app, idle)).await;
    assert_eq!(client.head().await.status, 101);
    edge.route_past_idle(awake(&app, idle)).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    not_idle(&mut edge);
    drop(client);
    assert_eq!(edge.report().await, EdgeReport::Idle { deployment: deployment() });
}

/// Falls asleep, and is wanted again before its replica is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_about_to_sleep_takes_requests_again() {
    let app = App::named("a").await;
    let mut edge = Edge::start(awake(&app, LONG)).await;
    edge.route(asleep(LONG)).await;
    edge.drained("r-a").await;
    let mut client = waiting(&edge, GET).await;
    wake_wanted(&mut edge).await;
    edge.route(awake(&app, LONG)).await;
    assert_eq!(client.answer().await.body, "a");
}
