//! What an installation writes below another root, and what is left when it is taken away.

use crate::slipway::{Run, command, finish};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The binary with an agent beside it, in a directory of its own: as it is before it is installed, without what debuggers read.
fn unpacked(dir: &Path) -> PathBuf {
    let binary = dir.join("slipway");
    fs::create_dir_all(dir.join("libexec")).unwrap();
    let stripped = Command::new("strip").arg("-o").arg(&binary).arg(env!("CARGO_BIN_EXE_slipway")).status();
    if !stripped.is_ok_and(|status| status.success()) {
        fs::copy(env!("CARGO_BIN_EXE_slipway"), &binary).unwrap();
    }
    fs::write(dir.join("libexec/slipway-agent"), "an agent").unwrap();
    binary
}

fn run(binary: &Path, root: &Path, arguments: &[&str]) -> Run {
    let mut command = Command::new(binary);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/bin").args(arguments).arg("--root").arg(root);
    finish(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Every file, link and directory below a root, with what it is.
fn tree(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let what = match (metadata.is_dir(), fs::read_link(&path)) {
                (true, _) => "directory".to_owned(),
                (_, Ok(target)) => format!("-> {}", target.display()),
                _ => {
                    let text = fs::read(&path).unwrap();
                    format!(
                        "{:o} {} {}",
                        metadata.permissions().mode() & 0o777,
                        text.len(),
                        String::from_utf8_lossy(&text[..text.len().min(4000)])
                    )
                }
            };
            if metadata.is_dir() {
                left.push(path.clone());
            }
            found.insert(path.strip_prefix(root).unwrap().display().to_string(), what);
        }
    }
    found
}

