//! The phases of a build worker, one after the other, as control asks for them.

use crate::bench::Bench;
use slipway_types::host::{
    CommandSpec, Env, HostCommand, HostReport, OnOlderTree, PhaseOutcome, PhaseOutput, PhaseWork,
};
use slipway_types::image::{Image, ImageStart, StartConfig};
use slipway_types::plan::{PackageManager, PackageManagerName, Toolchain, ToolchainName};
use slipway_types::settings::{ByteSize, DurationMs};
use slipway_types::source::{GitSource, SourceSpec};
use slipway_types::{LayerRef, Secret, ServiceSettings};

pub(crate) const PACKAGE: &str = r#"{"name":"tiny","version":"1.0.0","dependencies":{"left-pad":"1.3.0"}}"#;
pub(crate) const SERVER: &str = r#"
const pad = require("left-pad");
const fs = require("fs");
require("http").createServer((request, answer) => {
  if (request.url === "/crash") process.exit(3);
  answer.statusCode = request.url === "/broken" ? 500 : 200;
  answer.end(pad(fs.readFileSync("built.txt", "utf8"), 8, "."));
}).listen(process.env.LISTEN_PORT || process.env.PORT, process.env.LISTEN_HOST || process.env.HOST, () => console.log("up as", process.getuid()));
"#;

/// What the phases before have given.
pub(crate) struct Ground {
    pub(crate) layers: Vec<LayerRef>,
    pub(crate) path: Vec<String>,
}

pub(crate) fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

pub(crate) fn command(ground: &Ground, tag: &str, command: &str) -> CommandSpec {
    let mut limits = ServiceSettings::default().build;
    limits.memory = ByteSize::mebibytes(1024);
    limits.disk = ByteSize::mebibytes(512);
    CommandSpec {
        layers: ground.layers.clone(),
        command: command.to_owned(),
        cwd: String::new(),
        env: env(&[]),
        path: ground.path.clone(),
        key_files: vec!["package.json".to_owned()],
        key_words: vec![tag.to_owned()],
        cache_dirs: vec![".cache".to_owned()],
        on_older_tree: OnOlderTree::Never { why: "a test".to_owned() },
        limits,
        timeout: DurationMs::seconds(100),
    }
}

/// Source and environment of the tiny project.
pub(crate) async fn ground(bench: &mut Bench) -> Ground {
    let upload = bench.upload("tiny", &[("package.json", PACKAGE), ("server.js", SERVER)]);
    let source = SourceSpec::Upload { upload };
    let output = bench.done(PhaseWork::Source { source, wanted: vec!["package.json".to_owned()] }).await;
    let PhaseOutput::Source(facts) = output else { panic!("{output:?}") };
    assert_eq!(facts.tree.paths, ["package.json", "server.js"]);
    assert_eq!(facts.tree.texts["package.json"], PACKAGE);
    let toolchains = vec![Toolchain { name: ToolchainName::Node, version_range: "22".to_owned() }];
    let package_manager = Some(PackageManager { name: PackageManagerName::Npm, version: None });
    let output = bench.done(PhaseWork::Environment { toolchains, package_manager, ignore: None }).await;
    let PhaseOutput::Environment { layers, path, runtime_versions, package_manager_version } = output else {
        panic!("{output:?}")
    };
    assert!(runtime_versions[0].starts_with("22."), "{runtime_versions:?}");
    assert!(package_manager_version.is_some_and(|version| version.starts_with("11.")));
    Ground { layers, path }
}

/// A build whose result is no site.
fn building(command: CommandSpec) -> PhaseWork {
    PhaseWork::Build { command, site: None }
}

