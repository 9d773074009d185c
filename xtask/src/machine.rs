//! A whole machine of a user, in QEMU: Debian with systemd and cgroups v2 on which Slipway is installed, restarted, killed, upgraded, rebooted,
//! reset and uninstalled, by `xtask/machine/trial.sh`, which runs inside at each boot and says how each step went.
//!
//! Its processor is translated, so that it runs wherever the project is built. It has no network: what it deploys comes in by a backup.

mod image;

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Three boots and everything between take about six minutes.
const TIME_MAX: Duration = Duration::from_secs(40 * 60);
const MEMORY: &str = "3072";
/// What the script prints last.
const DONE: &str = "1..";

/// Prints what the machine says; an error when a step of it failed or it did not come to its end.
pub(crate) fn run() -> Result<()> {
    let directory = Path::new("target/machine");
    let system = image::system(directory)?;
    let payload = image::payload(directory)?;
    let mut machine = start(&system, &payload)?;
    let verdict = follow(&mut machine);
    // It has powered itself off, or is not to go on.
    let _ = machine.kill();
    machine.wait()?;
    verdict
}

fn start(system: &image::System, payload: &Path) -> Result<Child> {
    let mut command = Command::new("qemu-system-x86_64");
    command.args(["-accel", "tcg,thread=multi", "-machine", "q35", "-cpu", "max", "-smp", "2", "-m", MEMORY]);
    command.args(["-nodefaults", "-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci"]);
    command.arg("-kernel").arg(&system.kernel).arg("-initrd").arg(&system.initrd);
    command.args([
        "-append",
        "root=/dev/vda rw console=ttyS0 quiet mitigations=off systemd.mask=serial-getty@ttyS0.service",
    ]);
    // The system's image stays as it is: what is written is gone with QEMU.
    command.arg("-drive").arg(drive(&system.disk, "snapshot=on"));
    command.arg("-drive").arg(drive(payload, "readonly=on"));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().context("`qemu-system-x86_64` could not be started")
}

fn drive(file: &Path, how: &str) -> String {
    format!("file={},format=raw,if=virtio,{how}", file.display())
}

fn follow(machine: &mut Child) -> Result<()> {
    let console = machine.stdout.take().context("the machine's console")?;
    let pid = machine.id().to_string();
    let began = Instant::now();
    // Its console ends with it: a machine that says nothing any more is ended from outside.
    std::thread::spawn(move || {
        std::thread::sleep(TIME_MAX);
        let _ = Command::new("kill").arg(&pid).status();
    });
    let mut failed = Vec::new();
    for line in BufReader::new(console).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).replace('\r', "");
        println!("{:6.1} s  {line}", began.elapsed().as_secs_f64());
        if line.starts_with("not ok") {
            failed.push(line);
        } else if line.starts_with(DONE) {
            ensure!(failed.is_empty(), "failed in the machine: {}", failed.join(", "));
            return Ok(());
        }
    }
    bail!("the machine ended before its trial did; failed: [{}]", failed.join(", "))
}