#[test]
fn an_installation_is_shown_written_once_and_removed_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let binary = unpacked(&dir.path().join("unpacked"));
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc/systemd/system")).unwrap();
    fs::write(root.join("etc/systemd/system/other.service"), "somebody's").unwrap();
    let before = tree(&root);

    let shown = run(&binary, &root, &["install", "--dry-run", "--allow", "2222"]);
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert_eq!(tree(&root), before, "nothing was changed");
    for part in [
        "KillMode=process",
        "FileDescriptorName=edge",
        "tcp dport { 22, 80, 443, 2222 } accept",
        "SystemMaxUse=",
        "policy drop",
    ] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }

    let first = run(&binary, &root, &["install", "--allow", "2222", "--domain", "apps.example.com"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let installed = tree(&root);
    for file in [
        "etc/slipway/slipway-server.toml",
        "etc/slipway/firewall.nft",
        "etc/systemd/system/slipway.service",
        "usr/local/lib/slipway/slipway",
    ] {
        assert!(installed.contains_key(file), "{file}");
        assert!(first.stderr.contains(file), "{file}: {}", first.stderr);
    }
    assert_eq!(installed["usr/local/bin/slipway"], "-> /usr/local/lib/slipway/slipway");
    assert!(installed["etc/slipway/slipway-server.toml"].starts_with("600 "));
    assert!(installed["etc/slipway/slipway-server.toml"].contains("domain = \"apps.example.com\""));
    // What is shown is what is written.
    assert!(shown.stdout.contains(&fs::read_to_string(root.join("etc/slipway/firewall.nft")).unwrap()));

    let second = run(&binary, &root, &["install", "--allow", "2222"]);
    assert!(second.stderr.contains("nothing to change"), "{}", second.stderr);
    assert_eq!(tree(&root), installed);

    // A change of the configuration is the owner's, and counts; one of a unit stays and is said.
    let config = root.join("etc/slipway/slipway-server.toml");
    fs::write(&config, "[edge]\nlisten = \"0.0.0.0:8088\"\n").unwrap();
    let unit = root.join("etc/systemd/system/slipway.service");
    fs::write(&unit, "mine").unwrap();
    let third = run(&binary, &root, &["install", "--allow", "2222"]);
    assert!(third.stderr.contains("kept `") && third.stderr.contains("slipway.service"), "{}", third.stderr);
    assert_eq!(fs::read_to_string(&unit).unwrap(), "mine");
    let text = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    assert!(text("etc/systemd/system/slipway-edge.socket").contains("ListenStream=0.0.0.0:8088"));
    assert!(text("etc/slipway/firewall.nft").contains("22, 80, 443, 2222, 8088"));

    let removed = run(&binary, &root, &["uninstall"]);
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    assert!(removed.stderr.contains("kept `"), "{}", removed.stderr);
    let left: Vec<_> = tree(&root).into_keys().filter(|path| !before.contains_key(path)).collect();
    assert_eq!(left, ["etc/slipway", "etc/slipway/slipway-server.toml"]);
    let again = run(&binary, &root, &["uninstall"]);
    assert!(again.code == Some(0) && again.stderr.contains("nothing is installed"), "{}", again.stderr);
}

#[test]
fn an_installation_that_broke_off_is_removed_and_what_it_did_not_write_is_never_touched() {
    let dir = tempfile::tempdir().unwrap();
    let binary = unpacked(&dir.path().join("unpacked"));
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc/systemd/system")).unwrap();
    let foreign = root.join("etc/systemd/system/slipway.service");
    fs::write(&foreign, "somebody's").unwrap();
    let before = tree(&root);
    let refused = run(&binary, &root, &["install"]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("slipway.service` that `slipway install` did not write"), "{}", refused.stderr);
    assert_eq!(tree(&root), before);
    fs::remove_file(&foreign).unwrap();
    let before = tree(&root);

    // A file where a directory must be made: what comes before it is written, what comes after is not.
    fs::create_dir_all(root.join("usr/local")).unwrap();
    fs::write(root.join("usr/local/bin"), "in the way").unwrap();
    let broken = run(&binary, &root, &["install"]);
    assert_eq!(broken.code, Some(3), "{}", broken.stderr);
    assert!(broken.stderr.contains("`slipway uninstall` removes what was written"), "{}", broken.stderr);
    assert!(root.join("usr/local/lib/slipway/slipway").exists());
    fs::write(root.join("usr/local/lib/slipway/.slipway.new"), "half").unwrap();
    let removed = run(&binary, &root, &["uninstall"]);
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    fs::remove_file(root.join("usr/local/bin")).unwrap();
    fs::remove_dir(root.join("usr/local")).unwrap();
    fs::remove_dir(root.join("usr")).unwrap();
    assert_eq!(tree(&root), before);

    let purged = dir.path().join("purged");
    let _ = run(&binary, &purged, &["install", "--no-firewall"]);
    fs::create_dir_all(purged.join("var/lib/slipway/keys")).unwrap();
    let gone = run(&binary, &purged, &["uninstall", "--purge"]);
    assert_eq!(gone.code, Some(0), "{}", gone.stderr);
    assert!(!purged.join("var/lib/slipway").exists() && !purged.join("etc").exists(), "{:?}", tree(&purged).keys());
}

/// Where the machine has systemd's own tool, the units are read by it.
#[test]
fn systemd_reads_the_units() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("SKIPPED: `systemd-analyze` is not installed (package `systemd`)");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let binary = unpacked(&dir.path().join("unpacked"));
    let root = dir.path().join("root");
    assert_eq!(run(&binary, &root, &["install"]).code, Some(0));
    let units = root.join("etc/systemd/system");
    // Programs are looked for on this machine.
    let service = units.join("slipway.service");
    let text = fs::read_to_string(&service).unwrap();
    fs::write(&service, text.replace("/usr/local/lib/slipway/slipway", binary.to_str().unwrap())).unwrap();
    let mut verify = Command::new("systemd-analyze");
    verify.arg("verify").arg("--man=no").env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()));
    let output = verify
        .args(["slipway.service", "slipway-edge.socket", "slipway-firewall.service"].map(|unit| units.join(unit)))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<_> = told.lines().filter(|line| line.contains("slipway")).collect();
    assert_eq!(ours, Vec::<&str>::new(), "{}", String::from_utf8_lossy(&version.stdout));
}

#[test]
fn without_systemd_it_is_said_and_nothing_is_done() {
    if Path::new("/run/systemd/system").is_dir() {
        eprintln!("SKIPPED: systemd runs here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = unpacked(&dir.path().join("unpacked"));
    let mut install = command(dir.path(), &["install"]);
    let refused = finish(
        install.env("PATH", "/usr/sbin:/usr/bin:/bin").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
    );
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    let refused = run(&binary, Path::new("/"), &["install"]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("systemd does not run on this machine"), "{}", refused.stderr);
    assert!(!Path::new("/etc/slipway/installed.json").exists());
}
