//! What becomes of a replica that was ready: crashes, readiness, liveness.

use crate::bench::Bench;
use crate::phases::{built, env, own_layers};
use crate::replicas::{ready, spec, starts_by, want};
use slipway_types::ReplicaId;
use slipway_types::host::{Evidence, ProbeResult, ReplicaState};
use slipway_types::settings::{ByteSize, DurationMs, LivenessSettings};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// Does what a path says, and answers `/health` as it was told last.
const APP: &str = r#"
let health = 200;
const memory = [];
const acts = {
  "/exit": () => process.exit(3),
  "/fault": () => process.kill(process.pid, "SIGSEGV"),
  "/eat": () => { for (;;) memory.push(Buffer.alloc(8 << 20, 1)); },
  "/hang": () => { for (;;); },
  "/sick": () => { health = 503; },
  "/well": () => { health = 200; },
};
require("node:http").createServer((request, response) => {
  (acts[request.url] ?? (() => {}))();
  response.statusCode = request.url === "/health" ? health : 200;
  response.end("answer");
}).listen(process.env.PORT, "0.0.0.0");
"#;

/// Asks and does not wait for an answer, which may never come.
fn tell(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

async fn unready(bench: &mut Bench, replica: &ReplicaId) -> Box<Evidence> {
    match bench.state_of(replica).await {
        ReplicaState::Unready { evidence } => evidence,
        other => panic!("{other:#?}\n{}", bench.log.join("\n")),
    }
}

/// Until it has ended: a machine that is busy may find it unready first.
pub(crate) async fn ended(bench: &mut Bench, replica: &ReplicaId) -> Box<Evidence> {
    loop {
        match bench.state_of(replica).await {
            ReplicaState::Unready { evidence } if evidence.restart.is_some() => return evidence,
            ReplicaState::Unready { .. } | ReplicaState::Ready { .. } => {}
            other => panic!("{other:#?}\n{}", bench.log.join("\n")),
        }
    }
}

#[tokio::test]
async fn exits_faults_and_lack_of_memory_are_told_apart_and_restarts_are_counted() {
    let mut bench = Bench::new(61).await;
    let image = built(&mut bench).await;
    let mut app = spec(&bench, &image, &format!("crash-{}", bench.tag), Some("/health"), env(&[]));
    starts_by(&mut app, &format!("exec node -e '{APP}'"));
    app.limits.memory = ByteSize::mebibytes(128);
    let id = app.replica.clone();
    want(&bench, 1, vec![app]).await;
    for (crashes, path) in [(1, "/fault"), (2, "/eat"), (3, "/exit")] {
        let address = ready(&mut bench, &id).await;
        let _connection = tell(address, path);
        let evidence = ended(&mut bench, &id).await;
        let (exit, restart) = (evidence.exit.unwrap(), evidence.restart.unwrap());
        match path {
            "/fault" => assert_eq!((exit.signal, exit.out_of_memory), (Some(11), false), "{evidence:?}"),
            "/eat" => assert!(exit.out_of_memory && exit.code != Some(0), "{evidence:?}"),
            _ => assert_eq!((exit.code, exit.signal, exit.out_of_memory), (Some(3), None, false), "{evidence:?}"),
        }
        assert_eq!((restart.crashes, restart.is_crash_loop()), (crashes, crashes == 3));
        assert!(restart.pause_ms >= [100, 1000, 2000][crashes as usize - 1], "{restart:?}");
    }
    want(&bench, 2, vec![]).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    bench.end(&own_layers(&image)).await;
}

#[tokio::test]
async fn an_unready_replica_runs_on_and_one_that_hangs_is_restarted() {
    let mut bench = Bench::new(62).await;
    let image = built(&mut bench).await;
    let mut app = spec(&bench, &image, &format!("sick-{}", bench.tag), Some("/health"), env(&[]));
    starts_by(&mut app, &format!("exec node -e '{APP}'"));
    // Shorter than elsewhere: it hangs, and that is waited for. Longer than the pauses of a busy machine.
    let (interval, timeout) = (DurationMs(100), DurationMs::seconds(5));
    let health = app.health.as_mut().unwrap();
    health.timeout = timeout;
    health.liveness = LivenessSettings { interval, timeout, failures: 2, path: None };
    let id = app.replica.clone();
    want(&bench, 1, vec![app]).await;
    let address = ready(&mut bench, &id).await;

    drop(tell(address, "/sick"));
    let evidence = unready(&mut bench, &id).await;
    assert_eq!(evidence.health.unwrap().last_probe, Some(ProbeResult::Status { status: 503 }));
    assert_eq!(evidence.restart, None, "it answers, so it lives");
    drop(tell(address, "/well"));
    assert_eq!(ready(&mut bench, &id).await, address, "the same sandbox");

    let _connection = tell(address, "/hang");
    let evidence = unready(&mut bench, &id).await;
    assert_eq!((evidence.health.unwrap().last_probe, evidence.restart), (Some(ProbeResult::TimedOut), None));
    let evidence = ended(&mut bench, &id).await;
    assert_eq!((evidence.exit, evidence.restart.unwrap().crashes), (None, 1));
    assert_eq!(evidence.health.unwrap().last_probe, Some(ProbeResult::TimedOut));
    let address = ready(&mut bench, &id).await;
    drop(tell(address, "/health"));
    want(&bench, 2, vec![]).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    bench.end(&own_layers(&image)).await;
}
