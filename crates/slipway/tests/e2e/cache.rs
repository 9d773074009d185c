//! Layers: what stays, what goes, and what is said when the disk is nearly full.

use crate::{BINARY, up, up_fails};
use serde_json::Value;
use slipway_testing::s3::{BUCKET, KEY, SECRET};
use slipway_testing::{App, S3Server, TestServer, wait};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(120);

/// A directory of layers of its own, on the disk of the shared ones, which lend it the base system.
pub(crate) fn own_layers(prefix: &str) -> tempfile::TempDir {
    let shared = Path::new(BINARY).parent().unwrap().join("test-shared");
    std::fs::create_dir_all(&shared).unwrap();
    let shared = shared.canonicalize().unwrap();
    let own = tempfile::Builder::new().prefix(prefix).tempdir_in(&shared).unwrap();
    for entry in std::fs::read_dir(shared.join("layers")).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("base-") && entry.path().is_file() {
            std::fs::hard_link(entry.path(), own.path().join(entry.file_name())).unwrap();
        }
    }
    own
}

/// Layers of one deployment that are on the disk.
fn hot(layers: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(layers).unwrap().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("site-") || name.starts_with("source-")).collect();
    names.sort();
    names
}

fn inventory(server: &TestServer) -> Value {
    serde_json::from_str(&server.run(&["cache", "ls", "--json"]).expect_code(0).stdout).unwrap()
}

fn page(version: u32) -> String {
    format!("<!doctype html>{version}")
}

