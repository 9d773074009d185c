//! `kill -9` at the system calls of an archive and of a fetch: then nothing is lost, left, half-visible or untrue.

use crate::setup::{
    MIB, Setup, archive, archive_until, assert_clean, bounds, config, journal, layer, make_cold, publish,
};
use slipway_layers::{ColdBounds, Ensured, LayerDigest, LayerStore, Tiers};
use slipway_types::LayerRef;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Which calls of one kind are killed at. `strace` counts them for each thread by itself.
const SAMPLES: [u32; 3] = [1, 3, 9];
/// The first of these start the process.
const OPENS: [u32; 3] = [13, 19, 28];
/// One part, and a rest.
const BYTES: u64 = 9 * MIB;

/// Each of them occurs in a fetch, and in an archive: what a library calls instead one day must come here too.
const FETCH_CALLS: [&str; 12] = [
    "openat",
    "mkdir",
    "pwrite64",
    "write",
    "ftruncate",
    "chmod,fchmod",
    "rename,renameat2,linkat",
    "unlink",
    "rmdir,unlinkat",
    "fsync",
    "flock",
    "sendto,writev",
];
const ARCHIVE_CALLS: [&str; 7] = ["openat", "mkdir", "write", "rename,renameat2", "unlink", "flock", "sendto,writev"];

/// Also on a busy machine what was on its way has come by then.
fn patient() -> ColdBounds {
    ColdBounds { late_part: Duration::from_secs(10), ..bounds() }
}

fn crashed() -> LayerRef {
    layer("crashed")
}

/// The process that is killed: runs only when its parent asks.
#[test]
fn child() {
    let (Ok(work), Ok(dir), Ok(endpoint)) =
        (std::env::var("COLD_CRASH_WORK"), std::env::var("COLD_CRASH_DIR"), std::env::var("COLD_CRASH_ENDPOINT"))
    else {
        return;
    };
    // One thread for each kind of work, so that their system calls are counted together.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).max_blocking_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = LayerStore::open(dir).unwrap();
        let tiers = Tiers::with_bounds(store, Some(config(&endpoint)), patient()).unwrap();
        match work.as_str() {
            "fetch" => assert!(matches!(tiers.ensure(&crashed()).await, Ensured::Fetched { .. })),
            _ => archive(&tiers, &[&crashed()]).await,
        }
    });
}

/// Runs the child; whether it was killed.
fn run(work: &str, setup: &Setup, call: &str, number: u32) -> bool {
    let output = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=SIGKILL:when={number}")])
        .arg(std::env::current_exe().unwrap())
        .args(["crash::child", "--exact", "--nocapture"])
        .env("COLD_CRASH_WORK", work)
        .env("COLD_CRASH_DIR", setup.directory("one"))
        .env("COLD_CRASH_ENDPOINT", setup.s3.endpoint())
        .stdin(Stdio::null())
        .output()
        .expect("strace is installed: `apt-get install strace`");
    let killed = output.status.signal() == Some(9);
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(killed || output.status.success(), "{work}, {call} {number}: {}\n{text}", output.status);
    killed
}

