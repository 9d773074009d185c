//! Deployments of one service while another is under load. In each something is killed at a random moment: the server, the process
//! that holds a sandbox of the deployment, the sandbox's first process, or what runs in it.

use super::super::{median, percentile, row, slipway};
use anyhow::{Context, Result, bail};
use slipway_testing::load::{Kind, Load};
use slipway_testing::{App, TestServer, http};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

const STEADY: &str = "web-steady.localhost";
const AIM: &str = "web-aim.localhost";
/// A deployment of the app takes about as long.
const MOMENT_MAX_MS: u64 = 4500;
const BOUND: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Server,
    Shim,
    FirstProcess,
    Program,
}

const VICTIMS: [Victim; 4] = [Victim::Server, Victim::Shim, Victim::FirstProcess, Victim::Program];

/// Repeatable moments and victims: the generator of Knuth's MMIX.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[derive(Default)]
struct Report {
    /// How deployments ended, by victim.
    ends: BTreeMap<(Victim, String), usize>,
    lost: Vec<String>,
    wrong: Vec<String>,
    leaks: Vec<String>,
    answered: u64,
    /// From the start of the server to the first answer of an app that ran all the time.
    away_ms: Vec<f64>,
}

pub(super) fn deployments(rounds: usize, seed: u64) -> Result<()> {
    let mut server = TestServer::start(&slipway()?.to_string_lossy());
    let steady = App::node("steady", "steady");
    let aim = App::node("aim", "v0").settings("[build]\ncommand = \"sleep 1\"");
    for app in [&steady, &aim] {
        let _ = server.run_in(app.path(), &["up", "--json"]).expect_code(0);
    }
    let (mut random, mut report, mut former) = (Random(seed), Report::default(), "v0".to_owned());
    for round in 1..=rounds {
        former = one(&mut server, &aim, round, &former, &mut random, &mut report)?;
    }
    report.print(rounds, seed);
    Ok(())
}

/// One deployment with its crash. Answers the version that is live afterwards.
fn one(
    server: &mut TestServer,
    aim: &App,
    round: usize,
    former: &str,
    random: &mut Random,
    report: &mut Report,
) -> Result<String> {
    let victim = VICTIMS[usize::try_from(random.below(VICTIMS.len() as u64))?];
    let moment = Duration::from_millis(random.below(MOMENT_MAX_MS));
    let version = format!("v{round}");
    aim.set_version(&version);
    aim.settings_again(&format!("[build]\ncommand = \"sleep 1; true {round}\""));
    let load = Load::start(server.edge_port(), STEADY, &[Kind::KeepAlive, Kind::Close]);
    let deployment = server.run_in(aim.path(), &["up", "--detach", "--json"]).expect_code(0).outcome().deployment();
    std::thread::sleep(moment);
    let load = match victim {
        Victim::Server => {
            report.take(load);
            server.kill_process();
            let start = Instant::now();
            server.start_process();
            wait("the app that was live", || answer(server, STEADY).is_some().then_some(()))?;
            report.away_ms.push(start.elapsed().as_secs_f64() * 1000.0);
            None
        }
        _ => {
            kill_in_sandbox(server, aim, &deployment, victim)?;
            Some(load)
        }
    };
    let end = wait("the deployment to end", || server.ended(aim, &deployment))?;
    if let Some(load) = load {
        report.take(load);
    }
    let status = end["status"].as_str().unwrap_or_default().to_owned();
    let code = end["diagnosis"]["code"].as_str().unwrap_or_default().to_owned();
    // Killed before the switch it may fail, with a reason; killed after it, it comes back.
    let live = if status == "live" { version.clone() } else { former.to_owned() };
    let is_right = matches!((status.as_str(), code.as_str()), ("live", _)) || (status == "failed" && !code.is_empty());
    if !is_right || (victim == Victim::Server && status != "live") {
        report.wrong.push(format!("round {round}, {victim:?} after {moment:?}: {status} {code}"));
    }
    let served = wait("the version", || answer(server, AIM).filter(|body| *body == format!("{live}\n")));
    if served.is_err() {
        report.wrong.push(format!("round {round}, {victim:?} after {moment:?}: {status}, but {live} is not served"));
    }
    if wait("nothing to be left", || server.leftovers().is_empty().then_some(())).is_err() {
        report.leaks.extend(server.leftovers());
    }
    *report.ends.entry((victim, format!("{status} {code}"))).or_default() += 1;
    Ok(live)
}

impl Report {
    fn take(&mut self, load: Load) {
        let tally = load.stop();
        self.answered += tally.answered;
        self.lost.extend(tally.lost);
    }

    fn print(&self, rounds: usize, seed: u64) {
        for ((victim, end), count) in &self.ends {
            println!("<!-- {victim:?} killed: {end}: {count} -->");
        }
        for line in self.wrong.iter().chain(&self.lost).chain(&self.leaks) {
            println!("<!-- {line} -->");
        }
        let what = |what: &str| format!("{rounds} deployments, a `kill -9` in each (seed {seed}): {what}");
        let lost = format!("{} of {}", self.lost.len(), self.answered);
        row(&what("lost requests of another service"), &lost, "0");
        row(&what("wrong outcomes"), &self.wrong.len().to_string(), "0");
        row(&what("leaks"), &self.leaks.len().to_string(), "0");
        let away = format!("P50 {:.0} ms, P95 {:.0} ms", median(&self.away_ms), percentile(&self.away_ms, 0.95));
        row("start of a killed server until what was live answers", &away, "≤ 1000 ms");
    }
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let begun = Instant::now();
    while begun.elapsed() < BOUND {
        if let Some(found) = look() {
            return Ok(found);
        }
        std::thread::sleep(LOOK);
    }
    bail!("waited {BOUND:?} in vain for: {what}")
}

fn answer(server: &TestServer, host: &str) -> Option<String> {
    let response = http::get(server.edge_port(), host, "/").ok()?;
    (response.status == 200).then_some(response.body)
}

/// Kills in whichever sandbox of the deployment is there; waits for one if need be. One that ends by itself meanwhile is let go.
fn kill_in_sandbox(server: &TestServer, app: &App, deployment: &str, victim: Victim) -> Result<()> {
    let found = wait("a sandbox of the deployment", || {
        let name = server.sandboxes().into_iter().find(|name| name.contains(deployment));
        match name.and_then(|name| process(server, &name, victim)) {
            Some(pid) => Some(Some(pid)),
            None => server.ended(app, deployment).map(|_| None),
        }
    })?;
    if let Some(pid) = found {
        let status = Command::new("kill").args(["-9", &pid.to_string()]).status().context("kill")?;
        let _ = status.success();
    }
    Ok(())
}

fn process(server: &TestServer, sandbox: &str, victim: Victim) -> Option<i32> {
    let pid = |who: &str| server.process_of(sandbox, who);
    match victim {
        Victim::Shim => pid("shim"),
        Victim::FirstProcess => pid("init"),
        // The newest process below the first one.
        Victim::Program => {
            let init = pid("init")?;
            let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
            children.split_ascii_whitespace().next_back()?.parse().ok()
        }
        Victim::Server => None,
    }
}
