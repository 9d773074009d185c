//! What an install begins from, when it may not, and what a build does with the cache of its branch.

use crate::bench::{Bench, PATIENCE, base, layers_dir};
use crate::custodian::own_layers;
use crate::phases::{Ground, command, ground};
use slipway_layers::{ColdConfig, ColdCredentials, LayerStore};
use slipway_testing::{S3Server, s3, wait};
use slipway_types::host::{CommandSpec, HostCommand, OnOlderTree, PhaseOutcome, PhaseOutput, PhaseWork};
use slipway_types::settings::{ByteSize, DurationMs};
use slipway_types::source::{Lineage, SourceSpec};
use slipway_types::{LayerKind, LayerRef};

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
    lock_with(bench, lockfile, &[]).await;
}

/// With files that decide nothing.
async fn lock_with(bench: &mut Bench, lockfile: &str, others: &[(&str, &str)]) {
    let files = [&[("package-lock.json", lockfile), ("package.json", r#"{"name":"a"}"#)], others].concat();
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

/// Says more than anything between it and the test holds, so it goes on only when the test does.
const FLOOD: &str = "echo begun; yes $(printf '%01000d' 1) | head -n 8000";

/// An install whose image is damaged while it runs.
async fn damaged(bench: &mut Bench, spec: CommandSpec) -> LayerRef {
    bench.log.clear();
    bench.start_phase(PhaseWork::Install(spec)).await;
    while !bench.log.iter().any(|line| line == "begun") {
        bench.next().await;
    }
    let image = bench.config.data_dir.join("scratch").join(bench.deployment().as_str()).join("older.img");
    std::fs::remove_file(&image).unwrap();
    std::fs::write(&image, vec![7; 1 << 20]).unwrap();
    let (_, outcome) = bench.finished().await;
    let PhaseOutcome::Done(PhaseOutput::Install { layer, .. }) = outcome else { panic!("{outcome:#?}") };
    layer
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

/// What a script of one branch leaves in its tree must reach no other: not the default branch, not a second service.
#[tokio::test]
async fn a_tree_made_on_an_older_one_is_of_its_line_alone() {
    let mut bench = Bench::new(35).await;
    let ground = ground(&mut bench).await;
    let tag = bench.tag.clone();
    let poisons = "echo poison > node_modules/how";
    let mut layers = Vec::new();
    for (branch, lockfile, on_older, expected) in [
        ("main", "1", "true", "fresh"),
        ("next", "2", poisons, "poison"),
        // The same key: neither the tree nor the layer of the other branch.
        ("main", "2", "true", "fresh"),
        ("other", "2", "true", "fresh"),
        ("main", "3", "echo older > node_modules/how", "older"),
    ] {
        on_branch(&mut bench, branch);
        lock(&mut bench, lockfile).await;
        let layer = installed(&mut bench, install(&ground, &tag, on_older)).await;
        assert_eq!(how(&mut bench, &ground, &layer).await, expected, "{branch} {lockfile}");
        layers.push(layer);
    }
    // Branches trust the default one, and what was made on an older tree is found again.
    for branch in ["main", "later"] {
        on_branch(&mut bench, branch);
        let layer = installed(&mut bench, install(&ground, &tag, "false")).await;
        assert_eq!(layers.last(), Some(&layer), "{branch}");
        assert!(said(&bench, "nothing to install"), "{:#?}", bench.log);
    }
    // Of a second service nothing but what was made from nothing.
    let mut second = Bench::new(36).await;
    second.lineage = bench.lineage.clone();
    on_branch(&mut second, "main");
    lock(&mut second, "3").await;
    let layer = installed(&mut second, install(&ground, &tag, "false")).await;
    assert_eq!(how(&mut second, &ground, &layer).await, "fresh");
    layers.push(layer);
    for bench in [bench, second] {
        layers.extend(
            [LayerKind::Source, LayerKind::Output].map(|kind| LayerRef::new(kind, bench.deployment().as_str())),
        );
        bench.end(&layers).await;
    }
}

/// However the branch comes to its layer, the bound of installs in a row counts with the layer.
#[tokio::test]
async fn a_layer_keeps_its_generation() {
    let mut bench = Bench::new(37).await;
    let ground = ground(&mut bench).await;
    let tag = bench.tag.clone();
    let heads = layers_dir().join("heads").join(bench.service().as_str());
    on_branch(&mut bench, "main");
    let mut layers = Vec::new();
    for lockfile in ["1", "2", "3", "2"] {
        lock(&mut bench, lockfile).await;
        layers.push(installed(&mut bench, install(&ground, &tag, "true")).await);
    }
    assert_eq!(layers[1], layers[3]);
    let generation = || {
        let head: serde_json::Value = serde_json::from_slice(&std::fs::read(heads.join("main.json")).unwrap()).unwrap();
        head["generation"].as_u64().unwrap()
    };
    assert_eq!(generation(), 1, "the lockfile went back, and its layer was made on one other");
    std::fs::remove_dir_all(&heads).unwrap();
    layers.push(installed(&mut bench, install(&ground, &tag, "true")).await);
    assert_eq!(generation(), 1, "a lost head");
    layers.push(LayerRef::new(LayerKind::Source, bench.deployment().as_str()));
    bench.end(&layers).await;
}

fn cold_tier(server: &S3Server) -> ColdConfig {
    ColdConfig {
        endpoint: Some(format!("http://{}", server.authority())),
        bucket: s3::BUCKET.to_owned(),
        prefix: "layers".to_owned(),
        region: None,
        credentials: ColdCredentials::Keys {
            access_key_id: s3::KEY.to_owned(),
            secret_access_key: s3::SECRET.to_owned(),
            session_token: None,
        },
        concurrency: 2,
        bytes_per_second: None,
        allow_http: true,
        ca_bundle: None,
    }
}

#[tokio::test]
async fn an_older_tree_comes_back_from_the_cold_tier() {
    let layers = own_layers("cold").await;
    let store = LayerStore::open(&layers).unwrap();
    // The base system has its copy already, as far as is known: this test is about another layer.
    let digest = serde_json::from_str(&format!("\"{}\"", "0".repeat(64))).unwrap();
    store.update_record(&base().await, |record| (record.cold, record.digest) = (true, Some(digest))).unwrap();
    let shared = layers_dir().parent().unwrap().parent().unwrap().join("debug/test-shared");
    let server = S3Server::start(&shared);
    let mut bench = Bench::with(39, |config| {
        config.layers_dir.clone_from(&layers);
        config.layers.cold = Some(cold_tier(&server));
    })
    .await;
    let ground = Ground { layers: vec![base().await], path: Vec::new() };
    let tag = bench.tag.clone();
    lock(&mut bench, "1").await;
    let first = installed(&mut bench, install(&ground, &tag, "true")).await;
    let (known, layer) = (store.clone(), first.clone());
    let copied = move || wait::until("the cold copy", PATIENCE, || known.record(&layer).cold.then_some(()));
    tokio::task::spawn_blocking(copied).await.unwrap();
    std::fs::remove_file(layers.join(format!("{first}.img"))).unwrap();

    lock(&mut bench, "2").await;
    installed(&mut bench, install(&ground, &tag, "echo older >> node_modules/how && cat node_modules/how")).await;
    assert!(said(&bench, &format!("brought `{first}` back from the cold tier")), "{:#?}", bench.log);
    assert!(said(&bench, "beginning from those") && said(&bench, "older"), "{:#?}", bench.log);

    // The server of the copies is gone: that costs an install.
    std::fs::remove_file(layers.join(format!("{first}.img"))).unwrap();
    bench.lineage = Lineage::of_git(Some("other".to_owned()), Some(Lineage::UPLOADS.to_owned()));
    drop(server);
    lock(&mut bench, "3").await;
    let newest =
        store.list().unwrap().into_iter().map(|entry| entry.layer).filter(|l| l.kind == LayerKind::Dependencies);
    for layer in newest {
        std::fs::remove_file(layers.join(format!("{layer}.img"))).unwrap();
    }
    installed(&mut bench, install(&ground, &tag, "true")).await;
    assert!(said(&bench, "earlier dependencies are not used"), "{:#?}", bench.log);
    bench.end(&[]).await;
    std::fs::remove_dir_all(layers).unwrap();
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
    spec.command = format!("{FLOOD}; {}", spec.command);
    one.start_phase(PhaseWork::Install(spec.clone())).await;
    while !one.log.iter().any(|line| line == "begun") {
        one.next().await;
    }
    // It goes on only when its output is read.
    other.start_phase(PhaseWork::Install(spec)).await;
    while !said(&other, "waiting for it") {
        other.next().await;
    }
    let ((_, first), (_, second)) = tokio::join!(one.finished(), other.finished());
    let PhaseOutcome::Done(PhaseOutput::Install { layer, reused: false }) = first else { panic!("{first:?}") };
    assert_eq!(second, PhaseOutcome::Done(PhaseOutput::Install { layer: layer.clone(), reused: true }));
    assert!(!other.log.iter().any(|line| line.starts_with("$ ")), "{:#?}", other.log);
    assert!(said(&other, "by another service"), "{:#?}", other.log);
    for bench in [one, other] {
        let source = LayerRef::new(LayerKind::Source, bench.deployment().as_str());
        bench.end(&[layer.clone(), source]).await;
    }
}

#[tokio::test]
async fn an_install_of_another_that_never_ends_is_waited_for_no_longer_than_an_own_one() {
    let mut bench = Bench::new(38).await;
    let ground = ground(&mut bench).await;
    lock(&mut bench, "1").await;
    let mut spec = install(&ground, &bench.tag, "true");
    spec.key_words.push("stuck".to_owned());
    let layer = installed(&mut bench, spec.clone()).await;
    std::fs::remove_file(layers_dir().join(format!("{layer}.img"))).unwrap();
    let store = slipway_layers::LayerStore::open(layers_dir()).unwrap();
    let held = store.lock(&layer).unwrap();
    spec.timeout = DurationMs::seconds(1);
    let PhaseOutcome::Failed(evidence) = bench.phase(PhaseWork::Install(spec)).await else { panic!() };
    let error = evidence.host_error.unwrap();
    assert_eq!(error.code, "layer-failed");
    assert!(error.message.contains(&format!("locks/{layer}")), "{}", error.message);
    drop(held);
    let source = LayerRef::new(LayerKind::Source, bench.deployment().as_str());
    bench.end(&[layer, source]).await;
}

#[tokio::test]
async fn a_hang_on_an_older_tree_costs_half_of_the_time_and_a_cancel_ends_the_install() {
    let mut bench = Bench::new(31).await;
    let ground = ground(&mut bench).await;
    let tag = bench.tag.clone();
    lock(&mut bench, "1").await;
    let install = |on_older: &str| {
        let mut spec = install(&ground, &tag, on_older);
        spec.command = format!("test ! -e fails && {}", spec.command);
        spec
    };
    let first = installed(&mut bench, install("true")).await;
    let mut slow = install("echo begun; sleep 600");
    // Half of it is enough for a busy machine to begin.
    slow.timeout = DurationMs::seconds(40);
    lock_with(&mut bench, "2", &[("fails", "")]).await;
    bench.log.clear();
    let PhaseOutcome::Failed(evidence) = bench.phase(PhaseWork::Install(slow.clone())).await else { panic!() };
    assert!(said(&bench, "begun") && said(&bench, "longer than 20 s"), "{:#?}", bench.log);
    assert_eq!(evidence.exit.unwrap().code, Some(1), "it ran from nothing");
    // The next one loses no time.
    lock(&mut bench, "2").await;
    let second = installed(&mut bench, slow.clone()).await;
    assert!(said(&bench, "installing from nothing: an install on them took too long"), "{:#?}", bench.log);
    assert_eq!(how(&mut bench, &ground, &second).await, "fresh");

    // A tree that the attempt has broken, so that nobody can look through it, is no failure either.
    lock(&mut bench, "3").await;
    let third = damaged(&mut bench, install(FLOOD)).await;
    assert!(said(&bench, "begun") && said(&bench, "installing from nothing"), "{:#?}", bench.log);
    assert_eq!(how(&mut bench, &ground, &third).await, "fresh");

    lock(&mut bench, "4").await;
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
    bench.end(&[first, second, third, source]).await;
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

    let own = [LayerKind::Source, LayerKind::Output].map(|kind| LayerRef::new(kind, bench.deployment().as_str()));
    bench.end(&own).await;
}
