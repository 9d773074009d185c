//! Several processes on one directory, as several servers would be: they publish, evict, pin and lease at random. What one of them
//! leases or pins stays and is whole; what two want to make is made once.

use crate::bench::{Bench, layer, make_image};
use slipway_layers::image::{self, ReadOnly};
use slipway_layers::{LayerStore, Quota, SweepMode};
use slipway_types::LayerRef;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

const DIR: &str = "LAYERS_PROCESS_DIR";
const SEED: &str = "LAYERS_PROCESS_SEED";
const WORK: &str = "LAYERS_PROCESS_WORK";
const PROCESSES: u64 = 3;
const KEYS: u64 = 6;
const ROUNDS: u32 = 150;
/// In the unused front of an image, behind the mark: tells whose image it is without a mount.
const KEY_AT: u64 = 512;

/// Runs only when its parent asks.
#[test]
fn process_child() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let seed = std::env::var(SEED).unwrap();
    let mut server = Server {
        store: LayerStore::open(dir.join("layers")).unwrap(),
        random: seed.parse::<u64>().unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        holder: format!("server-{seed}"),
        pinned: BTreeSet::new(),
        dir,
    };
    match std::env::var(WORK).unwrap().as_str() {
        "build" => (0..KEYS).for_each(|n| server.build(n, Duration::from_secs(60))),
        _ => (0..ROUNDS).for_each(|_| server.round()),
    }
}

struct Server {
    store: LayerStore,
    random: u64,
    holder: String,
    pinned: BTreeSet<LayerRef>,
    dir: PathBuf,
}

fn key(n: u64) -> LayerRef {
    layer(&format!("key-{n}"))
}

impl Server {
    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit
    }

    fn round(&mut self) {
        let n = self.below(KEYS);
        match self.below(8) {
            0..=2 => self.build(n, Duration::ZERO),
            3 | 4 => self.use_leased(n),
            5 => self.pin(),
            6 => self.evict(),
            _ => drop(self.store.clear(None, SweepMode::Apply).unwrap()),
        }
        for layer in &self.pinned {
            self.check(layer);
        }
    }

    /// As a build does it: under the layer's lock, unless the layer is there. The work is a copy of what the parent made.
    fn build(&mut self, n: u64, wait: Duration) {
        let layer = key(n);
        let Some(_lock) = self.store.lock_within(&layer, wait).unwrap() else { return };
        if self.store.contains(&layer) {
            return;
        }
        let scratch = self.dir.join(format!("{}-{layer}.img", self.holder));
        std::fs::copy(self.dir.join(format!("{layer}.template")), &scratch).unwrap();
        let mut log = File::options().append(true).create(true).open(self.dir.join("work")).unwrap();
        log.write_all(format!("{layer}\n").as_bytes()).unwrap();
        assert!(self.store.publish(&scratch, &layer).unwrap(), "nobody else published it meanwhile");
    }

    fn use_leased(&mut self, n: u64) {
        let layer = key(n);
        let lease = self.store.lease(&[layer.clone(), key((n + 1) % KEYS)]).unwrap();
        self.store.touch(&layer);
        if self.store.contains(&layer) {
            for _ in 0..10 {
                self.check(&layer);
                std::thread::yield_now();
            }
            let at = self.dir.join(format!("{}.at", self.holder));
            let mounted = image::mount(&self.store.path(&layer), &at, ReadOnly).unwrap();
            assert_eq!(std::fs::read_to_string(mounted.upper().join("content")).unwrap(), layer.key);
        }
        drop(lease);
    }

    /// What is pinned is leased while the pins are written, as the layers of a finished build are.
    fn pin(&mut self) {
        let wanted: Vec<LayerRef> = (0..2).map(|_| key(self.below(KEYS))).collect();
        let _lease = self.store.lease(&wanted).unwrap();
        let there: BTreeSet<_> = wanted.into_iter().filter(|layer| self.store.contains(layer)).collect();
        self.store.pin(&self.holder, &there).unwrap();
        self.pinned = there;
    }

    fn evict(&mut self) {
        let quota = Quota { hot_bytes: Some(self.below(400_000)), ..Quota::default() };
        self.store.sweep(&quota, SystemTime::now() + Duration::from_secs(1), SweepMode::Apply).unwrap();
    }

    /// It is there, and the one that it says it is.
    fn check(&self, layer: &LayerRef) {
        let file = File::open(self.store.path(layer)).unwrap_or_else(|error| panic!("{layer} vanished: {error}"));
        let mut found = vec![0; layer.key.len()];
        file.read_exact_at(&mut found, KEY_AT).unwrap();
        assert_eq!(found, layer.key.as_bytes());
    }
}

fn prepare() -> Bench {
    let bench = Bench::new();
    for n in 0..KEYS {
        let path = bench.dir.path().join(format!("{}.template", key(n)));
        make_image(&path, &key(n).key, &bench.dir.path().join("at"));
        File::options().write(true).open(&path).unwrap().write_all_at(key(n).key.as_bytes(), KEY_AT).unwrap();
    }
    bench
}

fn run(dir: &Path, work: &str) {
    let start = |seed: u64| -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["processes::process_child", "--exact", "--nocapture"])
            .env(DIR, dir)
            .env(SEED, seed.to_string())
            .env(WORK, work)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let children: Vec<Child> = (1..=PROCESSES).map(start).collect();
    let failed = children.into_iter().map(|mut child| child.wait().unwrap()).filter(|status| !status.success()).count();
    assert_eq!(failed, 0, "processes failed");
}

fn work(bench: &Bench) -> Vec<String> {
    let log = std::fs::read_to_string(bench.dir.path().join("work")).unwrap();
    log.lines().map(str::to_owned).collect()
}

#[test]
fn several_servers_on_one_directory_never_take_what_another_holds() {
    let bench = prepare();
    run(bench.dir.path(), "random");
    assert!(work(&bench).len() > KEYS as usize, "layers were evicted and made again");
    let store = LayerStore::open(bench.store_dir()).unwrap();
    assert_eq!(bench.leftovers(), [] as [String; 0]);
    for entry in store.list().unwrap() {
        assert_eq!(bench.read(&entry.layer), entry.layer.key);
    }
}

#[test]
fn what_several_processes_want_is_made_once() {
    let bench = prepare();
    run(bench.dir.path(), "build");
    let mut made = work(&bench);
    made.sort();
    assert_eq!(made, (0..KEYS).map(|n| key(n).to_string()).collect::<Vec<_>>());
}
