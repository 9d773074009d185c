//! Sites: built, packed, mounted for the edge, and gone again.

use crate::bench::Bench;
use crate::phases::{Ground, command};
use crate::replicas::{spec, want};
use slipway_types::host::{HostCommand, HostReport, PhaseOutcome, PhaseOutput, PhaseWork, ReplicaSpec, ReplicaState};
use slipway_types::image::{Image, ImageStart};
use slipway_types::route::Endpoint;
use slipway_types::site::{FILES_DIRECTORY, MANIFEST_FILE, SiteManifest, SitePlan};
use slipway_types::source::SourceSpec;
use slipway_types::{LayerKind, LayerRef, ReplicaId};
use std::path::{Path, PathBuf};

const PAGE: &str = "<!doctype html><title>site</title>";

/// Source and environment of plain files: no toolchain.
async fn ground(bench: &mut Bench) -> Ground {
    let upload =
        bench.upload("site", &[("public/index.html", PAGE), ("public/_redirects", "/a /b"), ("notes.txt", "no")]);
    bench.done(PhaseWork::Source { source: SourceSpec::Upload { upload }, wanted: vec![] }).await;
    let output = bench.done(PhaseWork::Environment { toolchains: vec![], package_manager: None, ignore: None }).await;
    let PhaseOutput::Environment { layers, path, .. } = output else { panic!("{output:?}") };
    Ground { layers, path }
}

fn site(ground: &Ground, tag: &str, script: &str, directory: &str) -> PhaseWork {
    let plan = SitePlan { directory: directory.to_owned(), fallback: Some("index.html".to_owned()) };
    PhaseWork::Build { command: command(ground, tag, script), site: Some(plan) }
}

/// As the edge reads it.
fn read(endpoint: &Path, path: &str) -> String {
    let manifest = std::fs::read(endpoint.join(MANIFEST_FILE)).unwrap();
    let manifest: SiteManifest = serde_json::from_slice(&manifest).unwrap();
    let file = &manifest.files[path];
    std::fs::read_to_string(endpoint.join(FILES_DIRECTORY).join(&file.digest)).unwrap()
}

async fn ready(bench: &mut Bench, replica: &ReplicaId) -> PathBuf {
    loop {
        match bench.state_of(replica).await {
            ReplicaState::Ready { at: Endpoint::Site(directory) } => return directory,
            ReplicaState::Starting => {}
            other => panic!("{other:#?}"),
        }
    }
}

/// How often the site of a replica is mounted.
fn mounts(bench: &Bench, replica: &ReplicaId) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let point = format!("{}/sites/{replica} ", bench.dir.path().display());
    table.lines().filter(|line| line.contains(&point)).count()
}

