//! Replicas as desired state.

use crate::bench::Bench;
use crate::phases::{built, env, own_layers};
use crate::supervision::ended;
use slipway_types::host::{Env, HostCommand, HostReport, ProbeResult, ReplicaSet, ReplicaSpec, ReplicaState};
use slipway_types::image::{Image, ImageStart};
use slipway_types::route::Endpoint;
use slipway_types::settings::{DurationMs, HealthSettings};
use slipway_types::{ProjectName, ReplicaId, ServiceId, ServiceName, ServiceSettings};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

const PORT: u16 = 3000;

pub(crate) fn spec(bench: &Bench, image: &Image, name: &str, path: Option<&str>, env: Env) -> ReplicaSpec {
    let defaults = ServiceSettings::default();
    ReplicaSpec {
        replica: ReplicaId::parse(name).unwrap(),
        deployment: bench.deployment(),
        service_id: ServiceId::parse("svc").unwrap(),
        project: ProjectName::parse("shop").unwrap(),
        service: ServiceName::parse("web").unwrap(),
        image: image.clone(),
        env,
        env_revision: 0,
        reload: defaults.reload,
        port: PORT,
        limits: defaults.run,
        health: Some(HealthSettings {
            path: path.map(str::to_owned),
            interval: DurationMs(50),
            timeout: DurationMs::seconds(20),
            start_timeout: DurationMs::seconds(60),
            stable_window: DurationMs(200),
            watch_interval: DurationMs(100),
            ..defaults.health
        }),
        stable_window: DurationMs(200),
        stop_grace: DurationMs(500),
        served: false,
        asleep: false,
    }
}

