//! One running host for one test: its directories, its commands, what it reports.

use slipway_host::{BaseConfig, HostConfig, HostRunError, LayersConfig, NodeSource};
use slipway_sandbox::{Cidr, DriverConfig, NetworkConfig, Runtime, SandboxConfig, WarmConfig};
use slipway_testing::slot::Slot;
use slipway_types::agent::OutputRate;
use slipway_types::host::{HostCommand, HostReport, PhaseOutcome, PhaseOutput, PhaseSpec, PhaseWork, ReplicaState};
use slipway_types::source::Lineage;
use slipway_types::{DeploymentId, LayerRef, Phase, ProjectName, ReplicaId, ServiceId, ServiceName};
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// For anything that a test waits for; a toolchain may have to be fetched meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) config: HostConfig,
    commands: mpsc::Sender<HostCommand>,
    reports: mpsc::Receiver<HostReport>,
    shutdown: CancellationToken,
    slot: Slot,
    running: JoinHandle<Result<(), HostRunError>>,
    /// Unique to the run, so that layers of an earlier one are never met.
    pub(crate) tag: String,
    /// Of the phases that come.
    pub(crate) lineage: Lineage,
    /// Lines of the phases and of the replicas so far.
    pub(crate) log: Vec<String>,
}

impl Bench {
    /// `number` is unique to the test. Tests run at the same time, each with its own subnet.
    pub(crate) async fn new(number: u8) -> Self {
        Self::with(number, |_| {}).await
    }

