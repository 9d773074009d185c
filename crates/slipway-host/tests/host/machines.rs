//! What virtual machines write never comes near the host's own file systems: it is tidied, looked through and sent by machines.

use crate::bench::{Bench, base, layers_dir};
use crate::phases::{Ground, command};
use crate::replicas::{spec, want};
use slipway_layers::{LayerError, LayerStore, image};
use slipway_sandbox::guest::{self, KernelSource};
use slipway_sandbox::{Acceleration, DriverConfig, QemuConfig};
use slipway_types::host::{CommandSpec, Env, OnOlderTree, PhaseOutcome, PhaseOutput, PhaseWork, ReplicaState};
use slipway_types::image::{Image, ImageStart, StartConfig};
use slipway_types::settings::{ByteSize, DurationMs};
use slipway_types::site::{FILES_DIRECTORY, MANIFEST_FILE, SiteFacts, SiteManifest, SitePlan};
use slipway_types::source::SourceSpec;
use slipway_types::{LayerKind, LayerRef, ServiceSettings, WrittenBy};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Names of drivers that have to be there: a missing one fails instead of being skipped. `./x test` sets it.
const REQUIRED: &str = "SLIPWAY_TEST_DRIVERS";

/// A host whose sandboxes are virtual machines. None, said loudly: there is no such driver on this machine.
async fn machines(number: u8) -> Option<Bench> {
    let driver = tokio::task::spawn_blocking(|| qemu(&crate::bench::programs().1)).await.unwrap();
    match driver {
        Ok(driver) => Some(Bench::with(number, |config| config.sandbox.driver = driver).await),
        Err(why) => {
            let required = std::env::var(REQUIRED).unwrap_or_default();
            assert!(!required.split(' ').any(|name| name == "qemu"), "`qemu`: {why}");
            eprintln!("SKIPPED: nothing of virtual machines is tested: {why}");
            None
        }
    }
}

fn qemu(agent: &Path) -> Result<DriverConfig, String> {
    let shared = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("debug/test-shared");
    let vsock = shared.join("tools/vhost-device-vsock/bin/vhost-device-vsock");
    if !vsock.is_file() {
        return Err(format!("`{}` is missing, `./x test` installs it", vsock.display()));
    }
    let found = std::process::Command::new("qemu-system-x86_64").arg("--version").output();
    found.map_err(|error| format!("`qemu-system-x86_64`: {error}, `./x test` installs it"))?;
    let guest = guest::prepare(&shared.join("guest"), &KernelSource::Debian, agent).map_err(|e| format!("{e:?}"))?;
    Ok(DriverConfig::Qemu(QemuConfig {
        guest,
        acceleration: Acceleration::Tcg,
        qemu_program: None,
        vsock_program: Some(vsock),
    }))
}

/// Watches for loop devices, without which no image is mounted. Each lasts as long as its mount, some milliseconds at least.
struct Watch {
    stop: Arc<AtomicBool>,
    watching: JoinHandle<Vec<String>>,
}

impl Watch {
    /// `of_host` are ends of the names of images that the host may mount.
    fn begin(directory: &Path, of_host: &'static [&'static str]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (until, data) = (Arc::clone(&stop), directory.to_str().unwrap().to_owned());
        let watching = std::thread::spawn(move || {
            let mut found = Vec::new();
            while !until.load(Ordering::Relaxed) {
                for device in std::fs::read_dir("/sys/block").unwrap().flatten() {
                    let file = std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
                    let file = file.trim_end();
                    let is_own = file.starts_with(&data) || file.ends_with(".vm.img");
                    if is_own && !of_host.iter().any(|end| file.ends_with(end)) && !found.contains(&file.to_owned()) {
                        found.push(file.to_owned());
                    }
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            found
        });
        Self { stop, watching }
    }

    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.watching.join().unwrap()
    }
}

async fn source(bench: &mut Bench, files: &[(&str, &str)]) {
    let upload = bench.upload("source", files);
    bench.done(PhaseWork::Source { source: SourceSpec::Upload { upload }, wanted: vec![] }).await;
}