/// How often a process was killed at each kind of call.
#[derive(Debug, Default)]
struct Kills(BTreeMap<&'static str, u32>);

impl Kills {
    fn assert_each(&self, calls: &[&str]) {
        let missing: Vec<_> = calls.iter().filter(|call| self.0.get(*call).is_none_or(|kills| *kills == 0)).collect();
        assert!(missing.is_empty(), "never killed at {missing:?}: {self:?}");
    }
}

fn samples(call: &str) -> [u32; 3] {
    if call == "openat" { OPENS } else { SAMPLES }
}

fn open(directory: &Path, setup: &Setup) -> Tiers {
    let tiers = Tiers::with_bounds(LayerStore::open(directory).unwrap(), Some(setup.config()), patient()).unwrap();
    let areas = std::fs::read_dir(directory).unwrap().flatten();
    let areas: Vec<_> = areas.filter(|entry| entry.file_name().to_string_lossy().starts_with(".new-")).collect();
    assert!(areas.is_empty(), "{areas:?}");
    tiers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_killed_leaves_the_layer_whole_or_absent() {
    let setup = Setup::new();
    let (directory, layer) = (setup.directory("one"), crashed());
    make_cold(&setup.host("one"), &layer, BYTES).await;
    let digest = setup.host("one").store().record(&layer).digest.unwrap();
    let mut kills = Kills::default();
    for call in FETCH_CALLS {
        for number in samples(call) {
            if !run("fetch", &setup, call, number) {
                setup.host("one").store().remove(&layer).unwrap();
                break;
            }
            *kills.0.entry(call).or_default() += 1;
            let tiers = open(&directory, &setup);
            let path = tiers.store().path(&layer);
            if tiers.store().contains(&layer) {
                assert_eq!(LayerDigest::of_image(&path).unwrap(), digest, "{call} {number}: half-visible");
            }
            let record = tiers.store().record(&layer);
            assert!(record.cold && record.digest == Some(digest), "{call} {number}: {record:?}");
            let again = tiers.ensure(&layer).await;
            assert!(matches!(again, Ensured::Fetched { .. } | Ensured::Hot), "{call} {number}: {again:?}");
            assert_eq!(LayerDigest::of_image(&path).unwrap(), digest, "{call} {number}");
            tiers.store().remove(&layer).unwrap();
        }
    }
    kills.assert_each(&FETCH_CALLS);
    assert_clean(&directory);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_killed_leaves_no_copy_that_is_not_whole() {
    let setup = Setup::new();
    let (directory, layer) = (setup.directory("one"), crashed());
    let one = setup.host("one");
    publish(one.store(), &layer, BYTES);
    let digest = LayerDigest::of_image(&one.store().path(&layer)).unwrap();
    drop(one);
    let mut kills = Kills::default();
    // Uploads that the store got to know, and at which call.
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for call in ARCHIVE_CALLS {
        for number in samples(call) {
            let killed = run("archive", &setup, call, number);
            *kills.0.entry(call).or_default() += u32::from(killed);
            for id in setup.uploads() {
                seen.entry(id).or_insert_with(|| format!("{call} {number}"));
            }
            let tiers = open(&directory, &setup);
            assert_eq!(LayerDigest::of_image(&tiers.store().path(&layer)).unwrap(), digest, "{call} {number}: lost");
            let record = tiers.store().record(&layer);
            let whole = !setup.objects().is_empty();
            assert!(whole || !record.cold, "{call} {number}: the record lies");
            assert!(record.digest.is_none_or(|known| known == digest), "{call} {number}: {record:?}");
            if whole {
                let other = setup.host("other");
                assert!(matches!(other.ensure(&layer).await, Ensured::Fetched { .. }), "{call} {number}: torn");
                other.store().remove(&layer).unwrap();
                other.store().update_record(&layer, |record| *record = Default::default()).unwrap();
            }
            // The next start makes the copy.
            archive(&tiers, &[&layer]).await;
            assert_eq!(setup.objects(), [format!("{layer}.layer")], "{call} {number}");
            setup.s3.remove(&setup.object(&layer));
            tiers.store().update_record(&layer, |record| *record = Default::default()).unwrap();
            if !killed {
                break;
            }
        }
    }
    kills.assert_each(&ARCHIVE_CALLS);
    // And ends what was begun, in its time.
    let tiers = open(&directory, &setup);
    archive_until(&tiers, "all uploads to be ended", || journal(&directory).is_empty()).await;
    // Killed between the store's answer and the note of it, an upload keeps its id, and never a byte.
    for id in setup.uploads() {
        let parts = setup.s3.list(&format!(".uploads/{id}"));
        assert_eq!(parts, [] as [String; 0], "of upload {id}, first seen after {:?}", seen.get(&id));
    }
    assert_clean(&directory);
}
