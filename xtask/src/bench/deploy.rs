//! A deployment of the example with unchanged dependencies against the same build and start by hand: same machine, same
//! Node.js, same change to the source each round, both with a warm build cache.

use super::tools::{Toolchain, run};
use super::{median, row, slipway};
use anyhow::{Context, Result, ensure};
use slipway_testing::{TestServer, app, http};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROUNDS: usize = 5;
const READY_BOUND: Duration = Duration::from_secs(60);

/// Slipway and the same app by hand, both built once.
struct Pair {
    server: TestServer,
    ours: PathBuf,
    bare: PathBuf,
    node: Toolchain,
    _dir: TempDir,
}

impl Pair {
    fn new() -> Result<Pair> {
        let slipway = slipway()?;
        let server = TestServer::start(&slipway.to_string_lossy());
        let dir = tempfile::tempdir()?;
        let (ours, bare) = (dir.path().join("ours"), dir.path().join("bare"));
        for copy in [&ours, &bare] {
            run(Command::new("cp").arg("-r").arg(app::example("nextjs")).arg(copy))?;
        }
        let _ = server.run_in(&ours, &["up", "--json"]).expect_code(0);
        let node = Toolchain::mount(slipway.parent().context("own directory")?, dir.path())?;
        run(node.command("npm ci --no-audit --no-fund", &bare))?;
        run(node.command("npm run build", &bare))?;
        Ok(Pair { server, ours, bare, node, _dir: dir })
    }

    /// Both sides get the same change.
    fn change(&self, round: usize) -> Result<()> {
        for copy in [&self.ours, &self.bare] {
            let page = copy.join("app/page.tsx");
            let text = std::fs::read_to_string(&page)?;
            std::fs::write(&page, text.replace("It is live", &format!("It is live {round}")))?;
        }
        Ok(())
    }

    /// Seconds from the command to a live deployment.
    fn deploy(&self, command: &[&str]) -> Result<f64> {
        let start = Instant::now();
        let _ = self.server.run_in(&self.ours, command).expect_code(0);
        Ok(start.elapsed().as_secs_f64())
    }

    fn report(&self, what: &str, goal: &str, command: &[&str], changes: bool) -> Result<()> {
        let (mut ratios, mut seconds, mut references) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            if changes {
                self.change(round)?;
            }
            let reference = build_and_start(&self.node, &self.bare)?;
            let measured = self.deploy(command)?;
            ratios.push(measured / reference);
            seconds.push(measured);
            references.push(reference);
        }
        let (ratio, own, bare) = (median(&ratios), median(&seconds), median(&references));
        row(&format!("{what} ÷ bare build and start"), &format!("{ratio:.2} ({own:.1} s against {bare:.1} s)"), goal);
        Ok(())
    }
}

/// The source changes each round, its dependencies do not.
pub(crate) fn compare() -> Result<()> {
    let up = ["up", "--json"];
    Pair::new()?.report("deploy of the example, dependencies unchanged", "≤ 1.25", &up, true)
}

/// Nothing changes: the image is taken as it is, or built again on request.
pub(crate) fn unchanged() -> Result<()> {
    let pair = Pair::new()?;
    pair.report("redeploy of the unchanged example", "≤ 1.10", &["redeploy", "--json"], false)?;
    let rebuild = ["redeploy", "--rebuild", "--json"];
    pair.report("the same, built again", "≤ 1.25", &rebuild, false)
}

/// Seconds from `npm run build` to the first 200.
fn build_and_start(node: &Toolchain, app: &Path) -> Result<f64> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let start = Instant::now();
    run(node.command("npm run build", app))?;
    let mut child = node.command(&format!("exec node_modules/.bin/next start -p {port}"), app).spawn()?;
    let seconds = loop {
        if http::get(port, "localhost", "/healthz").is_ok_and(|answer| answer.status == 200) {
            break start.elapsed().as_secs_f64();
        }
        ensure!(start.elapsed() < READY_BOUND, "the bare app did not start");
        std::thread::sleep(Duration::from_millis(10));
    };
    child.kill()?;
    child.wait()?;
    Ok(seconds)
}