/// The base system alone.
async fn ground(bench: &mut Bench) -> Ground {
    let output = bench.done(PhaseWork::Environment { toolchains: vec![], package_manager: None, ignore: None }).await;
    let PhaseOutput::Environment { layers, path, .. } = output else { panic!("{output:?}") };
    Ground { layers, path }
}

fn install(ground: &Ground, tag: &str, on_older: &str) -> CommandSpec {
    let fresh = "mkdir -p node_modules ~/.npm /tmp/large && echo fresh > node_modules/how && echo x > ~/.npm/x && echo x > ~/keep";
    let mut spec = command(ground, tag, fresh);
    spec.key_files = vec!["package-lock.json".to_owned()];
    spec.on_older_tree = OnOlderTree::Run { command: on_older.to_owned() };
    spec.limits.memory = ByteSize::mebibytes(256);
    spec
}

async fn installed(bench: &mut Bench, lockfile: &str, spec: CommandSpec) -> LayerRef {
    source(bench, &[("package-lock.json", lockfile)]).await;
    bench.log.clear();
    let PhaseOutput::Install { layer, .. } = bench.done(PhaseWork::Install(spec)).await else { panic!() };
    layer
}

fn said(bench: &Bench, words: &str) -> bool {
    bench.log.iter().any(|line| line.contains(words))
}

fn is_refused(image: &Path) -> bool {
    let at = tempfile::tempdir().unwrap();
    let refused = [image::ReadOnly, image::ReadWrite].map(|access| image::mount(image, at.path(), access));
    image::written_by(image).unwrap() == WrittenBy::Guest
        && refused.iter().all(|mounted| matches!(mounted, Err(LayerError::GuestWritten { .. })))
}

/// Publishes an image whose superblock is in order and whose tables are not.
fn make_hostile(bench: &Bench, layer: &LayerRef) {
    use std::os::unix::fs::FileExt;
    let image = bench.dir.path().join("hostile.img");
    image::create(&image, 16 << 20).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&image).unwrap();
    file.write_all_at(&[0xff; 256 * 1024], 4096).unwrap();
    LayerStore::open(layers_dir()).unwrap().publish(&image, layer).unwrap();
}

fn ground_of(image: &Image, other: &LayerRef) -> Ground {
    Ground { layers: vec![image.layers[0].clone(), other.clone()], path: vec![] }
}

