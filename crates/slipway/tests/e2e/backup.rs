//! A backup that is taken while the server runs, and a second server that is made of it.

use crate::cache::own_layers;
use crate::{BINARY, up};
use slipway_testing::{App, TestServer, wait};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(60);

/// `slipway restore` of a file into a directory: exit code and standard error.
fn restore(file: &Path, data: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(BINARY);
    command.args(["restore", file.to_str().unwrap(), "--data", data.to_str().unwrap()]).args(arguments);
    let output = command.env("NO_COLOR", "1").output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_second_server_is_made_of_a_backup_of_a_running_one() {
    let first = TestServer::start(BINARY);
    let app = App::node("saved", "one");
    let run = |args: &[&str]| first.run_in(app.path(), args).expect_code(0);
    let _ = run(&["env", "set", "--secret", "TOKEN=sentinel-4711"]);
    up(&first, app.path());
    app.set_version("two");
    up(&first, app.path());
    let listed = run(&["ps", "--json"]).stdout;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("slipway.backup");
    let config = format!("[layers]\ndir = \"{}\"\n", first.layers().display());
    fs::write(dir.path().join("first.toml"), config).unwrap();
    let config = dir.path().join("first.toml");
    let config = config.to_str().unwrap();
    let without = first.run_in(app.path(), &["backup", file.to_str().unwrap()]).expect_code(2).stderr;
    assert!(without.contains("none of the layers") && without.contains("--config"), "{without}");
    let taken = run(&["backup", file.to_str().unwrap(), "--config", config]);
    assert!(taken.stderr.contains("backed up") && !taken.stderr.contains("not on the disk"), "{}", taken.stderr);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(dir.path()), ["first.toml", "slipway.backup"], "nothing else is left");

    // Nothing of the first server's layers is there: what starts is started from the backup.
    let shared = Path::new(BINARY).parent().unwrap().join("test-shared").canonicalize().unwrap();
    let layers = tempfile::Builder::new().prefix("restored-").tempdir_in(shared).unwrap();
    let prepare = |data: &Path| {
        let config = dir.path().join("second.toml");
        fs::write(&config, format!("[layers]\ndir = \"{}\"\n", layers.path().display())).unwrap();
        let (code, told) = restore(&file, data, &["--config", config.to_str().unwrap()]);
        assert_eq!(code, 0, "{told}");
        assert!(told.contains("1 services") && told.contains("slipway-server.toml"), "{told}");
        let expected = ["admin-token", "keys", "server.lock", "slipway-server.toml", "slipway.db", "uploads"];
        assert_eq!(names(data), expected);
        assert_eq!(fs::metadata(data.join("keys/master.key")).unwrap().permissions().mode() & 0o777, 0o600);
    };
    let second = TestServer::start_on(BINARY, layers.path(), "keep_free = \"512MB\"", "", prepare);
    let get = |path: &str| second.get("web-saved.localhost", path);
    wait::until("the app to answer", BOUND, || (get("/").status == 200).then_some(()));
    assert_eq!((get("/").body.as_str(), get("/env?name=TOKEN").body.as_str()), ("two\n", "sentinel-4711"));
    let live = |listed: &str| {
        let services: serde_json::Value = serde_json::from_str(listed).unwrap();
        (
            services[0]["project"].clone(),
            services[0]["live"]["release"].clone(),
            services[0]["live"]["deployment"].clone(),
        )
    };
    assert_eq!(live(&second.run(&["ps", "--json"]).stdout), live(&listed));
    // An older release has its layers too, and a new one is built.
    let _ = second.run_in(app.path(), &["rollback", "v1"]).expect_code(0);
    assert_eq!((get("/").body.as_str(), get("/env?name=TOKEN").body.as_str()), ("one\n", "sentinel-4711"));
    assert_eq!(first.get("web-saved.localhost", "/").body, "two\n", "the first server noticed nothing");

    // A directory that is in use, or not empty, is nothing to restore into.
    let (code, told) = restore(&file, &second.data(), &[]);
    assert_eq!(code, 3, "{told}");
    assert!(told.contains("another server (process "), "{told}");
}

/// What a backup holds, by name.
type Members = Vec<(String, Vec<u8>)>;

fn members(file: &Path) -> Members {
    let mut archive = tar::Archive::new(zstd::Decoder::new(fs::File::open(file).unwrap()).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (name, content)
    });
    entries.collect()
}

fn write(file: &Path, members: &[(String, Vec<u8>)]) {
    let mut archive = tar::Builder::new(zstd::Encoder::new(fs::File::create(file).unwrap(), 1).unwrap());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        // As it is: `set_path` would refuse the names that must be refused.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, content.as_slice()).unwrap();
    }
    archive.into_inner().unwrap().finish().unwrap().flush().unwrap();
}

