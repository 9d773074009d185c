//! What an app prints reaches whoever follows it: over crashes, and over restarts and kills of the server, each line once. One that
//! floods is held within its bounds, and nobody else notices.

use crate::{BINARY, crash, up};
use serde_json::Value;
use slipway_testing::{App, TestServer, wait};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const BOUND: Duration = Duration::from_secs(60);
/// A line that is numbered within its run, with the instant at which it is printed.
const CHATTER: &str = r#"
let n = 0;
setInterval(() => console.log(`tick ${process.env.HOSTNAME ?? ""} ${++n} ${Date.now()}`), 20);
require("http").createServer((request, answer) => {
  if (request.url === "/crash") { console.error("about to crash"); process.exit(3); }
  answer.end("here\n");
}).listen(process.env.PORT, process.env.HOST);
"#;
/// As many bytes as the pipe takes.
const FLOOD: &str = r#"
const { spawn } = require("child_process");
console.log("the flood begins");
spawn("yes", ["a line of a flood that says nothing at all, over and over again"], { stdio: "inherit" });
require("http").createServer((_, answer) => answer.end("here\n")).listen(process.env.PORT, process.env.HOST);
"#;

/// `slipway logs` in the background.
struct Follower {
    child: Child,
    path: PathBuf,
}

impl Follower {
    fn start(server: &TestServer, app: &App, file: &Path) -> Self {
        let mut command = server.command(&["logs", "--follow", "--json"]);
        command.current_dir(app.path()).stdin(Stdio::null()).stdout(File::create(file).unwrap()).stderr(Stdio::null());
        Self { child: command.spawn().unwrap(), path: file.to_owned() }
    }

    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.path).unwrap();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Of each run: the numbers of its ticks.
    fn ticks(&self) -> BTreeMap<String, Vec<u64>> {
        let mut ticks = BTreeMap::<String, Vec<u64>>::new();
        for line in self.lines() {
            let text = line["line"].as_str().unwrap();
            if let Some(number) = text.strip_prefix("tick").and_then(|rest| rest.split_whitespace().rev().nth(1)) {
                ticks.entry(line["run"].as_str().unwrap().to_owned()).or_default().push(number.parse().unwrap());
            }
        }
        ticks
    }

    /// Waits for so many more ticks than there are.
    fn until_more(&self, server: &TestServer, more: usize) {
        let count = || self.ticks().values().map(Vec::len).sum::<usize>();
        let before = count();
        wait::until(&format!("more ticks\n{}", server.log()), BOUND, || (count() >= before + more).then_some(()));
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn app(name: &str, server_js: &str) -> App {
    App::node(name, "v1").with("server.js", server_js)
}

fn median(mut values: Vec<Duration>) -> Duration {
    values.sort();
    values[values.len() / 2]
}

/// How long an answer takes, and how old a line is when it is at hand.
fn latencies(server: &TestServer, follower: &Follower) -> (Duration, Duration) {
    let request = || {
        let begun = Instant::now();
        assert_eq!(server.get("web-chatter.localhost", "/").body, "here\n");
        begun.elapsed()
    };
    let requests = (0..40).map(|_| request()).collect();
    let line = || {
        follower.until_more(server, 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let line = follower.lines().into_iter().rfind(|line| line["line"].as_str().unwrap().starts_with("tick"));
        let printed_ms = line.unwrap()["line"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        now.saturating_sub(Duration::from_millis(printed_ms))
    };
    (median(requests), median((0..7).map(|_| line()).collect()))
}

#[test]
fn each_line_comes_once_whatever_ends_and_a_flood_slows_nobody_else() {
    let mut server = TestServer::start_with(BINARY, "[logs]\nservice_bytes = \"4MB\"\nreplica_rate = \"256KB\"\n");
    let chatter = app("chatter", CHATTER);
    up(&server, chatter.path());
    let dir = tempfile::tempdir().unwrap();
    let follower = Follower::start(&server, &chatter, &dir.path().join("follower.ndjson"));
    follower.until_more(&server, 20);
    server.kill_process();
    server.start_process();
    follower.until_more(&server, 30);
    server.stop_process();
    server.start_process();
    follower.until_more(&server, 30);
    for (run, ticks) in follower.ticks() {
        assert!(ticks.iter().copied().eq(1..=ticks.len() as u64), "{run} has lost or doubled lines: {ticks:?}");
    }

    let (quiet_request, quiet_line) = latencies(&server, &follower);
    let flood = app("flood", FLOOD);
    up(&server, flood.path());
    let dropped = || server.run_in(flood.path(), &["logs", "--tail", "1", "--grep", "were dropped here"]).stdout;
    wait::until("the flood to be too much", BOUND, || dropped().contains("lines (").then_some(()));
    // Medians; the flood itself takes the processor time that its limits give it, and for a moment somebody else may take more.
    let is_slowed = |_| {
        let (request, line) = latencies(&server, &follower);
        println!("request {quiet_request:?} -> {request:?}, line {quiet_line:?} -> {line:?}");
        request > quiet_request * 10 + Duration::from_millis(100) || line > quiet_line * 10 + Duration::from_millis(500)
    };
    assert!(!(0..3).all(is_slowed), "slowed by the flood");
    for log in std::fs::read_dir(server.data().join("logs/services")).unwrap() {
        let files = std::fs::read_dir(log.unwrap().path()).unwrap();
        // The oldest one may just have been removed.
        let bytes: u64 = files.filter_map(|file| Some(file.unwrap().metadata().ok()?.len())).sum();
        assert!(bytes <= 4 << 20, "{bytes}");
    }
    // Other tests run beside this one.
    let _ = server.run_in(flood.path(), &["destroy", "--yes"]).expect_code(0);

    // A crash, and what was printed around it.
    let _ = crash(&server, "web-chatter.localhost");
    wait::until("the next run", BOUND, || (follower.ticks().len() == 2).then_some(()));
    follower.until_more(&server, 5);
    let around = server.run_in(chatter.path(), &["logs", "--restart", "latest", "--tail", "3"]).expect_code(0).stdout;
    let place = |text: &str| around.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{around}"));
    let (said, ended, started) = (place("about to crash"), place("status 3"), place(" started (run "));
    assert!(said < ended && ended < started, "{around}");
    assert!(around.lines().count() > started + 1, "{around}");
    let events = server.run_in(chatter.path(), &["events", "--json", "--project", "chatter"]).expect_code(0).stdout;
    for run in follower.ticks().keys() {
        assert!(events.contains(run.as_str()), "{run}: {events}");
    }
    let phase = server.run_in(chatter.path(), &["logs", "--phase", "source"]).expect_code(0).stdout;
    assert!(phase.starts_with("[source]"), "{phase}");
}
