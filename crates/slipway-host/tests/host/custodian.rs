//! The custodian of the layers, with control's part played by the test.

use crate::bench::{Bench, base, layers_dir};
use crate::replicas::{spec, want};
use slipway_types::cache::{
    CacheId, CacheInventory, RemovalReason, Retention, SweepEnded, SweepOrder, SweepOutcome, layers_of,
};
use slipway_types::host::{Env, HostCommand, HostReport, PhaseOutcome, PhaseWork, ReplicaState};
use slipway_types::image::ImageStart;
use slipway_types::site::SiteRules;
use slipway_types::{Image, LayerKind, LayerRef, SourceSpec, StartConfig};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A directory of layers that no other test looks at, with the base system in it.
pub(crate) async fn own_layers(bench_name: &str) -> PathBuf {
    let base = format!("{}.img", base().await);
    let own = layers_dir().parent().unwrap().join(format!("host-layers-{bench_name}"));
    let _ = std::fs::remove_dir_all(&own);
    std::fs::create_dir_all(&own).unwrap();
    std::fs::hard_link(layers_dir().join(&base), own.join(&base)).unwrap();
    own
}

fn is_there(layers: &Path, layer: &LayerRef) -> bool {
    layers.join(format!("{layer}.img")).exists()
}

fn source_of(bench: &Bench) -> LayerRef {
    layers_of(&bench.deployment()).find(|layer| layer.kind == LayerKind::Source).unwrap()
}

/// Answers the next question, and gives the inventory and the reports that follow it.
async fn answer(bench: &mut Bench, keep: &[LayerRef]) -> (CacheInventory, Vec<SweepEnded>) {
    let mut ended = Vec::new();
    loop {
        match bench.next().await {
            HostReport::RetentionWanted { request } => {
                let services = [bench.service()].into();
                let layers: BTreeSet<LayerRef> = keep.iter().cloned().collect();
                bench.send(HostCommand::Retain(Retention { request, layers, services })).await;
            }
            HostReport::Swept(sweep) => ended.push(sweep),
            HostReport::Inventory(inventory) => return (*inventory, ended),
            _ => {}
        }
    }
}

/// The number of the next question.
async fn question(bench: &mut Bench) -> u64 {
    loop {
        if let HostReport::RetentionWanted { request } = bench.next().await {
            return request;
        }
    }
}

async fn order(bench: &mut Bench, order: SweepOrder, keep: &[LayerRef]) -> SweepOutcome {
    bench.send(HostCommand::Sweep { sweep: "swp-1".into(), order }).await;
    loop {
        let (_, mut ended) = answer(bench, keep).await;
        if let Some(SweepEnded { sweep, outcome }) = ended.pop() {
            assert_eq!(sweep, "swp-1");
            return outcome.unwrap();
        }
    }
}

fn source(bench: &Bench) -> PhaseWork {
    let upload = bench.upload("up", &[("index.html", "hello")]);
    PhaseWork::Source { source: SourceSpec::Upload { upload }, wanted: Vec::new() }
}

#[tokio::test]
async fn what_control_keeps_stays_and_what_nobody_needs_goes() {
    let layers = own_layers("kept").await;
    let mut bench = Bench::with(41, |config| config.layers_dir.clone_from(&layers)).await;
    let (first, _) = answer(&mut bench, &[]).await;
    assert!(first.items.iter().any(|item| item.pinned), "the base is pinned for the next build: {first:?}");

    let _ = bench.done(source(&bench)).await;
    let source = source_of(&bench);
    let cleared = order(&mut bench, SweepOrder::Caches { service: None }, &[]).await;
    assert!(is_there(&layers, &source), "a build stands on it: {cleared:?}");

    bench.send(HostCommand::ReleaseWorker { worker: 0, deployment: bench.deployment() }).await;
    let (kept, _) = answer(&mut bench, std::slice::from_ref(&source)).await;
    let item = kept.items.iter().find(|item| item.id == CacheId::Layer { layer: source.clone() }).unwrap();
    assert!(item.pinned && !item.in_use && item.hot_bytes > 0, "{item:?}");
    assert_eq!(item.service, Some(bench.service()), "it is noted whose it is");

    let unneeded = |dry_run| SweepOrder::Unneeded { dry_run };
    let planned = order(&mut bench, unneeded(true), &[]).await;
    assert!(is_there(&layers, &source) && planned.dry_run);
    let done = order(&mut bench, unneeded(false), &[]).await;
    assert_eq!((&done.removed, done.freed_bytes), (&planned.removed, planned.freed_bytes));
    assert_eq!(done.removed[0].reason, RemovalReason::Unneeded);
    assert!(!is_there(&layers, &source) && is_there(&layers, &base().await));
    bench.end(&[]).await;
    std::fs::remove_dir_all(layers).unwrap();
}