/// All layers of a built tiny project, lowest first.
pub(crate) async fn built(bench: &mut Bench) -> Image {
    let mut ground = ground(bench).await;
    let install = command(&ground, &bench.tag, "npm install --no-package-lock");
    let output = bench.done(PhaseWork::Install(install.clone())).await;
    let PhaseOutput::Install { layer, reused: false } = output else { panic!("{output:?}") };
    let again = bench.done(PhaseWork::Install(install)).await;
    assert_eq!(again, PhaseOutput::Install { layer: layer.clone(), reused: true });

    ground.layers.push(layer);
    let script = "set -e; id -u; pwd; node -p 'process.version'; npm --version; echo once >> .cache/count; \
                  printf '\\033[32mgreen\\033[0m\\n'; cat .cache/count | wc -l; printf hello > built.txt";
    let build = command(&ground, &bench.tag, script);
    for round in ["1", "2"] {
        bench.log.clear();
        let output = bench.done(building(build.clone())).await;
        let PhaseOutput::Build { layers, site: None } = output else { panic!("{output:?}") };
        assert_eq!(layers.len(), 2);
        for said in ["10001", "/app", "green", round] {
            assert!(bench.log.iter().any(|line| line == said), "{said:?} is missing in {:#?}", bench.log);
        }
        if round == "2" {
            ground.layers.extend(layers);
        }
    }
    let start = ImageStart::Process(StartConfig {
        command: "node server.js".to_owned(),
        cwd: "/app".to_owned(),
        env: [("FROM_PLAN".to_owned(), "1".to_owned())].into(),
        path: ground.path,
    });
    Image { layers: ground.layers, start, rules: Default::default() }
}

/// Layers that only this test can have made.
pub(crate) fn own_layers(image: &Image) -> Vec<LayerRef> {
    use slipway_types::LayerKind::{Dependencies, Output, Source};
    image.layers.iter().filter(|layer| matches!(layer.kind, Dependencies | Output | Source)).cloned().collect()
}

#[tokio::test]
async fn a_project_is_built_and_its_migration_runs() {
    let mut bench = Bench::new(1).await;
    assert!(matches!(bench.next().await, HostReport::Claim { worker: 0 }));
    let image = built(&mut bench).await;
    let migrate = |command: &str| PhaseWork::PreDeploy {
        image: image.clone(),
        command: command.to_owned(),
        env: env(&[("DATABASE_URL", "db")]),
        limits: ServiceSettings::default().run,
        timeout: DurationMs::seconds(60),
    };
    let passing = "test \"$FROM_PLAN$DATABASE_URL\" = 1db && test -f built.txt && test -d node_modules/left-pad";
    assert_eq!(bench.done(migrate(passing)).await, PhaseOutput::PreDeploy);
    let PhaseOutcome::Failed(evidence) = bench.phase(migrate("echo no table >&2; exit 4")).await else { panic!() };
    assert_eq!(evidence.exit.unwrap().code, Some(4));
    assert!(evidence.tail.contains(&"no table".to_owned()), "{evidence:?}");
    assert_eq!(evidence.command.as_deref(), Some("echo no table >&2; exit 4"));

    bench.send(HostCommand::ReleaseWorker { worker: 0, deployment: bench.deployment() }).await;
    while !matches!(bench.next().await, HostReport::Claim { worker: 0 }) {}
    assert!(!bench.config.data_dir.join("scratch").join(bench.deployment().as_str()).exists());
    let own = own_layers(&image);
    bench.end(&own).await;
}

