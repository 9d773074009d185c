//! Carries an installation out, or takes it away.

use super::firewall::{self, CONFIRM_WITHIN, Nft};
use super::plan::{Change, Content, Wanted, digest_of, wanted};
use super::record::{RECORD, Record, beside, replace};
use super::{InstallSpec, unit};
use crate::failure::Failure;
use crate::output;
use crate::server::configured_network;
use slipway_sandbox::NetworkConfig;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, IsTerminal};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Apps have ten seconds to stop by default.
const STOPPING_WAIT_MAX: Duration = Duration::from_secs(15);
const STOPPING_LOOK: Duration = Duration::from_millis(100);
/// Started with the machine, in this order. The socket leaves first: who connects to it would start the server again.
const UNITS: [&str; 3] = ["slipway-firewall.service", "slipway-edge.socket", "slipway.service"];

/// # Errors
/// When this machine cannot have it, or something that is there is in its way.
pub(crate) fn install(spec: &InstallSpec) -> Result<(), Failure> {
    let (wanted, ports) = wanted(spec)?;
    let record = Record::read(&spec.below(RECORD))?.unwrap_or_default();
    let changes: Vec<Change> = wanted.iter().map(|file| file.change(spec, &record)).collect::<Result<_, _>>()?;
    // `nft` checks nothing for others.
    if spec.firewall && rustix::process::geteuid().is_root() {
        // Also where nothing is done: rules that are shown are rules that work.
        Nft::of_this_machine().check(&firewall::rules(&ports))?;
    }
    if spec.dry_run {
        return show(spec, &wanted, &changes);
    }
    if spec.is_this_machine() {
        check_machine()?;
    }
    let is_new = |path: &str| wanted.iter().zip(&changes).any(|(file, change)| file.path == path && is_write(*change));
    let nft = Nft::of_this_machine();
    let former = nft.present();
    let in_force = spec.is_this_machine() && is_new(unit::FIREWALL);
    if in_force {
        put_in_force(&nft, former.as_deref(), &ports)?;
    }
    let written = write(spec, &wanted, &changes, record).inspect_err(|_| {
        // Rules without the file that they come from would be gone after a reboot, and nobody would know of them.
        let back = if in_force { nft.restore(former.as_deref()) } else { Ok(()) };
        back.unwrap_or_else(|failure| output::say(&format!("warning: {}", failure.in_one_line())));
    })?;
    for (file, _) in
        wanted.iter().zip(&changes).filter(|(file, change)| **change == Change::Keep && file.path != unit::CONFIG)
    {
        output::say(&format!("kept `{}`, which was changed by hand", spec.below(file.path).display()));
    }
    if written == 0 {
        output::say("nothing to change: everything is installed as it should be");
    }
    if !spec.is_this_machine() {
        output::say(&format!("prepared below `{}`; nothing was started", spec.root.display()));
        return Ok(());
    }
    start(spec, written > 0, is_new(unit::SOCKET), is_new(unit::BINARY) || is_new(unit::SERVICE))
}

fn is_write(change: Change) -> bool {
    matches!(change, Change::Create | Change::Replace)
}

/// Root, and systemd as the first process.
fn check_machine() -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        return Err(
            Failure::usage("only root can install a service").hint("run it by `sudo`; `--dry-run` needs no rights")
        );
    }
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(Failure::usage(
            "systemd does not run on this machine, so there is nothing to install a service into",
        )
        .hint("run `slipway server` under the supervisor that you have, or prepare files by `--root DIR`"));
    }
    Ok(())
}

fn show(spec: &InstallSpec, wanted: &[Wanted], changes: &[Change]) -> Result<(), Failure> {
    for (file, change) in wanted.iter().zip(changes) {
        let what = match change {
            Change::Nothing => "is there already",
            Change::Create => "would be written",
            Change::Replace => "would be replaced",
            Change::Keep => "would be kept as it is",
        };
        output::data(&format!("# {} (mode {:o}) {what}", spec.below(file.path).display(), file.mode))?;
        match &file.content {
            Content::Text(text) => output::data(text)?,
            Content::CopyOf(from) => output::data(&format!("# a copy of {}\n", from.display()))?,
            Content::LinkTo(target) => output::data(&format!("# a link to {target}\n"))?,
        }
    }
    output::say("nothing was changed");
    Ok(())
}