/// Control was asked a moment before the replica was wanted, and so its answer does not know of it.
#[tokio::test]
async fn what_a_replica_begins_on_after_the_question_stays() {
    let layers = own_layers("begins").await;
    let mut bench = Bench::with(44, |config| config.layers_dir.clone_from(&layers)).await;
    let _ = answer(&mut bench, &[]).await;
    let _ = bench.done(source(&bench)).await;
    let source = source_of(&bench);
    bench.send(HostCommand::ReleaseWorker { worker: 0, deployment: bench.deployment() }).await;
    let _ = answer(&mut bench, std::slice::from_ref(&source)).await;

    let order = SweepOrder::Caches { service: None };
    bench.send(HostCommand::Sweep { sweep: "swp-1".into(), order }).await;
    let request = question(&mut bench).await;
    let start = StartConfig { command: "sleep 600".into(), cwd: "/app".into(), ..StartConfig::default() };
    let layers_of_it = vec![base().await, source.clone()];
    let image = Image { layers: layers_of_it, start: ImageStart::Process(start), rules: SiteRules::default() };
    let mut replica = spec(&bench, &image, &format!("begins-{}", bench.tag), None, Env::new());
    // It listens nowhere.
    replica.health = None;
    let id = replica.replica.clone();
    want(&bench, 1, vec![replica]).await;
    while bench.state_of(&id).await != ReplicaState::Starting {}
    let retention = Retention { request, layers: BTreeSet::new(), services: [bench.service()].into() };
    bench.send(HostCommand::Retain(retention)).await;
    loop {
        if let HostReport::Swept(ended) = bench.next().await {
            ended.outcome.unwrap();
            break;
        }
    }
    assert!(is_there(&layers, &source), "a replica has begun on it");
    want(&bench, 2, Vec::new()).await;
    while bench.state_of(&id).await != ReplicaState::Stopped {}
    bench.end(&[]).await;
    std::fs::remove_dir_all(layers).unwrap();
}

/// Branches that are gone leave nothing behind, nor do services.
#[tokio::test]
async fn heads_and_caches_that_nobody_uses_go() {
    let layers = own_layers("branches").await;
    let mut bench = Bench::with(45, |config| config.layers_dir.clone_from(&layers)).await;
    let _ = answer(&mut bench, &[]).await;
    let service = bench.service();
    let write = |file: &str, days: u64| {
        let path = layers.join(file.replace("SERVICE", service.as_str()));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, vec![1; 4096]).unwrap();
        let used_at = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        std::fs::File::open(&path).unwrap().set_modified(used_at).unwrap();
        path
    };
    let old =
        ["heads/SERVICE/gone.json", "heads/SERVICE/.new-1", "caches/SERVICE/gone.img"].map(|file| write(file, 31));
    let young = ["heads/SERVICE/main.json", "caches/SERVICE/main.img"].map(|file| write(file, 29));
    let other = write("heads/other/main.json", 29);
    let planned = order(&mut bench, SweepOrder::Unneeded { dry_run: true }, &[]).await;
    assert_eq!(planned.removed.len(), 1);
    assert!(old.iter().all(|path| path.exists()), "it was only asked for");
    order(&mut bench, SweepOrder::Unneeded { dry_run: false }, &[]).await;
    assert!(old.iter().all(|path| !path.exists()) && young.iter().all(|path| path.exists()));
    order(&mut bench, SweepOrder::Destroyed { service: service.clone() }, &[]).await;
    assert!(young.iter().all(|path| !path.exists()) && other.exists());
    bench.end(&[]).await;
    std::fs::remove_dir_all(layers).unwrap();
}

#[tokio::test]
async fn nothing_is_built_without_room_and_what_may_go_makes_some() {
    let layers = own_layers("room").await;
    let mut bench = Bench::with(42, |config| {
        config.layers_dir.clone_from(&layers);
        config.layers.keep_free = Some(u64::MAX >> 1);
    })
    .await;
    let _ = answer(&mut bench, &[]).await;
    let unused = LayerRef::new(LayerKind::Toolchain, "unused-1.0.0");
    let path = layers.join(format!("{unused}.img"));
    std::fs::write(&path, vec![1; 1 << 20]).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    bench.start_phase(source(&bench)).await;
    let _ = answer(&mut bench, &[]).await;
    let (_, outcome) = bench.finished().await;
    let PhaseOutcome::Failed(evidence) = outcome else { panic!("{outcome:?}") };
    let error = evidence.host_error.unwrap();
    assert_eq!(error.code, "disk-nearly-full");
    assert!(error.message.contains("must stay free (`layers.keep_free`)"), "{}", error.message);
    assert!(!path.exists(), "it was tried to make room");
    bench.end(&[]).await;
    std::fs::remove_dir_all(layers).unwrap();
}

#[tokio::test]
async fn a_replica_whose_layers_are_gone_says_so() {
    let mut bench = Bench::new(43).await;
    let gone = LayerRef::new(LayerKind::Output, format!("gone-{}", bench.tag));
    let start = StartConfig { command: "true".into(), cwd: "/app".into(), ..StartConfig::default() };
    for start in [ImageStart::Process(start), ImageStart::Site] {
        let layers = match start {
            ImageStart::Process(_) => vec![base().await, gone.clone()],
            ImageStart::Site => vec![gone.clone()],
        };
        let image = Image { layers, start, rules: SiteRules::default() };
        let is_site = image.process().is_none();
        let name = format!("gone-{is_site}-{}", bench.tag);
        let replica = spec(&bench, &image, &name, None, Env::new());
        let id = replica.replica.clone();
        want(&bench, 1 + u64::from(is_site), vec![replica]).await;
        let evidence = loop {
            match bench.state_of(&id).await {
                ReplicaState::Failed { evidence } => break evidence,
                ReplicaState::Starting => {}
                other => panic!("{other:?}"),
            }
        };
        let error = evidence.host_error.unwrap();
        assert_eq!((error.code.as_str(), error.message), ("release-gone", format!("there is no layer `{gone}`")));
    }
    bench.end(&[]).await;
}
