//! Sandboxes that are booted before they are wanted.

use crate::drivers::{Place, oci};
use crate::machine::{
    Machine, assert_nothing_left, blanks, ended, init_pid, kill, known_init_pid, run, run_as_root, shim_pid, spec_in,
    task, until, was_booted_ahead,
};
use slipway_sandbox::{CacheSpec, SandboxConfig, SandboxSpec, Sandboxes, WarmConfig};
use std::cell::RefCell;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn one(config: &mut SandboxConfig) {
    config.warm = WarmConfig { idle: Some(1), ..WarmConfig::STANDARD };
}

/// Of the only one that stands ready.
fn blank_pids(config: &SandboxConfig) -> [i32; 2] {
    let names = blanks(config);
    assert_eq!(names.len(), 1, "{names:?}");
    [shim_pid(config, &names[0]), init_pid(config, &names[0])]
}

pub(crate) async fn one_that_was_booted_ahead_has_its_layers_images_and_address(place: Place) {
    let machine = place.machine_with(one).await;
    machine.warm_up().await;
    let pids = blank_pids(&machine.config);
    let mut spec = machine.spec("warm-1");
    spec.writable.keep = true;
    spec.hostname = "warm-host".to_owned();
    let (kept, cache) = (spec.writable.image.clone(), machine.dir.path().join("cache.img"));
    spec.cache = Some(CacheSpec { image: cache.clone(), bytes: 16 << 20, targets: vec!["/app/web/cache".to_owned()] });
    let begun = Instant::now();
    let sandbox = machine.sandboxes.boot(spec.clone()).await.unwrap();
    eprintln!("claim: {:.2?}", begun.elapsed());
    assert!(was_booted_ahead(&machine.config, "warm-1"));
    assert_eq!([shim_pid(&machine.config, "warm-1"), init_pid(&machine.config, "warm-1")], pids);
    let done =
        run(&sandbox, "uname -n; cat /etc/hosts /etc/base-file; echo cached > /app/web/cache/x; ls /app/web").await;
    let hosts = format!("127.0.0.1 localhost\n{} warm-host\n", sandbox.address());
    assert_eq!(done.stdout, format!("warm-host\n{hosts}as it was\ncache\n"), "{done:?}");
    assert_eq!(run_as_root(&sandbox, "echo new > /etc/new-file && rm /bin/ln").await.facts.code, Some(0));

    // The server is replaced: it is adopted like another.
    sandbox.start_task(task(1, "read -t 1 x < /dev/zero; sleep 1; echo after; exit 3")).await.unwrap();
    let address = sandbox.address();
    drop(sandbox);
    machine.sandboxes.prepared().await;
    machine.sandboxes.close().await;
    let machine = machine.restarted_after(async || {}).await;
    let adopted = machine.sandboxes.adopt().await.unwrap();
    assert_eq!((adopted.len(), adopted[0].id(), adopted[0].address()), (1, "warm-1", address));
    let rest = ended(&mut adopted[0].events(), 1).await;
    assert_eq!((rest.stdout.as_str(), rest.facts.code), ("after\n", Some(3)));
    adopted[0].stop(Duration::ZERO).await.unwrap();
    assert_nothing_left(&machine.config, "warm-1", &pids).await;

    // What it wrote is a layer, and what it cached is there.
    machine.warm_up().await;
    let mut above = SandboxSpec { cache: spec.cache, ..machine.spec("warm-2") };
    above.layers.push(kept);
    let sandbox = machine.sandboxes.boot(above).await.unwrap();
    assert!(was_booted_ahead(&machine.config, "warm-2"));
    let done = run(&sandbox, "cat /etc/new-file /app/web/cache/x; ls /bin/ln 2>/dev/null").await;
    assert_eq!(done.stdout, "new\ncached\n");
    machine.end(&[&sandbox]).await;
}

pub(crate) async fn one_that_stands_ready_is_used_once(place: Place) {
    let machine = place.machine_with(one).await;
    machine.warm_up().await;
    let pids = blank_pids(&machine.config);
    // Two want the only one.
    let (first, second) = tokio::join!(machine.boot("warm-3"), machine.boot("warm-4"));
    let warm = ["warm-3", "warm-4"].map(|id| was_booted_ahead(&machine.config, id));
    assert_eq!(warm.iter().filter(|warm| **warm).count(), 1, "{warm:?}");
    assert_ne!(first.address(), second.address());
    machine.sandboxes.prepared().await;
    let others = blank_pids(&machine.config);
    assert!(others.iter().all(|pid| !pids.contains(pid)), "{others:?} {pids:?}");
    for sandbox in [&first, &second] {
        sandbox.stop(Duration::ZERO).await.unwrap();
    }
    for id in ["warm-3", "warm-4"] {
        assert_nothing_left(&machine.config, id, &pids).await;
    }
    // What a sandbox of a wrong spec leaves is nothing, booted ahead or not.
    let mut spec = machine.spec("warm-5");
    let torn = machine.dir.path().join("torn.img");
    std::fs::write(&torn, vec![0; 1 << 20]).unwrap();
    spec.layers.push(torn);
    let error = machine.sandboxes.boot(spec).await.unwrap_err();
    assert!(error.to_string().contains("mount"), "{error}");
    assert_nothing_left(&machine.config, "warm-5", &others).await;
    assert!(!machine.dir.path().join("warm-5.img").exists());
    machine.end(&[]).await;
}