/// Writes what is to be written, noted before. Says how many files.
fn write(spec: &InstallSpec, wanted: &[Wanted], changes: &[Change], mut record: Record) -> Result<usize, Failure> {
    let writes: Vec<&Wanted> =
        wanted.iter().zip(changes).filter(|(_, change)| is_write(**change)).map(|(file, _)| file).collect();
    if writes.is_empty() {
        return Ok(0);
    }
    let failed = |path: &Path| {
        let message = format!("cannot write `{}`", path.display());
        move |error: io::Error| {
            Failure::server(message).caused_by(&error).hint("`slipway uninstall` removes what was written")
        }
    };
    let record_path = spec.below(RECORD);
    for file in &writes {
        note_directories(spec, file.path, &mut record);
        record.files.insert(file.path.to_owned(), file.digest()?);
    }
    note_directories(spec, RECORD, &mut record);
    make_parent(&record_path).and_then(|()| record.write(&record_path)).map_err(failed(&record_path))?;
    for file in &writes {
        let path = spec.below(file.path);
        let written = make_parent(&path).and_then(|()| match &file.content {
            Content::Text(text) => replace(&path, file.mode, &mut text.as_bytes()),
            Content::CopyOf(from) => replace(&path, file.mode, &mut File::open(from)?),
            Content::LinkTo(target) => symlink(target, &path),
        });
        written.map_err(failed(&path))?;
        output::say(&format!("wrote `{}`", path.display()));
    }
    Ok(writes.len())
}

fn make_parent(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path.parent().unwrap_or(Path::new("/")))
}

/// Those above a file that are not there yet: nearest first.
fn note_directories(spec: &InstallSpec, path: &str, record: &mut Record) {
    for directory in Path::new(path).ancestors().skip(1).filter(|directory| directory.parent().is_some()) {
        let name = directory.to_string_lossy().into_owned();
        if !spec.below(&name).exists() && !record.directories.contains(&name) {
            record.directories.push(name);
        }
    }
}

/// Applies the rules; on a terminal they stay only when somebody says so.
fn put_in_force(nft: &Nft, former: Option<&str>, ports: &BTreeSet<u16>) -> Result<(), Failure> {
    let guard = match io::stdin().is_terminal() {
        true => Some(nft.guard(former, CONFIRM_WITHIN)?),
        false => None,
    };
    nft.apply(&firewall::rules(ports))?;
    let open = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    output::say(&format!("the firewall is in force: open are the ports {open}"));
    let Some(guard) = guard else { return Ok(()) };
    output::say(&format!(
        "open a second connection to this machine to see that you still can, then write `yes` here; otherwise the firewall is \
         taken back after {} s and nothing is installed",
        CONFIRM_WITHIN.as_secs()
    ));
    match said_yes() {
        true => guard.confirm(),
        // The guard takes it back in its time, also when this process is gone.
        false => Err(Failure::usage("the firewall was not confirmed: it is taken back, and nothing was installed")
            .hint("`--allow PORT` opens another port, `--no-firewall` does without")),
    }
}

fn said_yes() -> bool {
    let (said, hears) = mpsc::channel();
    // Reading cannot be given up: the thread ends with the process.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = io::stdin().lock().read_line(&mut line);
        let _ = said.send(line);
    });
    hears.recv_timeout(CONFIRM_WITHIN).is_ok_and(|line| line.trim().eq_ignore_ascii_case("yes"))
}

fn start(spec: &InstallSpec, changed: bool, socket_changed: bool, server_changed: bool) -> Result<(), Failure> {
    if changed {
        systemctl(&["daemon-reload"])?;
    }
    if socket_changed {
        // A socket is not opened anew below a server that runs on it.
        systemctl(&["stop", "slipway-edge.socket", "slipway.service"])?;
    }
    let units = UNITS.iter().filter(|unit| spec.firewall || !unit.contains("firewall"));
    for unit in units {
        let is = |what: &str| {
            let asked = Command::new("systemctl").args([what, "--quiet", unit]).status();
            asked.is_ok_and(|status| status.success())
        };
        if !is("is-enabled") || !is("is-active") {
            output::say(&format!("starting {unit}; the server's first start takes a minute or two"));
            systemctl(&["enable", "--now", unit])?;
        } else if server_changed && *unit == "slipway.service" {
            output::say("restarting the server; apps go on");
            systemctl(&["restart", unit])?;
        }
    }
    Ok(())
}

fn systemctl(arguments: &[&str]) -> Result<(), Failure> {
    let command = arguments.join(" ");
    let output = Command::new("systemctl").args(arguments).output();
    let output = output.map_err(|error| Failure::server("cannot run `systemctl`").caused_by(&error))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::server(format!("`systemctl {command}` failed"))
        .caused_by(&io::Error::other(output::printable(&told)))
        .hint("`journalctl --namespace slipway` has the server's own words"))
}

/// Those that are left after a moment: what was just destroyed is still being stopped.
fn apps_that_stay(data_dir: &Path) -> usize {
    output::say("waiting for what is being stopped");
    let begun = Instant::now();
    loop {
        let left = apps(data_dir);
        if left == 0 || begun.elapsed() > STOPPING_WAIT_MAX {
            return left;
        }
        std::thread::sleep(STOPPING_LOOK);
    }
}

