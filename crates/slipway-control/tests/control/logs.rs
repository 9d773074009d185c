//! What replicas print, and what became of them, as readers get it: searched, followed over restarts, and bounded.

use crate::client::Lines;
use crate::world::{WEB, World, wait};
use serde_json::Value;
use slipway_types::api::{DeploymentView, EventView};
use slipway_types::host::{ExitFacts, HostReport};
use slipway_types::log::{LogLine, LogMark, LogStream, ReplicaLine, ReplicaLines, RunChange, RunReport};
use slipway_types::{ReplicaId, RunId, ServiceId, TimestampMs};

/// A replica that prints what a test wants.
struct Printer<'w> {
    world: &'w World,
    live: DeploymentView,
    replica: ReplicaId,
    service: ServiceId,
    run: RunId,
}

impl<'w> Printer<'w> {
    async fn new(world: &'w World) -> Self {
        let live = world.deploy_to_end().await;
        let replica = ReplicaId::parse(format!("{}-1", live.deployment)).unwrap();
        let service = world.fake.seen(|seen| seen.running[&replica].clone());
        Self { world, live, replica, service, run: run(1) }
    }

    async fn tells(&self, change: RunChange) {
        let report = RunReport {
            replica: self.replica.clone(),
            deployment: self.live.deployment.clone(),
            service_id: self.service.clone(),
            run: self.run.clone(),
            at: 5,
            change,
        };
        self.world.fake.report(HostReport::Run(Box::new(report))).await;
    }

    /// Line `n` was printed at `n` seconds, and is number `n`. Returns once the server has written them.
    async fn prints(&self, lines: std::ops::Range<u64>) {
        let through = lines.end;
        let line = |number: u64| ReplicaLine {
            at: TimestampMs::try_from(number * 1000).unwrap(),
            stream: LogStream::Stdout,
            number: Some(number),
            line: format!("line {number} of {}", self.run),
        };
        let lines = ReplicaLines {
            replica: self.replica.clone(),
            deployment: self.live.deployment.clone(),
            service_id: self.service.clone(),
            run: self.run.clone(),
            lines: lines.map(line).collect(),
            through,
        };
        self.world.fake.report(HostReport::ReplicaLines(Box::new(lines))).await;
        let taken = (self.replica.clone(), self.run.clone(), through);
        wait(|| self.world.fake.seen(|seen| seen.lines_taken.contains(&taken))).await;
    }
}

fn run(number: u8) -> RunId {
    RunId::of_digest([number; 5])
}

fn crash() -> RunChange {
    let exit = Some(ExitFacts { code: None, signal: Some(9), out_of_memory: true });
    RunChange::Ended { asked: false, exit, why: "its process ended".to_owned() }
}