#[test]
fn old_releases_go_and_kept_ones_come_back() {
    let layers = own_layers("cache-gc-");
    let server = TestServer::start_on(BINARY, layers.path(), "keep_releases = 2\nkeep_free = \"512MB\"", "", |_| {});
    let app = App::empty("kept");
    let deployments: Vec<String> = (1..=4)
        .map(|version| {
            app.write("index.html", &page(version));
            up(&server, app.path()).deployment()
        })
        .collect();
    let body = || server.get("web-kept.localhost", "/").body;
    let run = |args: &[&str]| server.run_in(app.path(), args);

    let site = |index: usize| format!("site-{}.img", deployments[index]);
    let mut kept = vec![site(2), site(3)];
    kept.sort();
    // What the last deployment was made of goes when its last phases have ended.
    wait::until("the layers that are kept, and no others", BOUND, || {
        let _ = run(&["cache", "gc"]).expect_code(0);
        (hot(layers.path()) == kept).then_some(())
    });
    let listed = run(&["cache", "ls"]).expect_code(0);
    assert!(listed.stdout.contains("v4 (live)") && listed.stdout.contains("v3"), "{}", listed.stdout);
    assert!(listed.stderr.contains("hot tier: "), "{}", listed.stderr);

    let _ = run(&["rollback", "v3"]).expect_code(0);
    assert_eq!(body(), page(3));
    let refused = run(&["rollback", "v1"]).expect_code(2);
    for part in ["release v1 is gone", &format!("site-{}", deployments[0]), "run `slipway up`", "layers.keep_releases"]
    {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    assert_eq!(body(), page(3), "what is live stays");

    // Nothing that is live or kept is cleared, however often.
    for _ in 0..2 {
        let _ = run(&["cache", "clear"]).expect_code(0);
    }
    assert_eq!((hot(layers.path()), body()), (kept, page(3)));
    let nothing = run(&["cache", "gc", "--dry-run"]).expect_code(0);
    assert!(nothing.stderr.contains("nothing would be removed"), "{}", nothing.stderr);
}

#[test]
fn layers_of_what_failed_or_was_destroyed_go() {
    let layers = own_layers("cache-failed-");
    let mut server = TestServer::start_on(BINARY, layers.path(), "keep_free = \"512MB\"", "", |_| {});
    let app = App::empty("failing").with("index.html", &page(1));
    up(&server, app.path());
    let live = hot(layers.path());
    app.settings_again("[build]\ncommand = \"exit 3\"\n[site]\ndirectory = \".\"");
    up_fails(&server, app.path(), "command-failed");
    // A server that dies between build and release leaves what the next one finds nobody to need.
    server.kill_process();
    std::fs::write(layers.path().join("source-dpl-orphan.img"), "").unwrap();
    server.start_process();
    let is_clean = || (hot(layers.path()).iter().filter(|name| !name.contains("orphan")).count() == 1).then_some(());
    wait::until("the failed deployment's source to be removed", BOUND, is_clean);
    assert!(hot(layers.path()).iter().any(|name| live.contains(name)), "what is live stays");

    let _ = server.run_in(app.path(), &["destroy", "--yes"]).expect_code(0);
    let is_empty = || hot(layers.path()).iter().all(|name| name.contains("orphan")).then_some(());
    wait::until("the layers of the destroyed service to be removed", BOUND, is_empty);
}

/// A small file system of its own.
struct Disk(PathBuf);

impl Disk {
    fn mount(image: &Path, at: &Path, megabytes: u64) -> Disk {
        std::fs::File::create(image).unwrap().set_len(megabytes << 20).unwrap();
        run("mkfs.ext4", &["-q", "-m", "0", image.to_str().unwrap()]);
        std::fs::create_dir_all(at).unwrap();
        run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
        Disk(at.to_owned())
    }

    fn free_megabytes(&self) -> u64 {
        slipway_layers::image::usage_at(&self.0).unwrap().free_bytes >> 20
    }

    /// Writes a file that leaves so much free.
    fn fill(&self, file: &Path, leave_megabytes: u64) {
        let size = format!("{}M", self.free_megabytes() - leave_megabytes);
        run("fallocate", &["-l", &size, file.to_str().unwrap()]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A base that is enough for plain files, so that everything fits on a small disk.
fn tiny_base(directory: &Path) -> PathBuf {
    let path = directory.join("base.img");
    slipway_layers::image::create(&path, slipway_layers::image::IMAGE_BYTES_MIN).unwrap();
    path
}

#[test]
fn a_disk_that_is_nearly_full_stops_builds_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("disk");
    let disk = Disk::mount(&dir.path().join("disk.img"), &data, 400);
    let layers = data.join("layers");
    let base = tiny_base(dir.path());
    let config = format!("[base]\nimage = \"{}\"", base.display());
    let link = data.join("data");
    let server = TestServer::start_on(BINARY, &layers, "keep_free = \"100MB\"", &config, |data| {
        std::fs::create_dir_all(&link).unwrap();
        std::os::unix::fs::symlink(&link, data).unwrap();
    });
    let app = App::empty("full").with("index.html", &page(1));
    up(&server, app.path());
    let body = || server.get("web-full.localhost", "/").body;

    // What may go makes room by itself.
    std::fs::create_dir_all(&layers).unwrap();
    let unused = layers.join("toolchain-unused-1.0.0.img");
    // A round of the custodian's may come first; then there is room, and nothing to say.
    let made_room = (2..12).find(|version| {
        disk.fill(&unused, 50);
        std::fs::set_permissions(&unused, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
        app.write("index.html", &page(*version));
        let deployed = server.run_in(app.path(), &["up"]).expect_code(0);
        assert!(!unused.exists() && disk.free_megabytes() >= 100);
        deployed.stderr.contains("removing layers that nothing needs")
    });
    let live = page(made_room.expect("no deployment made room"));
    assert_eq!(body(), live);

    // Nothing may go: the deployment ends at once, and what runs goes on.
    disk.fill(&data.join("somebody-elses"), 50);
    app.write("index.html", &page(12));
    let refused = up_fails(&server, app.path(), "disk-nearly-full");
    let why = refused.expect_diagnosis("disk-nearly-full")["why"].as_str().unwrap().to_owned();
    assert!(why.contains("must stay free (`layers.keep_free`)") && why.contains("100.0 MB"), "{why}");
    assert_eq!(body(), live);
    let listed = server.run(&["cache", "ls"]).expect_code(0);
    assert!(listed.stderr.contains("nothing is built until there is more room"), "{}", listed.stderr);
    assert!(inventory(&server)["free_bytes"].as_u64().unwrap() < 100 << 20);

    std::fs::remove_file(data.join("somebody-elses")).unwrap();
    up(&server, app.path());
    assert_eq!(body(), page(12));
}

#[test]
fn with_a_cold_tier_old_releases_come_back() {
    let shared = Path::new(BINARY).parent().unwrap().join("test-shared");
    // Without the base system of the others, which would be archived first.
    let layers = tempfile::Builder::new().prefix("cache-cold-").tempdir_in(&shared).unwrap();
    let s3 = S3Server::start(&shared);
    let base = format!("[base]\nimage = \"{}\"", tiny_base(layers.path()).display());
    let credentials = layers.path().join("credentials");
    let keys = format!("[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n");
    std::fs::write(&credentials, keys).unwrap();
    let lines = format!(
        "keep_releases = 1\nkeep_free = \"512MB\"\n[layers.cold]\nendpoint = \"{}\"\nbucket = \"{BUCKET}\"\nallow_http = true\ncredentials = \"{}\"\n",
        s3.endpoint(),
        credentials.display()
    );
    let server = TestServer::start_on(BINARY, layers.path(), &lines, &base, |_| {});
    let config = server.data().parent().unwrap().join("server.toml");
    let doctor = || server.command(&["doctor"]).env("SLIPWAY_CONFIG", &config).output().unwrap().stdout;
    let said = String::from_utf8(doctor()).unwrap();
    let line = said.lines().find(|line| line.contains("cold tier")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.starts_with('✓') && line.contains("answers"), "{line}");

    let app = App::empty("cold");
    for version in 1..=2 {
        app.write("index.html", &page(version));
        up(&server, app.path());
    }
    // The layers of old releases go once their copies are there, and not before.
    let wait_for_cold = |count: usize| {
        wait::until("old releases to be only in the cold tier", BOUND, || {
            let _ = server.run(&["cache", "gc"]).expect_code(0);
            let items = inventory(&server)["items"].as_array().unwrap().clone();
            let cold = |item: &&Value| {
                item["what"] == "site" && item["tier"] == "cold" && item["kept_for"] == serde_json::json!([])
            };
            (items.iter().filter(cold).count() == count).then_some(())
        });
    };
    wait_for_cold(1);
    let back = server.run_in(app.path(), &["rollback", "v1"]).expect_code(0);
    assert!(back.stderr.contains("back from the cold tier: "), "{}", back.stderr);
    assert_eq!(server.get("web-cold.localhost", "/").body, page(1));

    // Without the store, what is here goes on, and what is not says so.
    app.write("index.html", &page(3));
    up(&server, app.path());
    wait_for_cold(2);
    drop(s3);
    let refused = server.run_in(app.path(), &["rollback", "v2", "--json"]).expect_code(1);
    refused.outcome().expect_diagnosis("release-gone");
    assert_eq!(server.get("web-cold.localhost", "/").body, page(3));
    app.write("index.html", &page(4));
    up(&server, app.path());
    assert_eq!(server.get("web-cold.localhost", "/").body, page(4));
    let said = String::from_utf8(doctor()).unwrap();
    let line = said.lines().find(|line| line.contains("cold tier")).unwrap();
    assert!(line.starts_with('✗'), "{line}");
}