#[test]
fn a_backup_that_is_damaged_newer_or_another_thing_is_refused_and_leaves_nothing() {
    let layers = own_layers("backup-");
    let server = TestServer::start_on(BINARY, layers.path(), "keep_free = \"512MB\"", "", |_| {});
    let app = App::empty("paper").with("index.html", "<!doctype html>one");
    let _ = server.run_in(app.path(), &["env", "set", "--secret", "TOKEN=sentinel-4712"]).expect_code(0);
    up(&server, app.path());
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    let (good, config) = (path("good"), path("config.toml"));
    fs::write(&config, format!("[layers]\ndir = \"{}\"\n", layers.path().display())).unwrap();
    let run = |args: &[&str]| server.run(&[&["backup"][..], args, &["--config", config.to_str().unwrap()]].concat());
    let _ = run(&[good.to_str().unwrap(), "--without-layers"]).expect_code(0);
    let bytes = fs::read(&good).unwrap();
    assert!(!bytes.windows(13).any(|window| window == b"sentinel-4712"));

    // Only a backup is replaced by one.
    let refused = run(&[config.to_str().unwrap()]).expect_code(2);
    assert!(refused.stderr.contains("is no backup"), "{}", refused.stderr);
    let _ = run(&[good.to_str().unwrap(), "--without-layers"]).expect_code(0);

    let data = path("data");
    let refuses = |file: &Path, parts: &[&str]| {
        for arguments in [&[][..], &["--check"]] {
            let (code, told) = restore(file, &data, arguments);
            assert_eq!(code, 2, "{parts:?}: {told}");
            parts.iter().for_each(|part| assert!(told.contains(part), "{part}: {told}"));
            assert!(!data.exists(), "{parts:?}: {:?}", names(&data));
        }
    };
    let bad = path("bad");
    let with = |change: &dyn Fn(&mut Members)| {
        let mut members = members(&good);
        change(&mut members);
        write(&bad, &members);
    };
    let member = |members: &mut Members, name: &str| members.iter().position(|(n, _)| n == name).unwrap();

    fs::write(&bad, "this is no backup at all, and long enough").unwrap();
    refuses(&bad, &["is no backup of Slipway"]);
    fs::write(&bad, "").unwrap();
    refuses(&bad, &["is no backup of Slipway"]);
    for part in [1, 5, 11, 15] {
        fs::write(&bad, &bytes[..bytes.len() * part / 16]).unwrap();
        refuses(&bad, &["error: "]);
        let mut flipped = bytes.clone();
        flipped[bytes.len() * part / 16] ^= 0x40;
        fs::write(&bad, &flipped).unwrap();
        // In its first block nothing is known of what it is.
        refuses(&bad, &["backup"]);
    }
    with(&|members| members.truncate(4));
    refuses(&bad, &["is not whole: it ends after `admin-token`"]);
    with(&|members| {
        let at = member(members, "keys/master.key");
        members[at].1[7] ^= 1;
    });
    refuses(&bad, &["damaged", "`keys/master.key` is not what was written"]);
    with(&|members| {
        let upload = members.iter().position(|(name, _)| name.starts_with("uploads/")).unwrap();
        members.remove(upload);
    });
    refuses(&bad, &["damaged", "SUMS"]);
    for name in ["../outside", "/etc/outside", "server-id", "layers/../outside"] {
        with(&|members| members.insert(2, (name.to_owned(), b"x".to_vec())));
        refuses(&bad, &[name, "which no backup of this version does"]);
    }
    let header = |change: &dyn Fn(&mut serde_json::Value)| {
        with(&|members| {
            let mut fields: serde_json::Value = serde_json::from_slice(&members[0].1).unwrap();
            change(&mut fields);
            members[0].1 = serde_json::to_vec(&fields).unwrap();
        });
    };
    header(&|fields| fields["schema"] = 9999.into());
    refuses(&bad, &["has schema 9999", "knows schemas up to", "restore it by the version that made it (0."]);
    header(&|fields| fields["format"] = 2.into());
    refuses(&bad, &["has format 2", "knows format 1"]);
    assert!(!dir.path().join("outside").exists());

    // The key of another server: whole, and of no use.
    with(&|members| {
        let key = member(members, "keys/master.key");
        members[key].1[7] ^= 1;
        let digests = members.iter().filter(|(name, _)| name != "SUMS");
        let sums: String =
            digests.map(|(name, content)| format!("{}  {name}\n", blake3::hash(content).to_hex())).collect();
        let last = members.len() - 1;
        members[last].1 = sums.into_bytes();
    });
    refuses(&bad, &["`keys/master.key`", "cannot be read with this key"]);

    let (code, told) = restore(&good, &data, &["--check"]);
    assert_eq!((code, told.contains("is whole")), (0, true), "{told}");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("mine"), "").unwrap();
    let (code, told) = restore(&good, &data, &[]);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("is not empty: it has `mine`"), "{told}");
    assert_eq!(names(&data), ["mine"]);
    fs::remove_file(data.join("mine")).unwrap();
    let (code, told) = restore(&good, &data, &[]);
    assert_eq!((code, told.contains("without layers")), (0, true), "{told}");
    assert!(data.join("slipway.db").exists() && !data.join(".restoring").exists());

    // A server does not start where a restore was killed.
    fs::create_dir(data.join(".restoring")).unwrap();
    let output = Command::new(BINARY).args(["server", "--data", data.to_str().unwrap()]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("has not ended") && told.contains("slipway restore"), "{told}");
    let (code, told) = restore(&good, &data, &[]);
    assert_eq!(code, 0, "{told}");
}