pub(crate) async fn one_that_died_costs_nothing_but_time(place: Place) {
    let machine = place.machine_with(one).await;
    machine.warm_up().await;
    let (names, pids) = (blanks(&machine.config), blank_pids(&machine.config));
    kill(pids[1]);
    let home = machine.config.sandboxes_dir.join(&names[0]);
    until("it is cleaned up", || !home.exists()).await;
    assert_nothing_left(&machine.config, &names[0], &pids).await;
    let sandbox = machine.boot("warm-6").await;
    assert!(!was_booted_ahead(&machine.config, "warm-6"));
    assert_eq!(run(&sandbox, "echo alive").await.stdout, "alive\n");
    machine.end(&[&sandbox]).await;
}

/// Its process is stopped: the claim comes to its bound.
#[tokio::test]
async fn one_that_hangs_when_it_is_claimed_costs_nothing_but_time() {
    let machine = Place::find(oci(), 73).unwrap().machine_with(one).await;
    machine.warm_up().await;
    let pids = blank_pids(&machine.config);
    assert!(Command::new("kill").args(["-STOP", &pids[1].to_string()]).status().unwrap().success());
    let sandbox = machine.boot("warm-9").await;
    assert!(!was_booted_ahead(&machine.config, "warm-9"));
    assert_eq!(run(&sandbox, "echo alive").await.stdout, "alive\n");
    sandbox.stop(Duration::ZERO).await.unwrap();
    assert_nothing_left(&machine.config, "warm-9", &pids).await;
    // It is not tried again at once.
    machine.sandboxes.prepared().await;
    assert_eq!(blanks(&machine.config), Vec::<String>::new());
    machine.end(&[]).await;
}

pub(crate) async fn what_a_killed_server_had_ready_is_removed_at_the_next_start(place: Place) {
    let machine = place.machine_with(one).await;
    let config = machine.config.clone();
    machine.sandboxes.close().await;
    let Machine { dir, sandboxes, .. } = machine;
    drop(sandboxes);
    // All that this server was doing ends with its runtime, at once.
    let (spec, killed) = (spec_in(dir.path(), "warm-7"), config.clone());
    let (pids, stopped) = std::thread::spawn(move || {
        let server = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let pids = server.block_on(async {
            let sandboxes = Sandboxes::open(killed.clone()).await.unwrap();
            sandboxes.boot(spec).await.unwrap().stop(Duration::ZERO).await.unwrap();
            sandboxes.prepared().await;
            let pids = blank_pids(&killed);
            // Its shim cannot even end by itself.
            assert!(Command::new("kill").args(["-STOP", &pids[0].to_string()]).status().unwrap().success());
            std::mem::forget(sandboxes);
            pids
        });
        server.shutdown_background();
        (pids, blanks(&killed))
    })
    .join()
    .unwrap();
    assert_eq!(stopped.len(), 1);
    let sandboxes = Sandboxes::open(config.clone()).await.unwrap();
    for name in &stopped {
        let spec = std::fs::read_to_string(config.sandboxes_dir.join(name).join("state.json")).unwrap_or_default();
        assert!(!spec.contains(&pids[0].to_string()), "{spec}");
    }
    assert!(sandboxes.adopt().await.unwrap().is_empty());
    for pid in pids {
        until("processes are reaped", || !Path::new(&format!("/proc/{pid}")).exists()).await;
    }
    Machine { sandboxes, config, dir }.end(&[]).await;
}

#[tokio::test]
async fn old_ones_are_replaced() {
    let age_max = Duration::from_millis(300);
    let change =
        |config: &mut SandboxConfig| config.warm = WarmConfig { idle: Some(1), age_max, ..WarmConfig::STANDARD };
    let machine = Place::find(oci(), 71).unwrap().machine_with(change).await;
    // One may go at any time: while its directory is read too.
    let pids = || blanks(&machine.config).iter().filter_map(|name| known_init_pid(&machine.config, name)).collect();
    let old: RefCell<Vec<i32>> = RefCell::default();
    until("one stands ready", || {
        old.replace(pids());
        !old.borrow().is_empty()
    })
    .await;
    let old = old.into_inner();
    for pid in &old {
        until("the old one is gone", || !Path::new(&format!("/proc/{pid}")).exists()).await;
    }
    until("another one stands ready", || pids().iter().any(|pid: &i32| !old.contains(pid))).await;
    machine.end(&[]).await;
}

/// Both ways beside each other, for whoever reads the output: a busy machine makes all of it slower.
#[tokio::test]
async fn a_claim_takes_less_than_a_boot() {
    const ROUNDS: usize = 10;
    let machine = Place::find(oci(), 74).unwrap().machine_with(one).await;
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (way, took) in took.iter_mut().enumerate() {
            machine.sandboxes.prepared().await;
            let other = match way {
                0 => None,
                // Takes the one that stands ready away.
                _ => Some(machine.boot(&format!("warm-8-{round}-other")).await),
            };
            let id = format!("warm-8-{round}-{way}");
            let begun = Instant::now();
            let sandbox = machine.boot(&id).await;
            took.push(begun.elapsed());
            assert_eq!(was_booted_ahead(&machine.config, &id), way == 0, "round {round}");
            for sandbox in [Some(sandbox), other].into_iter().flatten() {
                sandbox.stop(Duration::ZERO).await.unwrap();
            }
        }
    }
    took.iter_mut().for_each(|took| took.sort_unstable());
    let [claims, boots] = took;
    eprintln!(
        "claimed: least {:.1?}, P50 {:.1?}, P95 {:.1?}; booted: P50 {:.1?}",
        claims[0],
        claims[ROUNDS / 2],
        claims[ROUNDS - 1],
        boots[ROUNDS / 2]
    );
    assert!(claims[ROUNDS / 2] < boots[ROUNDS / 2]);
    machine.end(&[]).await;
}