pub(crate) async fn want(bench: &Bench, generation: u64, replicas: Vec<ReplicaSpec>) {
    bench.send(HostCommand::Replicas(ReplicaSet { generation, replicas })).await;
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// What answers at an address within a moment, if anything does.
fn answer_of(address: SocketAddr) -> String {
    let limit = std::time::Duration::from_millis(500);
    let Ok(mut stream) = TcpStream::connect_timeout(&address, limit) else { return String::new() };
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut answer = [0; 1024];
    let asked = stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let count = asked.and_then(|()| stream.read(&mut answer)).unwrap_or(0);
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

pub(crate) fn starts_by(spec: &mut ReplicaSpec, command: &str) {
    let ImageStart::Process(start) = &mut spec.image.start else { panic!("{:?}", spec.image) };
    start.command = command.to_owned();
}

pub(crate) async fn ready(bench: &mut Bench, replica: &ReplicaId) -> SocketAddr {
    loop {
        match bench.state_of(replica).await {
            ReplicaState::Ready { at: Endpoint::Address(address) } => return address,
            ReplicaState::Starting => {}
            other => panic!("{other:#?}\n{}", bench.log.join("\n")),
        }
    }
}

#[tokio::test]
async fn a_replica_answers_survives_a_restart_of_the_server_and_of_itself_and_stops() {
    let mut bench = Bench::new(4).await;
    let image = built(&mut bench).await;
    let web = spec(&bench, &image, &format!("web-{}", bench.tag), Some("/"), env(&[]));
    let id = web.replica.clone();
    want(&bench, 5, vec![web.clone()]).await;
    let address = ready(&mut bench, &id).await;
    assert!(get(address, "/").ends_with("...hello"));
    assert!(bench.log.contains(&"up as 10001".to_owned()), "{:#?}", bench.log);
    // An older generation changes nothing.
    want(&bench, 4, vec![]).await;

    let mut bench = bench.restart().await;
    assert!(get(address, "/").ends_with("...hello"), "it serves while the server is away");
    want(&bench, 1, vec![ReplicaSpec { served: true, ..web.clone() }]).await;
    assert_eq!(
        bench.state_of(&id).await,
        ReplicaState::Ready { at: Endpoint::Address(address) },
        "adopted, not started again"
    );

    get(address, "/crash");
    let evidence = ended(&mut bench, &id).await;
    assert_eq!(evidence.exit.unwrap().code, Some(3));
    let address = ready(&mut bench, &id).await;
    assert!(get(address, "/").ends_with("...hello"));

    want(&bench, 2, vec![]).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    // The address is nobody's now; a machine whose way out accepts every connection must not answer for it.
    let answer = answer_of(address);
    assert!(!answer.contains("hello"), "it still answers: {answer}");
    bench.end(&own_layers(&image)).await;
}

#[tokio::test]
async fn replicas_that_never_become_ready_fail_with_evidence() {
    /// An app has begun to listen by then, also where three of them start on a busy machine.
    const START_TIMEOUT: DurationMs = DurationMs::seconds(20);
    let mut bench = Bench::new(5).await;
    let image = built(&mut bench).await;
    let name = |kind: &str| format!("{kind}-{}", bench.tag);
    let mut exits = spec(&bench, &image, &name("exits"), None, env(&[]));
    starts_by(&mut exits, "echo cannot go on >&2; exit 9");
    let mut broken = spec(&bench, &image, &name("broken"), Some("/broken"), env(&[]));
    let mut elsewhere = spec(&bench, &image, &name("port"), None, env(&[("LISTEN_PORT", "4000")]));
    let mut inside = spec(&bench, &image, &name("inside"), None, env(&[("LISTEN_HOST", "127.0.0.1")]));
    for waits in [&mut broken, &mut elsewhere, &mut inside] {
        waits.health.as_mut().unwrap().start_timeout = START_TIMEOUT;
    }
    let mut worker = spec(&bench, &image, &name("worker"), None, env(&[]));
    worker.health = None;
    starts_by(&mut worker, "sleep 600");
    let all = [&exits, &broken, &elsewhere, &inside, &worker].map(Clone::clone);
    want(&bench, 1, all.to_vec()).await;

    let mut states = std::collections::BTreeMap::new();
    while states.len() < all.len() {
        if let HostReport::Replica { replica, state } = bench.next().await
            && state != ReplicaState::Starting
        {
            states.insert(replica, state);
        }
    }
    let evidence = |spec: &ReplicaSpec| match &states[&spec.replica] {
        ReplicaState::Failed { evidence } => evidence.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(evidence(&exits).exit.unwrap().code, Some(9));
    assert!(evidence(&exits).tail.contains(&"cannot go on".to_owned()));
    let health = evidence(&broken).health.unwrap();
    assert_eq!(health.last_probe, Some(ProbeResult::Status { status: 500 }));
    assert_eq!((health.port, health.path.as_deref()), (PORT, Some("/broken")));
    let health = evidence(&elsewhere).health.unwrap();
    assert_eq!(health.last_probe, Some(ProbeResult::Refused));
    assert_eq!(health.listening.iter().map(|socket| socket.port).collect::<Vec<_>>(), [4000]);
    assert!(health.waited_ms >= START_TIMEOUT.0);
    let health = evidence(&inside).health.unwrap();
    assert!(health.listening.iter().all(|socket| socket.address.is_loopback()) && !health.listening.is_empty());
    assert!(matches!(states[&worker.replica], ReplicaState::Ready { .. }));

    want(&bench, 2, vec![]).await;
    assert_eq!(bench.state_of(&worker.replica).await, ReplicaState::Stopped);
    bench.end(&own_layers(&image)).await;
}

#[tokio::test]
async fn a_replica_sleeps_wakes_and_stays_asleep_over_a_restart() {
    let mut bench = Bench::new(54).await;
    let image = built(&mut bench).await;
    let web = spec(&bench, &image, &format!("nap-{}", bench.tag), Some("/"), env(&[]));
    let id = web.replica.clone();
    let awake = || vec![ReplicaSpec { served: true, ..web.clone() }];
    let asleep = || vec![ReplicaSpec { served: true, asleep: true, ..web.clone() }];
    want(&bench, 1, vec![web.clone()]).await;
    let address = ready(&mut bench, &id).await;
    want(&bench, 2, asleep()).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    assert!(!answer_of(address).contains("hello"));
    want(&bench, 3, awake()).await;
    let address = ready(&mut bench, &id).await;
    assert!(get(address, "/").ends_with("...hello"));
    // Wanted awake again before it has stopped: it stops, and starts then.
    want(&bench, 4, asleep()).await;
    want(&bench, 5, awake()).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    ready(&mut bench, &id).await;

    // Its sandbox outlived a server that had not yet told it to sleep.
    let mut bench = bench.kill().await;
    want(&bench, 1, asleep()).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    // Nothing of it runs, and that is said.
    let mut bench = bench.restart().await;
    want(&bench, 1, asleep()).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    want(&bench, 2, awake()).await;
    let address = ready(&mut bench, &id).await;
    assert!(get(address, "/").ends_with("...hello"));
    want(&bench, 3, vec![]).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    bench.end(&own_layers(&image)).await;
}