    /// As [`Bench::new`], with a change of the configuration.
    pub(crate) async fn with(number: u8, change: impl FnOnce(&mut HostConfig)) -> Self {
        let base = base_config();
        base_made(&base).await;
        let dir = tempfile::Builder::new().prefix("slipway-host-").tempdir_in(scratch()).unwrap();
        for name in ["uploads", "sandboxes"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let slot = Slot::claim("hosts");
        let subnet = Cidr::from_parts(Ipv4Addr::new(10, 204, slot.number(), 0), 24);
        let (shim_program, agent_program) = tokio::task::spawn_blocking(programs).await.unwrap();
        let mut config = HostConfig {
            up: CancellationToken::new(),
            data_dir: dir.path().to_owned(),
            layers_dir: layers_dir(),
            layers: LayersConfig { keep_free: Some(0), ..LayersConfig::default() },
            workers: 1,
            replica_rate: OutputRate::default(),
            sandbox: SandboxConfig {
                sandboxes_dir: dir.path().join("sandboxes"),
                shim_program,
                agent_program,
                runtime: Runtime::Auto,
                driver: DriverConfig::default(),
                network: NetworkConfig { subnet, ..NetworkConfig::default() },
                ca_bundle: std::env::var_os("SSL_CERT_FILE").map(PathBuf::from),
                warm: WarmConfig::OFF,
            },
            base,
            node: NodeSource::Npm,
            npm_program: "npm".into(),
            python: slipway_host::PythonSource::default(),
        };
        change(&mut config);
        let stamp = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() % 1_000_000_000_000;
        let tag = format!("{number}-{stamp}");
        Self::start(dir, config, tag, slot)
    }

    fn start(dir: tempfile::TempDir, config: HostConfig, tag: String, slot: Slot) -> Self {
        let (commands, receiver) = mpsc::channel(16);
        let (sender, reports) = mpsc::channel(16);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(slipway_host::run(config.clone(), receiver, sender, shutdown.clone()));
        Self {
            dir,
            config,
            commands,
            reports,
            shutdown,
            slot,
            running,
            tag,
            lineage: Lineage::uploads(),
            log: Vec::new(),
        }
    }

    /// Stops the server's part and starts it again: apps keep running meanwhile.
    pub(crate) async fn restart(self) -> Self {
        self.shutdown.cancel();
        drop(self.reports);
        self.running.await.unwrap().unwrap();
        slipway_host::release_sites(&self.config).await;
        Self::start(self.dir, self.config, self.tag, self.slot)
    }

    /// Ends the server's part as a kill would: nothing is told to end in order.
    pub(crate) async fn kill(self) -> Self {
        self.running.abort();
        let _ = self.running.await;
        Self::start(self.dir, self.config, self.tag, self.slot)
    }

    pub(crate) fn deployment(&self) -> DeploymentId {
        DeploymentId::parse(format!("t{}", self.tag)).unwrap()
    }

    /// Unique to the run too: caches and heads lie beside the layers.
    pub(crate) fn service(&self) -> ServiceId {
        ServiceId::parse(format!("s{}", self.tag)).unwrap()
    }

    pub(crate) async fn send(&self, command: HostCommand) {
        self.commands.send(command).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> HostReport {
        let report = tokio::time::timeout(PATIENCE, self.reports.recv()).await;
        let report = report.unwrap_or_else(|_| panic!("no report in time; so far:\n{}", self.log.join("\n")));
        let Some(report) = report else { panic!("the host ended; so far:\n{}", self.log.join("\n")) };
        match &report {
            HostReport::Log { line, .. } => self.log.push(line.clone()),
            HostReport::ReplicaLines(lines) => {
                self.log.extend(lines.lines.iter().map(|line| line.line.clone()));
                let (replica, run) = (lines.replica.clone(), lines.run.clone());
                let _ = self.commands.try_send(HostCommand::LinesTaken { replica, run, through: lines.through });
            }
            _ => {}
        }
        report
    }

    pub(crate) async fn start_phase(&self, work: PhaseWork) {
        let spec = PhaseSpec {
            attempt: 1,
            deployment: self.deployment(),
            service_id: self.service(),
            project: ProjectName::parse("shop").unwrap(),
            service: ServiceName::parse("web").unwrap(),
            lineage: self.lineage.clone(),
            work,
        };
        self.send(HostCommand::RunPhase { worker: 0, spec: Box::new(spec) }).await;
    }

    pub(crate) async fn finished(&mut self) -> (Phase, PhaseOutcome) {
        loop {
            if let HostReport::PhaseFinished { phase, outcome, deployment, .. } = self.next().await {
                assert_eq!(deployment, self.deployment());
                return (phase, outcome);
            }
        }
    }

    pub(crate) async fn phase(&mut self, work: PhaseWork) -> PhaseOutcome {
        let expected = work.phase();
        self.start_phase(work).await;
        let (phase, outcome) = self.finished().await;
        assert_eq!(phase, expected);
        outcome
    }

    pub(crate) async fn done(&mut self, work: PhaseWork) -> PhaseOutput {
        match self.phase(work).await {
            PhaseOutcome::Done(output) => output,
            other => panic!("{other:#?}\n{}", self.log.join("\n")),
        }
    }

    /// The next state of the replica.
    pub(crate) async fn state_of(&mut self, wanted: &ReplicaId) -> ReplicaState {
        loop {
            if let HostReport::Replica { replica, state } = self.next().await
                && replica == *wanted
            {
                return state;
            }
        }
    }

    pub(crate) fn upload(&self, name: &str, files: &[(&str, &str)]) -> slipway_types::UploadId {
        let path = self.config.data_dir.join("uploads").join(format!("{name}.tar.gz"));
        let gzip = flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
        let mut builder = tar::Builder::new(gzip);
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap();
        slipway_types::UploadId::parse(name).unwrap()
    }

    /// Ends the host; nothing of it may be left but the layers that all tests share.
    pub(crate) async fn end(self, layers: &[LayerRef]) {
        self.shutdown.cancel();
        let service = self.service();
        drop(self.reports);
        self.running.await.unwrap().unwrap();
        slipway_host::release_sites(&self.config).await;
        for layer in layers {
            let _ = std::fs::remove_file(layers_dir().join(format!("{layer}.img")));
        }
        for of_service in ["caches", "heads"] {
            let _ = std::fs::remove_dir_all(layers_dir().join(of_service).join(service.as_str()));
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let own = self.dir.path().to_str().unwrap().to_owned();
        assert!(!mounts.contains(&own), "a mount is left:\n{mounts}");
        let tag = format!("{:06x}", self.config.sandbox.network.subnet.network().to_bits() >> 8);
        let _ = Command::new("nft").args(["delete", "table", "inet", &format!("slipway_{tag}")]).output();
    }
}

pub(crate) fn layers_dir() -> PathBuf {
    scratch().join("host-layers")
}

fn scratch() -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

fn base_config() -> BaseConfig {
    BaseConfig::default()
}

pub(crate) async fn base() -> LayerRef {
    let config = base_config();
    base_made(&config).await;
    slipway_host::base_layer(&config)
}

/// Made by whichever test comes first, for minutes at most; the others wait.
async fn base_made(base: &BaseConfig) {
    let lock = File::create(scratch().join("host-base.lock")).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.unwrap().unwrap();
    let name = format!("{}.img", slipway_host::base_layer(base));
    // That of the servers that are tested is the same one, where they came first.
    let of_servers = scratch().with_file_name("debug/test-shared/layers").join(&name);
    if of_servers.exists() && !layers_dir().join(&name).exists() {
        std::fs::create_dir_all(layers_dir()).unwrap();
        std::fs::hard_link(of_servers, layers_dir().join(&name)).unwrap();
    }
    let placeholder = Path::new("/nowhere");
    let config = HostConfig {
        up: CancellationToken::new(),
        data_dir: scratch().join("host-base"),
        layers_dir: layers_dir(),
        layers: LayersConfig::default(),
        workers: 1,
        replica_rate: OutputRate::default(),
        sandbox: SandboxConfig {
            sandboxes_dir: placeholder.into(),
            shim_program: placeholder.into(),
            agent_program: placeholder.into(),
            runtime: Runtime::Auto,
            driver: DriverConfig::default(),
            network: NetworkConfig::default(),
            ca_bundle: None,
            warm: WarmConfig::OFF,
        },
        base: base.clone(),
        node: NodeSource::Npm,
        npm_program: "npm".into(),
        python: slipway_host::PythonSource::default(),
    };
    let lines = std::sync::Mutex::new(Vec::new());
    slipway_host::prepare(&config, |line| lines.lock().unwrap().push(line.to_owned())).await.unwrap();
    let lines = lines.into_inner().unwrap();
    assert!(lines.is_empty() || lines.last().is_some_and(|line| line == "the base system is ready"), "{lines:?}");
    slipway_host::prepare(&config, |line| panic!("made again: {line}")).await.unwrap();
    drop(lock);
}

/// The shim and the static agent, built by whichever test comes first.
pub(crate) fn programs() -> (PathBuf, PathBuf) {
    let lock = File::create(scratch().join("programs.lock")).unwrap();
    lock.lock().unwrap();
    let target = scratch().parent().unwrap().to_owned();
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = |words: &[&str], flags: &str| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["build", "--quiet"]).args(words).current_dir(env!("CARGO_MANIFEST_DIR"));
        command.arg("--target-dir").arg(&target).env("RUSTFLAGS", flags);
        assert!(command.status().unwrap().success(), "cargo build {words:?}");
    };
    let flags = std::env::var("RUSTFLAGS").unwrap_or_default();
    // Of the whole workspace: the same features as the tests were compiled with, so nothing is compiled twice.
    cargo(&["--workspace", "--example", "shim"], &flags);
    cargo(&["-p", "slipway-agent", "--target", &triple], "-C target-feature=+crt-static");
    (target.join("debug/examples/shim"), target.join(triple).join("debug/slipway-agent"))
}