#[tokio::test]
async fn an_app_is_installed_built_published_and_run_in_machines() {
    let Some(mut bench) = machines(50).await else { return };
    let watch = Watch::begin(bench.dir.path(), &["/source.img"]);
    let tag = bench.tag.clone();
    source(&mut bench, &[("package-lock.json", "1")]).await;
    let mut ground = ground(&mut bench).await;

    let first = installed(&mut bench, "1", install(&ground, &tag, "false")).await;
    assert_eq!(first.written_by(), WrittenBy::Guest);
    let again = bench.done(PhaseWork::Install(install(&ground, &tag, "false"))).await;
    assert_eq!(again, PhaseOutput::Install { layer: first.clone(), reused: true });

    // On the tree of the install before, tidied: what the guest was told to keep is there, and nothing else.
    let adds = "test -e ~/keep && test ! -e ~/.npm && echo older >> node_modules/how && echo litter > made.js";
    let second = installed(&mut bench, "2", install(&ground, &tag, adds)).await;
    assert!(said(&bench, &format!("layer `{first}`")) && !said(&bench, "installing from nothing"), "{:#?}", bench.log);
    // The machine that is to install on it looks first, and refuses.
    let third = installed(&mut bench, "3", install(&ground, &tag, adds)).await;
    assert!(said(&bench, "the install before wrote `made.js`"), "{:#?}", bench.log);
    // The machine is asked what became of the lockfile.
    let fourth = installed(&mut bench, "4", install(&ground, &tag, "echo more >> package-lock.json")).await;
    assert!(said(&bench, "changed `package-lock.json`"), "{:#?}", bench.log);

    ground.layers.push(second.clone());
    let script = "echo once >> .cache/count; cat node_modules/how .cache/count > out.txt";
    let mut build = command(&ground, &tag, script);
    build.limits.memory = ByteSize::mebibytes(256);
    let output = bench.done(PhaseWork::Build { command: build, site: None }).await;
    let PhaseOutput::Build { layers, site: None } = output else { panic!("{output:?}") };
    ground.layers.extend(layers);
    let output = ground.layers.last().unwrap().clone();
    assert_eq!((output.kind, output.written_by()), (LayerKind::Output, WrittenBy::Guest));

    let start = StartConfig { command: "cat out.txt; sleep 600".into(), cwd: "/app".into(), ..StartConfig::default() };
    let image = Image { layers: ground.layers, start: ImageStart::Process(start), rules: Default::default() };
    let mut app = spec(&bench, &image, &format!("vm-{tag}"), None, Env::new());
    app.health = None;
    app.stable_window = DurationMs::seconds(3);
    let id = app.replica.clone();
    want(&bench, 1, vec![app]).await;
    loop {
        match bench.state_of(&id).await {
            ReplicaState::Ready { .. } => break,
            ReplicaState::Starting => {}
            other => panic!("{other:#?}"),
        }
    }
    while !bench.log.iter().any(|line| line == "once") {
        bench.next().await;
    }
    want(&bench, 2, vec![]).await;
    assert_eq!(bench.state_of(&id).await, ReplicaState::Stopped);
    for line in ["fresh", "older", "once"] {
        assert!(bench.log.iter().any(|said| said == line), "{line:?} is missing in {:#?}", bench.log);
    }

    // A file system that is made to break who mounts it breaks a machine of its own.
    let hostile = LayerRef::new(LayerKind::Dependencies, format!("hostile-{tag}")).written(WrittenBy::Guest);
    make_hostile(&bench, &hostile);
    let mut build = command(&ground_of(&image, &hostile), &tag, "true");
    build.limits.memory = ByteSize::mebibytes(256);
    let outcome = bench.phase(PhaseWork::Build { command: build, site: None }).await;
    let PhaseOutcome::Failed(evidence) = outcome else { panic!("{outcome:?}") };
    let error = evidence.host_error.unwrap();
    assert_eq!(error.code, "sandbox-failed");
    assert!(error.message.contains("the agent could not make the sandbox: could not mount the image"), "{error:?}");

    let cache = layers_dir().join("caches").join(bench.service().as_str());
    let cache = std::fs::read_dir(cache).unwrap().next().unwrap().unwrap().path();
    let mut layers = vec![first, second, third, fourth, output, hostile];
    for written in layers.iter().map(|layer| layers_dir().join(format!("{layer}.img"))).chain([cache]) {
        assert!(is_refused(&written), "{}", written.display());
    }
    assert_eq!(watch.end(), Vec::<String>::new(), "the host mounted what a machine wrote");
    layers.push(LayerRef::new(LayerKind::Source, bench.deployment().as_str()));
    bench.end(&layers).await;
}

/// What a build makes of links, pipes and withheld files; the result, and what was said.
async fn site(bench: &mut Bench) -> (SiteManifest, Vec<String>, SiteFacts, Vec<String>) {
    let page = "<!doctype html><title>site</title>".repeat(100);
    let files =
        [("public/index.html", page.as_str()), ("shared/logo.svg", "<svg/>"), (".env", "x"), ("web/notes.txt", "x")];
    source(bench, &files).await;
    let ground = ground(bench).await;
    let script = "mkdir -p web/dist/en && sed s/site/built/ public/index.html > web/dist/index.html && cd web/dist && \
                  echo '/a /b' > _redirects && echo '{}' > package.json && ln -s ../../shared shared && \
                  ln -s /etc/passwd passwd && ln -s ../../.env config && mkfifo pipe && echo x > .env && \
                  cp index.html en/ && ln -s . loop && rm -r ../../public";
    let plan =
        |directory: &str| Some(SitePlan { directory: directory.to_owned(), fallback: Some("index.html".into()) });
    let mut build = command(&ground, &bench.tag, script);
    build.cwd = "web".to_owned();
    build.command = format!("cd .. && {script}");
    build.cache_dirs.clear();
    build.limits.memory = ByteSize::mebibytes(256);
    bench.log.clear();
    let done = bench.done(PhaseWork::Build { command: build.clone(), site: plan("dist") }).await;
    let PhaseOutput::Build { layers, site: Some(facts) } = done else { panic!("{done:?}") };
    let mut notes: Vec<String> = bench.log.iter().filter(|line| !line.starts_with('$')).cloned().collect();
    notes.sort();

    let missing = bench.phase(PhaseWork::Build { command: build, site: plan("out") }).await;
    let PhaseOutcome::Failed(evidence) = missing else { panic!("{missing:?}") };
    let error = evidence.host_error.unwrap();
    notes.push(format!("{}: {}", error.code, error.message));

    let at = tempfile::tempdir().unwrap();
    let mounted = image::mount(&layers_dir().join(format!("{}.img", layers[0])), at.path(), image::ReadOnly).unwrap();
    let manifest = serde_json::from_slice(&std::fs::read(mounted.upper().join(MANIFEST_FILE)).unwrap()).unwrap();
    let files = std::fs::read_dir(mounted.upper().join(FILES_DIRECTORY)).unwrap();
    let mut names: Vec<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    mounted.unmount().unwrap();
    (manifest, names, facts, notes)
}