#[tokio::test]
async fn failures_of_a_command_leave_evidence() {
    let mut bench = Bench::new(2).await;
    let ground = ground(&mut bench).await;
    let failing = |script: &str| command(&ground, &bench.tag, script);
    let (plain, mut slow, hungry, full) = (
        failing("echo before; nothing-like-this"),
        failing("echo begun; sleep 600"),
        failing("node -e 'const all = []; for (;;) all.push(Buffer.alloc(1 << 24, 1))'"),
        failing("head -c 900M /dev/zero > /app/large"),
    );
    slow.timeout = DurationMs(1500);
    for phase in [PhaseWork::Install, building] {
        let PhaseOutcome::Failed(evidence) = bench.phase(phase(plain.clone())).await else { panic!() };
        assert_eq!(evidence.exit.unwrap().code, Some(127), "{evidence:?}");
        assert!(evidence.tail.contains(&"before".to_owned()), "{evidence:?}");
    }
    let PhaseOutcome::Failed(evidence) = bench.phase(building(slow.clone())).await else { panic!() };
    assert_eq!(evidence.timed_out_after, Some(1500), "{evidence:?}");
    let PhaseOutcome::Failed(evidence) = bench.phase(building(hungry)).await else { panic!() };
    assert!(evidence.exit.unwrap().out_of_memory, "{evidence:?}");
    let PhaseOutcome::Failed(evidence) = bench.phase(building(full)).await else { panic!() };
    assert!(evidence.disk_full, "{evidence:?}");

    slow.timeout = DurationMs::seconds(600);
    bench.log.clear();
    bench.start_phase(building(slow)).await;
    while !bench.log.iter().any(|line| line == "begun") {
        bench.next().await;
    }
    bench.send(HostCommand::CancelPhase { deployment: bench.deployment() }).await;
    assert_eq!(bench.finished().await.1, PhaseOutcome::Canceled);
    let source = LayerRef::new(slipway_types::LayerKind::Source, bench.deployment().as_str());
    bench.end(&[source]).await;
}

#[tokio::test]
async fn sources_that_cannot_be_had_are_told_apart() {
    let mut bench = Bench::new(3).await;
    let upload = slipway_types::UploadId::parse("nothing").unwrap();
    let git = |url: &str| SourceSpec::Git(GitSource { url: url.to_owned(), reference: None, credential: None });
    for (source, code) in
        [(SourceSpec::Upload { upload }, "upload-missing"), (git("file:///nowhere"), "git-unreachable")]
    {
        let outcome = bench.phase(PhaseWork::Source { source, wanted: vec![] }).await;
        let PhaseOutcome::Failed(evidence) = outcome else { panic!("{outcome:?}") };
        assert_eq!(evidence.host_error.unwrap().code, code);
    }
    let toolchains = vec![Toolchain { name: ToolchainName::Node, version_range: ">=99".to_owned() }];
    let outcome = bench.phase(PhaseWork::Environment { toolchains, package_manager: None, ignore: None }).await;
    let PhaseOutcome::Failed(evidence) = outcome else { panic!("{outcome:?}") };
    let error = evidence.host_error.unwrap();
    assert_eq!(error.code, "version-unavailable");
    assert!(error.message.contains("; there are "), "{}", error.message);
    bench.end(&[]).await;
}

#[tokio::test]
async fn every_package_manager_runs_in_a_sandbox() {
    use PackageManagerName::{Bun, Pnpm, Yarn};
    let mut bench = Bench::new(6).await;
    let mut ground = ground(&mut bench).await;
    for (name, version, program, begins) in [
        (Pnpm, None, "pnpm", "11."),
        (Pnpm, Some("12"), "pnpm", "12."),
        (Yarn, None, "yarn", "1.22."),
        (Yarn, Some("4.9.0"), "yarn", "4.9.0"),
        (Bun, None, "bun", "1."),
    ] {
        let toolchains = vec![Toolchain { name: ToolchainName::Node, version_range: "22".to_owned() }];
        let package_manager = Some(PackageManager { name, version: version.map(str::to_owned) });
        let output = bench.done(PhaseWork::Environment { toolchains, package_manager, ignore: None }).await;
        let PhaseOutput::Environment { layers, path, package_manager_version, .. } = output else {
            panic!("{output:?}")
        };
        (ground.layers, ground.path) = (layers, path);
        bench.log.clear();
        bench.done(building(command(&ground, &bench.tag, &format!("cd /tmp && {program} --version")))).await;
        let said = bench.log.iter().find(|line| line.starts_with(begins));
        assert_eq!(said, package_manager_version.as_ref(), "{program} {version:?}: {:#?}", bench.log);
    }
    let own = [slipway_types::LayerKind::Source, slipway_types::LayerKind::Output];
    let own = own.map(|kind| LayerRef::new(kind, bench.deployment().as_str()));
    bench.end(&own).await;
}
