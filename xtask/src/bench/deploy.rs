//! A deployment of the example with unchanged dependencies against the same build and start by hand: same machine, same
//! Node.js, same change to the source each round, both with a warm build cache.

use super::{median, row, slipway};
use anyhow::{Context, Result, ensure};
use slipway_testing::{TestServer, app, http};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const READY_BOUND: Duration = Duration::from_secs(60);

pub(crate) fn compare() -> Result<()> {
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
    let (mut ratios, mut seconds) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for copy in [&ours, &bare] {
            let page = copy.join("app/page.tsx");
            std::fs::write(
                &page,
                std::fs::read_to_string(&page)?.replace("It is live", &format!("It is live {round}")),
            )?;
        }
        let reference = build_and_start(&node, &bare)?;
        let start = Instant::now();
        let _ = server.run_in(&ours, &["up", "--json"]).expect_code(0);
        let measured = start.elapsed().as_secs_f64();
        ratios.push(measured / reference);
        seconds.push((measured, reference));
    }
    let (own, by_hand): (Vec<f64>, Vec<f64>) = seconds.into_iter().unzip();
    let figure = format!("{:.2} ({:.1} s against {:.1} s)", median(&ratios), median(&own), median(&by_hand));
    row("deploy of the example, dependencies unchanged ÷ bare build and start", &figure, "≤ 1.25");
    Ok(())
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

/// The Node.js that the deployment used, from its layers, so that both sides run the same program.
struct Toolchain {
    mounts: Vec<PathBuf>,
    path: String,
}

impl Toolchain {
    fn mount(target: &Path, dir: &Path) -> Result<Toolchain> {
        let mut toolchain = Toolchain { mounts: Vec::new(), path: String::new() };
        for entry in std::fs::read_dir(target.join("test-shared/layers"))? {
            let image = entry?.path();
            let name = image.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !name.starts_with("toolchain-") || !name.ends_with(".img") {
                continue;
            }
            let at = dir.join(&name);
            std::fs::create_dir(&at)?;
            run(Command::new("mount").args(["-o", "loop,ro"]).arg(&image).arg(&at))?;
            for program in std::fs::read_dir(at.join("upper/opt/slipway"))? {
                let bin = usable_bin(&program?.path(), dir)?;
                toolchain.path.push_str(&format!("{}:", bin.display()));
            }
            toolchain.mounts.push(at);
        }
        ensure!(!toolchain.mounts.is_empty(), "no toolchain layer was made");
        Ok(toolchain)
    }

    fn command(&self, line: &str, dir: &Path) -> Command {
        let path = format!("{}{}", self.path, std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).current_dir(dir).env("PATH", path).env("NEXT_TELEMETRY_DISABLED", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// The layer's own launcher of npm names the path that it has in a sandbox: outside of one it gets another.
fn usable_bin(program: &Path, dir: &Path) -> Result<PathBuf> {
    let cli = program.join("lib/npm/bin/npm-cli.js");
    if !cli.exists() {
        return Ok(program.join("bin"));
    }
    let tools = dir.join("tools");
    std::fs::create_dir_all(&tools)?;
    let launcher = tools.join("npm");
    std::fs::write(&launcher, format!("#!/bin/sh\nexec node '{}' \"$@\"\n", cli.display()))?;
    std::fs::set_permissions(&launcher, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(tools)
}

impl Drop for Toolchain {
    fn drop(&mut self) {
        for at in &self.mounts {
            let _ = Command::new("umount").arg(at).status();
        }
    }
}

fn run(command: impl std::borrow::BorrowMut<Command>) -> Result<()> {
    let mut command = command;
    let status = command.borrow_mut().status()?;
    ensure!(status.success(), "{:?} ended with {status}", command.borrow_mut());
    Ok(())
}