#[tokio::test]
async fn a_site_of_machines_is_that_of_containers() {
    let Some(mut by_machine) = machines(51).await else { return };
    let mut by_container = Bench::new(52).await;
    let watch = Watch::begin(by_container.dir.path(), &["/source.img"]);
    let expected = site(&mut by_container).await;
    assert!(watch.end().iter().any(|file| file.ends_with("/build.img")), "what is mounted is seen");
    let watch = Watch::begin(by_machine.dir.path(), &["/source.img", "/published.img"]);
    let sent = site(&mut by_machine).await;
    assert_eq!(watch.end(), Vec::<String>::new(), "the host mounted what a machine wrote");
    assert_eq!(sent, expected);
    let paths: Vec<&str> = sent.0.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["en/index.html", "index.html", "package.json", "shared/logo.svg"]);
    assert_eq!(sent.2.redirects_text.as_deref(), Some("/a /b\n"));
    assert!(sent.3.last().unwrap().contains("the build wrote `dist` (with an `index.html`)"), "{:#?}", sent.3);
    for bench in [by_machine, by_container] {
        let layers = [LayerKind::Source, LayerKind::Site].map(|kind| LayerRef::new(kind, bench.deployment().as_str()));
        bench.end(&layers).await;
    }
}

/// Nothing is booted, and nothing is looked for: the name says enough.
#[tokio::test]
async fn a_release_of_machines_is_refused_by_containers() {
    let mut bench = Bench::new(53).await;
    let foreign = LayerRef::new(LayerKind::Output, format!("gone-{}", bench.tag)).written(WrittenBy::Guest);
    let start = StartConfig { command: "true".into(), cwd: "/app".into(), ..StartConfig::default() };
    let layers = vec![base().await, foreign.clone()];
    let image = Image { layers, start: ImageStart::Process(start), rules: Default::default() };
    let replica = spec(&bench, &image, &format!("foreign-{}", bench.tag), None, Env::new());
    let id = replica.replica.clone();
    want(&bench, 1, vec![replica]).await;
    let evidence = loop {
        match bench.state_of(&id).await {
            ReplicaState::Failed { evidence } => break evidence,
            ReplicaState::Starting => {}
            other => panic!("{other:?}"),
        }
    };
    let check = |error: slipway_types::host::HostError| {
        assert_eq!(error.code, "driver-changed");
        assert!(error.message.contains(&format!("`{foreign}` was written in a virtual machine")), "{}", error.message);
    };
    check(evidence.host_error.unwrap());
    want(&bench, 2, vec![]).await;
    let migration = PhaseWork::PreDeploy {
        image,
        command: "true".to_owned(),
        env: Env::new(),
        limits: ServiceSettings::default().run,
        timeout: DurationMs::seconds(60),
    };
    let PhaseOutcome::Failed(evidence) = bench.phase(migration).await else { panic!() };
    check(evidence.host_error.unwrap());
    bench.end(&[]).await;
}