async fn logs(world: &World, query: &str) -> Vec<LogLine> {
    let answer = world.client.get(&format!("{WEB}/logs{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The first words of each line.
fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|line| line.line.split(" of ").next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_are_told_again_after_a_restart_are_written_once() {
    let world = World::new().await;
    let printer = Printer::new(&world).await;
    printer.tells(RunChange::Started).await;
    printer.prints(1..10).await;
    let (live, replica, service) = (printer.live.clone(), printer.replica.clone(), printer.service.clone());
    // The server died after it wrote lines 1 to 9, and before the host knew of more than 4.
    let world = world.restart_with(|fake| fake.seen(|_| ())).await;
    let printer = Printer { world: &world, live, replica, service, run: run(1) };
    printer.tells(RunChange::Adopted).await;
    printer.prints(5..13).await;
    let lines = logs(&world, "?grep=^line").await;
    assert_eq!(texts(&lines), (1..13).map(|n| format!("line {n}")).collect::<Vec<_>>());
    assert!(lines.iter().all(|line| line.run == Some(run(1)) && line.deployment.is_some() && line.cursor.is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_are_found_by_time_text_and_number() {
    let world = World::new().await;
    let printer = Printer::new(&world).await;
    printer.prints(1..21).await;
    for (query, wanted) in [
        ("?since=18000", vec!["line 18", "line 19", "line 20"]),
        ("?since=3000&until=5000", vec!["line 3", "line 4"]),
        ("?grep=line%201.%20&tail=2", vec!["line 18", "line 19"]),
        ("?tail=1", vec!["line 20"]),
        ("?tail=0", vec![]),
        ("?replica=1&tail=1", vec!["line 20"]),
        ("?replica=2", vec![]),
    ] {
        assert_eq!(texts(&logs(&world, query).await), wanted, "{query}");
    }
    for (query, code) in [
        ("?grep=(", "bad-pattern"),
        ("?grep=(a%7B1000%7D)%7B1000%7D", "bad-pattern"),
        ("?after=x", "bad-query"),
        ("?follow=true&until=5", "bad-query"),
        ("?restart=NO", "bad-id"),
    ] {
        assert_eq!(world.client.get(&format!("{WEB}/logs{query}")).await.refusal(), (400, code.to_owned()), "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_printed_around_a_crash_is_shown_with_how_it_ended() {
    let world = World::new().await;
    let mut printer = Printer::new(&world).await;
    assert_eq!(world.client.get(&format!("{WEB}/logs?restart=latest")).await.refusal().1, "no-restart");
    printer.tells(RunChange::Started).await;
    printer.prints(1..10).await;
    printer.tells(crash()).await;
    printer.run = run(2);
    printer.tells(RunChange::Started).await;
    printer.prints(1..10).await;
    let wanted = ["line 8", "line 9", "", "", "line 1", "line 2"];
    for which in ["latest".to_owned(), run(1).to_string()] {
        let lines = logs(&world, &format!("?restart={which}&tail=2")).await;
        assert_eq!((lines.len(), lines[2].mark, lines[3].mark), (6, Some(LogMark::Ended), Some(LogMark::Started)));
        assert!(lines[2].exit.is_some_and(|exit| exit.out_of_memory && exit.signal == Some(9)), "{lines:?}");
        assert!(lines[2].line.contains("memory") && lines[2].line.contains(run(1).as_str()), "{lines:?}");
        let texts: Vec<_> = texts(&lines);
        assert!(texts.iter().zip(wanted).all(|(text, wanted)| text.starts_with(wanted)), "{texts:?}");
    }
    let refusal = |which| async move { world.client.get(&format!("{WEB}/logs?restart={which}")).await.refusal() };
    let runs = refusal(run(2).to_string());
    assert_eq!(runs.await, (409, "run-goes-on".to_owned()));
}

/// Reads a stream until it has shown line `n`, and answers with the texts and the last cursor.
async fn read_to(lines: &mut Lines, n: u64) -> (Vec<String>, String) {
    lines.until(Some(&format!("line {n} of"))).await;
    let parsed = lines.text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let with_text: Vec<_> = parsed.filter(|line| line.get("line").is_some()).collect();
    let texts = with_text.iter().map(|line| line["line"].as_str().unwrap().split(" of ").next().unwrap().to_owned());
    (texts.collect(), with_text.last().unwrap()["cursor"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_goes_on_where_it_was_when_the_server_comes_back() {
    let world = World::new().await;
    let printer = Printer::new(&world).await;
    let mut lines = world.client.lines(&format!("{WEB}/logs?follow=true&positions=true&tail=0")).await;
    lines.until(Some("cursor")).await;
    printer.prints(1..5).await;
    let (seen, cursor) = read_to(&mut lines, 4).await;
    assert_eq!(seen, ["line 1", "line 2", "line 3", "line 4"]);
    // These it misses.
    drop(lines);
    printer.prints(5..8).await;
    let (live, replica, service) = (printer.live.clone(), printer.replica.clone(), printer.service.clone());
    let world = world.restart().await;
    let printer = Printer { world: &world, live, replica, service, run: run(1) };
    let mut lines = world.client.lines(&format!("{WEB}/logs?follow=true&after={cursor}&grep=^line")).await;
    printer.tells(RunChange::Adopted).await;
    printer.prints(6..11).await;
    assert_eq!(read_to(&mut lines, 10).await.0, (5..11).map(|n| format!("line {n}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_stay_within_their_bounds_and_what_is_gone_is_said() {
    let world = World::with(|config| config.logs.service_bytes = 64 << 10).await;
    let printer = Printer::new(&world).await;
    for batch in 0..40 {
        printer.prints(batch * 100 + 1..batch * 100 + 101).await;
    }
    let dir = world.path(&format!("logs/services/{}", printer.service));
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
    let bytes: u64 = files.sum();
    assert!((32 << 10..=64 << 10).contains(&bytes), "{bytes}");
    let lines = logs(&world, "").await;
    assert_eq!(lines[0].mark, Some(LogMark::Removed));
    assert!(lines[0].line.contains("limit `logs.service_bytes` (64 KB)"), "{}", lines[0].line);
    assert_eq!(texts(&lines).last().unwrap(), "line 4000");
    assert!(logs(&world, "?since=3999000").await.iter().all(|line| line.mark.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_logs_together_stay_within_theirs_and_the_oldest_go_first() {
    let world = World::with(|config| {
        (config.logs.service_bytes, config.logs.deployment_bytes, config.logs.server_bytes) =
            (1 << 20, 3 << 20, 256 << 10);
    })
    .await;
    world.fake.script(|script| script.prints = Some("x".repeat(10_000)));
    let old = world.deploy_to_end().await;
    let printer = Printer::new(&world).await;
    let log = |view: &DeploymentView| world.path(&format!("logs/deployments/{}", view.deployment));
    assert!(log(&old).exists());
    let mut n = 1;
    let sweeping = async {
        while log(&old).exists() {
            printer.prints(n..n + 100).await;
            n += 100;
        }
    };
    tokio::time::timeout(crate::client::PATIENCE, sweeping).await.expect("the oldest log to go");
    let events = world.client.follow(old.deployment.as_str()).await;
    let text = format!("{events:?}");
    assert!(text.contains("was removed") && text.contains("`logs.server_bytes`"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_has_the_runs_of_replicas_and_goes_on() {
    let world = World::new().await;
    let printer = Printer::new(&world).await;
    let mut lines = world.client.lines(&format!("{WEB}/events?follow=true&limit=1")).await;
    lines.until(Some("\n")).await;
    printer.tells(RunChange::Started).await;
    printer.tells(RunChange::Ended { asked: true, exit: None, why: String::new() }).await;
    lines.until(Some("replica-stopped")).await;
    let followed: Vec<EventView> = lines.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = &followed[followed.len() - 2..];
    assert_eq!([last[0].kind.as_str(), last[1].kind.as_str()], ["replica-started", "replica-stopped"]);
    assert!(last.iter().all(|event| event.run == Some(run(1)) && event.replica == Some(printer.replica.clone())));
    assert!(followed.windows(2).all(|pair| pair[0].id < pair[1].id), "{followed:?}");
    // Over a restart of the server, without a gap.
    let (after, live) = (followed[followed.len() - 2].id, printer.live.clone());
    let (replica, service) = (printer.replica.clone(), printer.service.clone());
    let world = world.restart().await;
    let mut lines = world.client.lines(&format!("/v1/events?follow=true&after={after}&project=shop")).await;
    let printer = Printer { world: &world, live, replica, service, run: run(2) };
    printer.tells(RunChange::Started).await;
    lines.until(Some("replica-started")).await;
    let kinds: Vec<String> =
        lines.text.lines().map(|line| serde_json::from_str::<EventView>(line).unwrap().kind).collect();
    assert_eq!(
        (kinds.first().unwrap().as_str(), kinds.last().unwrap().as_str()),
        ("replica-stopped", "replica-started")
    );
    assert_eq!(kinds.iter().filter(|kind| *kind == "replica-stopped").count(), 1);
}
