//! What an install begins from, when it may not, and what a build does with the cache of its branch.

use crate::bench::{Bench, layers_dir};
use crate::phases::{Ground, command, ground};
use slipway_types::host::{CommandSpec, HostCommand, OnOlderTree, PhaseOutcome, PhaseOutput, PhaseWork};
use slipway_types::settings::{ByteSize, DurationMs};
use slipway_types::source::{Lineage, SourceSpec};
use slipway_types::{LayerKind, LayerRef};
use std::time::Instant;

/// An install by shell: from nothing it writes `a`, on an older tree it does what `on_older` says.
fn install(ground: &Ground, tag: &str, on_older: &str) -> CommandSpec {
    let fresh = "mkdir -p node_modules && echo fresh > node_modules/how";
    let mut spec = command(ground, tag, fresh);
    spec.key_files = vec!["package-lock.json".to_owned(), "package.json".to_owned()];
    spec.on_older_tree = OnOlderTree::Run { command: on_older.to_owned() };
    spec
}

/// A source with that lockfile.
async fn lock(bench: &mut Bench, lockfile: &str) {
    let files = [("package-lock.json", lockfile), ("package.json", r#"{"name":"a"}"#)];
    let upload = bench.upload("locked", &files);
    bench.done(PhaseWork::Source { source: SourceSpec::Upload { upload }, wanted: vec![] }).await;
}

async fn installed(bench: &mut Bench, spec: CommandSpec) -> LayerRef {
    bench.log.clear();
    let PhaseOutput::Install { layer, .. } = bench.done(PhaseWork::Install(spec)).await else { panic!() };
    layer
}

fn said(bench: &Bench, words: &str) -> bool {
    bench.log.iter().any(|line| line.contains(words))
}

/// Content of `node_modules/how` in the layer.
async fn how(bench: &mut Bench, ground: &Ground, layer: &LayerRef) -> String {
    let mut spec = command(ground, &bench.tag, "echo how: $(cat node_modules/how)");
    spec.layers.push(layer.clone());
    spec.cache_dirs.clear();
    bench.done(PhaseWork::Build { command: spec, site: None }).await;
    let line = bench.log.iter().rev().find_map(|line| line.strip_prefix("how: "));
    line.unwrap().to_owned()
}

fn on_branch(bench: &mut Bench, branch: &str) {
    bench.lineage = Lineage::of_git(Some(branch.to_owned()), Some("main".to_owned()));
}

#[tokio::test]
async fn an_install_begins_from_its_branch_and_falls_back_to_nothing() {
    let mut bench = Bench::new(30).await;
    let ground = ground(&mut bench).await;
    let tag = bench.tag.clone();
    let adds = "echo older >> node_modules/how";
    let mut layers = Vec::new();

    // The default branch's, where the branch has none; then its own.
    on_branch(&mut bench, "main");
    lock(&mut bench, "1").await;
    layers.push(installed(&mut bench, install(&ground, &tag, adds)).await);
    on_branch(&mut bench, "feature/../x");
    for (lockfile, expected, from) in
        [("2", "fresh older", "branch `main`"), ("3", "fresh older older", "feature/../x")]
    {
        lock(&mut bench, lockfile).await;
        let layer = installed(&mut bench, install(&ground, &tag, adds)).await;
        assert!(said(&bench, from) && said(&bench, &layers.last().unwrap().to_string()), "{:#?}", bench.log);
        assert_eq!(how(&mut bench, &ground, &layer).await, expected);
        layers.push(layer);
    }

    // What fails on the older tree, or changes the lockfile, counts for nothing.
    for (lockfile, on_older, why) in [
        ("4", "echo broken > node_modules/how; exit 7", "exited with status 7"),
        ("5", "echo more >> package-lock.json", "changed `package-lock.json`"),
    ] {
        lock(&mut bench, lockfile).await;
        let layer = installed(&mut bench, install(&ground, &tag, on_older)).await;
        assert!(said(&bench, why) && said(&bench, "installing from nothing"), "{:#?}", bench.log);
        assert_eq!(how(&mut bench, &ground, &layer).await, "fresh");
        layers.push(layer);
    }

    // Another family, and a tree that holds what no package manager keeps.
    lock(&mut bench, "6").await;
    let mut other = install(&ground, &tag, adds);
    other.key_words.push("another runtime".to_owned());
    layers.push(installed(&mut bench, other).await);
    assert!(said(&bench, "more than packages differs"), "{:#?}", bench.log);
    lock(&mut bench, "7").await;
    let mut littering = install(&ground, &tag, adds);
    littering.command.push_str(" && echo x > generated.js");
    layers.push(installed(&mut bench, littering.clone()).await);
    lock(&mut bench, "8").await;
    layers.push(installed(&mut bench, littering).await);
    assert!(said(&bench, "the install before wrote `generated.js`"), "{:#?}", bench.log);

    // The layer is gone: that costs an install.
    let newest = layers.last().unwrap().clone();
    std::fs::remove_file(layers_dir().join(format!("{newest}.img"))).unwrap();
    lock(&mut bench, "9").await;
    let mut littering = install(&ground, &tag, adds);
    littering.command.push_str(" && echo x > generated.js");
    layers.push(installed(&mut bench, littering).await);
    assert!(said(&bench, "the older layer is gone"), "{:#?}", bench.log);

    layers.extend([LayerKind::Source, LayerKind::Output].map(|kind| LayerRef::new(kind, bench.deployment().as_str())));
    bench.end(&layers).await;
}

#[tokio::test]
async fn two_builds_of_one_key_install_once() {
    let (mut one, mut other) = (Bench::new(33).await, Bench::new(34).await);
    let ground = ground(&mut one).await;
    // Two servers on one directory of layers, with two services of the same dependencies.
    for bench in [&mut one, &mut other] {
        lock(bench, "1").await;
    }
    let mut spec = install(&ground, &one.tag, "true");
    spec.command.push_str(" && sleep 1");
    let (first, second) =
        tokio::join!(one.done(PhaseWork::Install(spec.clone())), other.done(PhaseWork::Install(spec.clone())));
    let layer = match (first, second) {
        (PhaseOutput::Install { layer, reused: false }, PhaseOutput::Install { layer: same, reused: true })
        | (PhaseOutput::Install { layer: same, reused: true }, PhaseOutput::Install { layer, reused: false })
            if layer == same =>
        {
            layer
        }
        outputs => panic!("{outputs:?}"),
    };
    let ran = [&one, &other].map(|bench| bench.log.iter().filter(|line| line.starts_with("$ mkdir")).count());
    assert_eq!(ran.iter().sum::<usize>(), 1, "{:#?}\n{:#?}", one.log, other.log);
    let waited = if ran[0] == 0 { &one } else { &other };
    assert!(said(waited, "waiting for it") && said(waited, "by another service"), "{:#?}", waited.log);
    for bench in [one, other] {
        let source = LayerRef::new(LayerKind::Source, bench.deployment().as_str());
        bench.end(&[layer.clone(), source]).await;
    }
}

#[tokio::test]
async fn a_cancel_and_a_timeout_on_an_older_tree_end_the_install() {
    let mut bench = Bench::new(31).await;
    let ground = ground(&mut bench).await;
    let tag = bench.tag.clone();
    lock(&mut bench, "1").await;
    let first = installed(&mut bench, install(&ground, &tag, "true")).await;
    lock(&mut bench, "2").await;
    let mut slow = install(&ground, &tag, "echo begun; sleep 600");
    slow.timeout = DurationMs(1500);
    let PhaseOutcome::Failed(evidence) = bench.phase(PhaseWork::Install(slow.clone())).await else { panic!() };
    assert_eq!(evidence.timed_out_after, Some(1500), "{evidence:?}");

    slow.timeout = DurationMs::seconds(600);
    bench.log.clear();
    bench.start_phase(PhaseWork::Install(slow)).await;
    while !bench.log.iter().any(|line| line == "begun") {
        bench.next().await;
    }
    bench.send(HostCommand::CancelPhase { deployment: bench.deployment() }).await;
    assert_eq!(bench.finished().await.1, PhaseOutcome::Canceled);
    assert!(!said(&bench, "installing from nothing"), "{:#?}", bench.log);
    let source = LayerRef::new(LayerKind::Source, bench.deployment().as_str());
    bench.end(&[first, source]).await;
}

#[tokio::test]
async fn a_cache_is_of_its_branch_and_kept_only_after_success() {
    let mut bench = Bench::new(32).await;
    let ground = ground(&mut bench).await;
    let tag = bench.tag.clone();
    let counting = "echo once >> .cache/count; echo \"count: $(cat .cache/count | wc -l)\"";
    let build = |script: &str| {
        let mut command = command(&ground, &tag, script);
        command.limits.disk = ByteSize::mebibytes(512);
        PhaseWork::Build { command, site: None }
    };
    for (branch, script, expected) in [
        ("main", counting, "count: 1"),
        ("main", counting, "count: 2"),
        // The default branch's, and then its own.
        ("next", counting, "count: 3"),
        ("next", counting, "count: 4"),
        ("main", counting, "count: 3"),
    ] {
        on_branch(&mut bench, branch);
        bench.log.clear();
        bench.done(build(script)).await;
        assert!(said(&bench, expected), "{branch}: {expected}: {:#?}", bench.log);
    }
    let failing = format!("{counting}; exit 1");
    let PhaseOutcome::Failed(_) = bench.phase(build(&failing)).await else { panic!() };
    bench.log.clear();
    bench.done(build(counting)).await;
    assert!(said(&bench, "count: 4"), "a build that failed changed the cache: {:#?}", bench.log);

    // One that is broken is lost without harm.
    let image = layers_dir().join("caches").join(bench.service().as_str()).join("main.img");
    std::fs::write(&image, vec![7; 1 << 20]).unwrap();
    bench.log.clear();
    bench.done(build(counting)).await;
    assert!(said(&bench, "count: 1"), "{:#?}", bench.log);

    // What the copy of a cache of 300 MB costs, beside a build that has next to none.
    let began = Instant::now();
    bench.done(build("true")).await;
    eprintln!("a build with a small cache: {:?}", began.elapsed());
    bench.done(build("head -c 300M /dev/urandom > .cache/large")).await;
    let began = Instant::now();
    bench.done(build("test $(stat -c %s .cache/large) = 314572800")).await;
    eprintln!("a build with a cache of 300 MB: {:?}", began.elapsed());
    let own = [LayerKind::Source, LayerKind::Output].map(|kind| LayerRef::new(kind, bench.deployment().as_str()));
    bench.end(&own).await;
}