/// Removes what was installed; with `purge`, the configuration that was changed and the data too.
///
/// # Errors
/// When something cannot be removed, or the data is to go and its apps still run.
pub(crate) fn uninstall(spec: &InstallSpec, data_dir: &Path, purge: bool) -> Result<(), Failure> {
    let record_path = spec.below(RECORD);
    let record = Record::read(&record_path)?;
    let mut apps = if spec.is_this_machine() { apps(data_dir) } else { 0 };
    if purge && apps > 0 && !spec.dry_run {
        apps = apps_that_stay(data_dir);
    }
    if purge && apps > 0 {
        let sandboxes = if apps == 1 { "sandbox" } else { "sandboxes" };
        return Err(Failure::usage(format!(
            "{apps} {sandboxes} of apps and builds still run on the data in `{}`",
            data_dir.display()
        ))
        .hint("`slipway destroy --all` ends them, with all services; then uninstall"));
    }
    // Read before it is removed. One that is not usable keeps nobody from removing it.
    let network = (purge && !spec.dry_run && spec.is_this_machine()).then(configured_network);
    if let Some(record) = record {
        if spec.dry_run {
            record.files.keys().for_each(|path| output::say(&format!("would remove `{}`", spec.below(path).display())));
        } else {
            remove_installed(spec, record, &record_path, purge)?;
        }
    } else {
        output::say("nothing is installed");
    }
    match (purge, spec.dry_run) {
        (true, false) => {
            if let Some(network) = network {
                remove_rules(network);
            }
            remove_tree(&spec.below(&data_dir.to_string_lossy()))?;
            output::say(&format!("removed the data in `{}`", data_dir.display()));
        }
        _ if data_dir.exists() => output::say(&format!("the data in `{}` stays", data_dir.display())),
        _ => {}
    }
    if apps > 0 {
        output::say(&format!(
            "{apps} sandboxes of apps still run, until the machine is rebooted or a server ends them"
        ));
    }
    Ok(())
}

fn remove_installed(spec: &InstallSpec, mut record: Record, record_path: &Path, purge: bool) -> Result<(), Failure> {
    let has_systemd = spec.is_this_machine() && Path::new("/run/systemd/system").is_dir();
    if has_systemd {
        for unit in ["slipway-edge.socket", "slipway.service", "slipway-firewall.service"]
            .iter()
            .filter(|unit| record.files.keys().any(|path| path.ends_with(**unit)))
        {
            systemctl(&["disable", "--now", unit])?;
        }
        // It came with the first line of the server's log. Where it is not there, there is nothing to stop.
        let _ = systemctl(&["stop", "systemd-journald@slipway.service", "systemd-journald@slipway.socket"]);
        let _ = systemctl(&["stop", "systemd-journald-varlink@slipway.socket"]);
        if purge {
            remove_journal()?;
        }
    }
    if spec.is_this_machine() && record.files.contains_key(unit::FIREWALL) {
        Nft::of_this_machine().remove()?;
    }
    for (path, digest) in record.files {
        let path_below = spec.below(&path);
        let is_changed = digest_of(&path_below).is_ok_and(|present| present != digest);
        if path == unit::CONFIG && is_changed && !purge {
            output::say(&format!("kept `{}`, which was changed by hand", path_below.display()));
            continue;
        }
        // What an installation that was killed had begun.
        let _ = fs::remove_file(beside(&path_below));
        match fs::remove_file(&path_below) {
            Ok(()) => output::say(&format!("removed `{}`", path_below.display())),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
            Err(error) => {
                return Err(Failure::server(format!("cannot remove `{}`", path_below.display())).caused_by(&error));
            }
        }
    }
    fs::remove_file(record_path)
        .map_err(|error| Failure::server(format!("cannot remove `{}`", record_path.display())).caused_by(&error))?;
    // The longest first: what is in it goes before it. One that has something else in it by now stays.
    record.directories.sort_by_key(|directory| std::cmp::Reverse(directory.len()));
    for directory in &record.directories {
        let _ = fs::remove_dir(spec.below(directory));
    }
    if has_systemd { systemctl(&["daemon-reload"]) } else { Ok(()) }
}

/// Of the sandboxes' network. Those that are left are gone after the next boot.
fn remove_rules(network: Result<NetworkConfig, Failure>) {
    let removed = network.map_err(|failure| failure.in_one_line());
    let removed =
        removed.and_then(|network| slipway_sandbox::remove_rules(&network).map_err(|error| error.to_string()));
    if let Err(why) = removed {
        output::say(&format!("warning: the rules of the sandboxes' network are left: {why}"));
    }
}

/// Of each machine id that the system has had.
fn remove_journal() -> Result<(), Failure> {
    for parent in ["/var/log/journal", "/run/log/journal"] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().ends_with(b".slipway")) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_tree(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::server(format!("cannot remove `{}`", path.display())).caused_by(&error))
        }
        _ => Ok(()),
    }
}

/// Sandboxes that there are; what stood ready for one does not count.
fn apps(data_dir: &Path) -> usize {
    let entries = fs::read_dir(data_dir.join("sandboxes")).into_iter().flatten().flatten();
    entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b".")).count()
}