#[tokio::test]
async fn a_site_is_built_mounted_and_unmounted() {
    let mut bench = Bench::new(7).await;
    let ground = ground(&mut bench).await;
    // Plain files first, then what a command made of them: the newer build replaces the older one.
    let output = bench.done(site(&ground, &bench.tag.clone(), "", "public")).await;
    let PhaseOutput::Build { layers, site: Some(facts) } = output else { panic!("{output:?}") };
    let layer = LayerRef::new(LayerKind::Site, bench.deployment().as_str());
    assert_eq!((layers, facts.files, facts.redirects_text.as_deref()), (vec![layer.clone()], 1, Some("/a /b")));
    let script = "mkdir dist && sed s/site/built/ public/index.html > dist/index.html && rm -r public";
    let output = bench.done(site(&ground, &bench.tag.clone(), script, "dist")).await;
    let PhaseOutput::Build { layers, site: Some(facts) } = output else { panic!("{output:?}") };
    assert_eq!((facts.files, facts.redirects_text), (1, None));
    bench.send(HostCommand::ReleaseWorker { worker: 0, deployment: bench.deployment() }).await;
    while !matches!(bench.next().await, HostReport::Claim { worker: 0 }) {}
    for kind in [LayerKind::Source, LayerKind::Output] {
        let other = LayerRef::new(kind, bench.deployment().as_str());
        assert!(!bench.config.layers_dir.join(format!("{other}.img")).exists(), "{other} is kept for a site");
    }

    let image = Image { layers, start: ImageStart::Site, rules: Default::default() };
    let web = spec(&bench, &image, &format!("site-{}", bench.tag), None, Default::default());
    let id = web.replica.clone();
    want(&bench, 1, vec![web.clone()]).await;
    let directory = ready(&mut bench, &id).await;
    let built = PAGE.replace("site", "built");
    assert_eq!(read(&directory, "index.html"), built);
    assert!(std::fs::write(directory.join("x"), "x").is_err(), "it is read-only");
    assert_eq!(mounts(&bench, &id), 1);

    let mut bench = bench.restart().await;
    assert_eq!(mounts(&bench, &id), 0);
    want(&bench, 1, vec![ReplicaSpec { served: true, ..web.clone() }]).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Ready { at: Endpoint::Site(directory.clone()) });
    assert_eq!(read(&directory, "index.html"), built);

    // A server that was killed unmounts nothing: the next one finds that, and mounts once.
    let mut bench = bench.kill().await;
    want(&bench, 1, vec![ReplicaSpec { served: true, ..web.clone() }]).await;
    assert_eq!(ready(&mut bench, &id).await, directory);
    assert_eq!((mounts(&bench, &id), read(&directory, "index.html")), (1, built));

    want(&bench, 2, vec![]).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    assert_eq!(mounts(&bench, &id), 0);
    // The loop device may stay a while: a shim that started meanwhile has a copy of the mounts.
    assert!(!directory.exists(), "nothing is left of it");
    bench.end(&[layer]).await;
}

#[tokio::test]
async fn a_site_that_cannot_be_published_or_mounted_says_why() {
    let mut bench = Bench::new(8).await;
    let ground = ground(&mut bench).await;
    let work = site(&ground, &bench.tag.clone(), "mkdir -p out/en; echo 1 > out/en/index.html", "dist");
    let PhaseOutcome::Failed(evidence) = bench.phase(work).await else { panic!() };
    let error = evidence.host_error.unwrap();
    assert_eq!(error.code, "site-directory-missing");
    assert_eq!(
        error.message,
        "there is no directory `dist` after the build; the build wrote `out/en` (with an `index.html`)"
    );
    let layer = LayerRef::new(LayerKind::Site, bench.deployment().as_str());
    let path = bench.config.layers_dir.join(format!("{layer}.img"));
    let image = Image { layers: vec![layer.clone()], start: ImageStart::Site, rules: Default::default() };
    let lost = spec(&bench, &image, &format!("lost-{}", bench.tag), None, Default::default());
    want(&bench, 1, vec![lost.clone()]).await;
    assert_eq!(bench.state_of(&lost.replica).await, ReplicaState::Starting);
    let ReplicaState::Failed { evidence } = bench.state_of(&lost.replica).await else { panic!() };
    assert_eq!(evidence.host_error.unwrap().code, "release-gone");
    // There, and no file system.
    std::fs::write(&path, [0; 64 * 1024]).unwrap();
    let broken = spec(&bench, &image, &format!("broken-{}", bench.tag), None, Default::default());
    want(&bench, 2, vec![broken.clone()]).await;
    let evidence = loop {
        match bench.state_of(&broken.replica).await {
            ReplicaState::Starting => {}
            ReplicaState::Failed { evidence } => break evidence,
            other => panic!("{other:#?}"),
        }
    };
    assert_eq!(evidence.host_error.unwrap().code, "layer-failed");
    want(&bench, 3, vec![]).await;
    let source = LayerRef::new(LayerKind::Source, bench.deployment().as_str());
    bench.end(&[source, layer]).await;
}
