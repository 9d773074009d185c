//! A database file of its own for each test, and the short way to put things into it.

use slipway_pipeline::{BuildInputs, Event, Turns};
use slipway_store::{Applied, Change, NewDeployment, NewRelease, Planned, QueueRules, ServiceRow, Store};
use slipway_types::host::PhaseOutput;
use slipway_types::image::ImageStart;
use slipway_types::plan::{Start, Toolchain, ToolchainName};
use slipway_types::site::SiteRules;
use slipway_types::source::GitSource;
use slipway_types::{
    DeploymentId, Image, LayerKind, LayerRef, Phase, Plan, ProjectName, ReleaseId, Secret, ServiceId, ServiceKind,
    ServiceName, ServiceSettings, SettingsPatch, SourceSpec, StartConfig, Trigger,
};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Fixture {
    pub(crate) async fn new() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("slipway.db");
        let store = Store::open(&path).await.unwrap();
        Fixture { store, path, _directory: directory }
    }

    pub(crate) async fn service(&self, name: &str) -> ServiceRow {
        let (project, service) = (ProjectName::parse("shop").unwrap(), ServiceName::parse(name).unwrap());
        let id = ServiceId::parse(format!("svc-{name}")).unwrap();
        self.store.ensure_service(1, &project, &service, &id).await.unwrap()
    }

    pub(crate) async fn create(&self, now: i64, service: &ServiceRow, name: &str) -> Applied {
        self.store.create_deployment(now, &new_deployment(service, name)).await.unwrap()
    }

    pub(crate) async fn tell(&self, now: i64, deployment: &str, event: Event) -> Applied {
        self.store.apply(now, &id(deployment), &event, &Change::default()).await.unwrap()
    }

    /// An idle worker's next deployment.
    pub(crate) async fn claim(&self, now: i64, worker: u32) -> Option<(DeploymentId, Applied)> {
        claim(&self.store, now, worker).await
    }

    /// From creation to a release that waits for its replicas.
    pub(crate) async fn build(&self, now: i64, service: &ServiceRow, name: &str) {
        self.create(now, service, name).await;
        let (claimed, _) = self.claim(now + 1, 1).await.unwrap();
        assert_eq!(claimed, id(name));
        let change = Change { planned: Some(planned()), ..Change::default() };
        self.store.apply(now + 2, &id(name), &done(Phase::Source), &change).await.unwrap();
        self.tell(now + 3, name, done(Phase::Environment)).await;
        self.tell(now + 4, name, done(Phase::Build)).await;
        self.store.create_release(now + 5, &new_release(name)).await.unwrap();
    }

    /// From replicas that are ready to an end of all phases.
    pub(crate) async fn go_live(&self, now: i64, name: &str) {
        self.tell(now, name, Event::ReplicasReady).await;
        self.tell(now + 1, name, Event::Routed { generation: u64::MAX >> 1 }).await;
        self.tell(now + 2, name, Event::Drained).await;
        self.tell(now + 3, name, Event::CleanedUp).await;
    }
}

pub(crate) fn id(text: &str) -> DeploymentId {
    DeploymentId::parse(text).unwrap()
}

/// There is memory for all builds.
pub(crate) async fn claim(store: &Store, now: i64, worker: u32) -> Option<(DeploymentId, Applied)> {
    let turns = Turns::default();
    let rules = QueueRules { memory_max_bytes: u64::MAX, turns: &turns, is_production: |_| true };
    let claimed = store.claim_build(now, worker, rules).await.unwrap();
    claimed.map(|claimed| (claimed.deployment, claimed.applied))
}

/// Of a deployment without install that had no other worker before.
pub(crate) fn done(phase: Phase) -> Event {
    let before = [Phase::Source, Phase::Environment, Phase::Build].iter().filter(|earlier| **earlier < phase);
    Event::PhaseDone { phase, attempt: 1 + before.count() as u64, skipped: false }
}

pub(crate) fn new_deployment(service: &ServiceRow, name: &str) -> NewDeployment {
    NewDeployment {
        deployment: id(name),
        service: service.service_id.clone(),
        trigger: Trigger::Source,
        source: SourceSpec::Git(GitSource {
            url: "https://example.com/shop.git".into(),
            reference: Some("main".into()),
            credential: Some(Secret::new("hunter2-credential")),
        }),
        source_label: "main".into(),
        message: None,
        release: None,
        reuse: None,
    }
}

pub(crate) fn new_release(deployment: &str) -> NewRelease {
    NewRelease {
        release: ReleaseId::parse(format!("rel-{deployment}")).unwrap(),
        deployment: id(deployment),
        image: image(deployment),
    }
}

pub(crate) fn image(key: &str) -> Image {
    Image {
        layers: vec![LayerRef::new(LayerKind::Source, key)],
        start: ImageStart::Process(StartConfig {
            command: "npm start".into(),
            cwd: "/app".into(),
            ..StartConfig::default()
        }),
        rules: SiteRules::default(),
    }
}

pub(crate) fn planned() -> Planned {
    let plan = Plan {
        kind: ServiceKind::Web,
        root: String::new(),
        framework: None,
        toolchains: vec![Toolchain { name: ToolchainName::Node, version_range: "24".into() }],
        package_manager: None,
        install: None,
        build_command: Some("npm run build".into()),
        start: Start::Command { command: "npm start".into() },
        pre_deploy_command: None,
        build_env: BTreeMap::new(),
        run_env: BTreeMap::new(),
        cache_dirs: Vec::new(),
        public_prefixes: Vec::new(),
        rules: SiteRules::default(),
        reasons: Vec::new(),
    };
    let settings = ServiceSettings { replicas: 2, ..ServiceSettings::default() };
    let inputs = BuildInputs::new("main".into(), "production".into(), &settings, BTreeMap::new());
    Planned { settings, plan, source_settings: SettingsPatch { replicas: Some(2), ..Default::default() }, inputs }
}

pub(crate) fn build_output() -> PhaseOutput {
    PhaseOutput::Build { layers: vec![LayerRef::new(LayerKind::Output, "abc")], site: None }
}
