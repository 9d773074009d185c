//! What each phase on a worker is given, made of the plan, the settings, the owner's variables and the outputs of the
//! phases before. Lives in memory only: after a restart of the server a build begins again from its source.

use crate::reuse::Owner;
use crate::seal::MasterKey;
use crate::source::{self, is_commit};
use crate::variable::Variables;
use slipway_build::{Decision, Given};
use slipway_store::Change;
use slipway_types::host::{CommandSpec, Env, OnOlderTree, PhaseOutput, PhaseWork};
use slipway_types::image::{Image, ImageStart, LayerRef, StartConfig};
use slipway_types::plan::ToolchainName;
use slipway_types::settings::DurationMs;
use slipway_types::site::{SiteFacts, SiteRules};
use slipway_types::source::{Lineage, SourceFacts};
use slipway_types::{Diagnosis, Phase, Plan, Secret, ServiceId, ServiceSettings, SettingsPatch, SourceSpec, Trigger};
use std::collections::BTreeMap;

/// Where the source tree is in a sandbox.
const SOURCE_DIR: &str = "/app";

/// A deployment that is being built.
#[derive(Debug)]
pub(crate) struct Work {
    /// As it was asked for.
    source: SourceSpec,
    trigger: Trigger,
    /// Of a source whose commit was known before: that one, wherever the branch is now.
    pinned: Option<String>,
    owner: OwnerOfWork,
    /// What `service set` said when the deployment began.
    stored: SettingsPatch,
    planned: Option<Planned>,
    /// Files of the source, for diagnoses. Empty after a restart of the server.
    paths: Vec<String>,
    environment: Option<Environment>,
    dependencies: Option<LayerRef>,
    /// Source and output.
    built: Option<Vec<LayerRef>>,
    site: Option<SiteFacts>,
    /// Once the build phase has ended, or that of an earlier deployment.
    image: Option<Image>,
    /// Of this deployment, when its source is git.
    commit: Option<String>,
    /// Known from the end of the source phase on.
    lineage: Lineage,
    live: Live,
}

/// What is the owner's, of a service that is built.
#[derive(Debug)]
pub(crate) struct OwnerOfWork {
    pub(crate) key: MasterKey,
    pub(crate) service: ServiceId,
    pub(crate) variables: Variables,
}

/// What is live of the service while another deployment of it is built.
#[derive(Debug, Clone, Default)]
pub(crate) enum Live {
    #[default]
    Nothing,
    /// With the name of its source: a commit when that is git.
    Source(String),
}

/// Known from the end of the source phase on.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) settings: ServiceSettings,
}

#[derive(Debug)]
struct Environment {
    layers: Vec<LayerRef>,
    runtime_versions: Vec<String>,
    package_manager_version: Option<String>,
    path: Vec<String>,
}

/// A phase was asked for whose inputs are not there: a fault of ours.
#[derive(Debug, thiserror::Error)]
#[error("phase {phase} needs {needs}, which is not there")]
pub struct MissingInput {
    phase: Phase,
    needs: &'static str,
}

impl MissingInput {
    pub(crate) fn new(phase: Phase, needs: &'static str) -> Self {
        Self { phase, needs }
    }
}

/// How a phase's output was taken.
#[derive(Debug)]
pub(crate) enum Taken {
    Done {
        skipped: bool,
        /// For the log of the phase.
        lines: Vec<String>,
        /// What is stored with the phase's end.
        change: Box<Change>,
    },
    /// The output is not that of the phase.
    Other,
    /// There is no plan for this source.
    NoPlan(Box<Diagnosis>),
}

impl Work {
    pub(crate) fn new(source: SourceSpec, stored: SettingsPatch, owner: OwnerOfWork) -> Self {
        Self {
            source,
            trigger: Trigger::Source,
            pinned: None,
            owner,
            stored,
            planned: None,
            paths: Vec::new(),
            environment: None,
            dependencies: None,
            built: None,
            site: None,
            image: None,
            commit: None,
            lineage: Lineage::uploads(),
            live: Live::Nothing,
        }
    }

    pub(crate) fn with_live(self, live: Live) -> Self {
        Self { live, ..self }
    }

    /// A redeploy is of the source with that name: of git a commit, once one was known.
    pub(crate) fn triggered_by(self, trigger: Trigger, label: String) -> Self {
        Self { trigger, pinned: (trigger == Trigger::Redeploy).then_some(label), ..self }
    }

    pub(crate) fn planned(&self) -> Option<&Planned> {
        self.planned.as_ref()
    }

    /// What `service set` said when it began.
    pub(crate) fn stored(&self) -> &SettingsPatch {
        &self.stored
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The plan as it was stored.
    pub(crate) fn restore_plan(&mut self, plan: Plan, settings: ServiceSettings) {
        self.planned = Some(Planned { plan, settings });
    }

    /// The commit as it was stored.
    pub(crate) fn restore_commit(&mut self, commit: Option<String>) {
        self.commit = commit;
    }

    /// The image as it was stored.
    pub(crate) fn restore_image(&mut self, image: Option<Image>) {
        self.image = image;
    }

    /// Keeps what a phase made.
    pub(crate) fn take(&mut self, phase: Phase, output: PhaseOutput) -> Taken {
        let stored = (phase != Phase::Source).then(|| output.clone());
        match (phase, output) {
            (Phase::Source, PhaseOutput::Source(facts)) => self.take_source(facts),
            (
                Phase::Environment,
                PhaseOutput::Environment { layers, runtime_versions, package_manager_version, path },
            ) => {
                let note = self.environment_note(&runtime_versions, package_manager_version.as_deref());
                self.environment = Some(Environment { layers, runtime_versions, package_manager_version, path });
                done(false, note, stored)
            }
            (Phase::Install, PhaseOutput::Install { layer, reused }) => {
                self.dependencies = Some(layer);
                done(reused, reused.then(|| "dependencies unchanged, 0 commands run".to_owned()), stored)
            }
            (Phase::Build, PhaseOutput::Build { layers, site }) => {
                self.built = Some(layers);
                self.site = site;
                let commandless = self.planned.as_ref().is_some_and(|planned| planned.plan.build_command.is_none());
                let nothing = commandless && self.site.is_none();
                let published = self.site.as_ref().map(|site| format!("{} files published", site.files));
                let (rules, lines) = self.rules().unwrap_or_default();
                self.image = self.built_image(rules);
                let note = nothing.then(|| "there is nothing to build".to_owned()).or(published);
                let change = Change { note, output: stored, image: self.image.clone(), ..Change::default() };
                Taken::Done { skipped: nothing, lines, change: Box::new(change) }
            }
            (Phase::PreDeploy, PhaseOutput::PreDeploy) => done(false, None, stored),
            _ => Taken::Other,
        }
    }

    fn take_source(&mut self, mut facts: SourceFacts) -> Taken {
        let context = source::context(&self.source);
        let decision = match slipway_build::decide_in(&facts.tree, &self.stored, &context) {
            Ok(decision) => decision,
            Err(diagnosis) => return Taken::NoPlan(Box::new(diagnosis)),
        };
        if let Err(diagnosis) = self.check_variables(&decision) {
            return Taken::NoPlan(diagnosis);
        }
        let Decision { plan, settings, said, source_settings } = decision;
        let OwnerOfWork { key, service, variables } = &self.owner;
        let owner = Owner { key, service, variables };
        let inputs = crate::reuse::inputs(owner, &self.source, facts.commit.as_deref(), &said, &plan);
        self.planned = Some(Planned { plan: plan.clone(), settings: settings.clone() });
        self.commit.clone_from(&facts.commit);
        self.lineage = source::lineage(&self.source, &facts, self.pinned.is_some());
        // The texts have served their purpose.
        let tree = std::mem::take(&mut facts.tree);
        self.paths = tree.paths;
        let stored = facts.clone();
        let change = Change {
            note: facts.commit.as_ref().map(|commit| format!("commit {}", short(commit))),
            output: Some(PhaseOutput::Source(stored)),
            planned: Some(slipway_store::Planned { settings, plan, source_settings, inputs }),
            source_label: facts.commit,
            ..Change::default()
        };
        Taken::Done { skipped: false, lines: Vec::new(), change: Box::new(change) }
    }

    /// What the source says that its build needs must have been given to builds by its owner.
    fn check_variables(&self, decision: &Decision) -> Result<(), Box<Diagnosis>> {
        let variables = &self.owner.variables;
        let for_build = variables.for_build(&decision.plan.public_prefixes);
        slipway_build::check_build_variables(&decision.said, |name| match for_build.contains_key(name) {
            true => Given::ToBuilds,
            false if variables.contains(name) => Given::ToTheApp,
            false => Given::Nowhere,
        })
        .map_err(Box::new)
    }

    fn environment_note(&self, runtimes: &[String], manager_version: Option<&str>) -> Option<String> {
        let plan = &self.planned.as_ref()?.plan;
        let manager = plan.package_manager.as_ref().map(|manager| match manager_version {
            Some(version) => format!(", {} {version}", manager.name.as_str()),
            None => format!(", {}", manager.name.as_str()),
        });
        let tools = plan.toolchains.iter().zip(runtimes);
        let tools: Vec<String> = tools.map(|(tool, version)| format!("{} {version}", tool.name.as_str())).collect();
        Some(format!("{}{}", tools.join(", "), manager.unwrap_or_default()))
    }

    /// What a worker is to do for `phase`.
    pub(crate) fn phase_work(&self, phase: Phase) -> Result<PhaseWork, MissingInput> {
        let missing = |needs| MissingInput { phase, needs };
        if phase == Phase::Source {
            let wanted = slipway_build::WANTED_FILES.iter().map(|name| (*name).to_owned()).collect();
            let source = source::at_commit(self.source.clone(), self.pinned.as_deref().unwrap_or_default());
            return Ok(PhaseWork::Source { source, wanted });
        }
        let planned = self.planned.as_ref().ok_or(missing("a plan"))?;
        let Planned { plan, settings } = planned;
        match phase {
            Phase::Environment => Ok(PhaseWork::Environment {
                toolchains: plan.toolchains.clone(),
                package_manager: plan.package_manager.clone(),
                ignore: self.ignore(planned).map(Box::new),
            }),
            Phase::Install => {
                let environment = self.environment.as_ref().ok_or(missing("a toolchain"))?;
                Ok(PhaseWork::Install(self.install(planned, environment)))
            }
            Phase::Build => {
                let environment = self.environment.as_ref().ok_or(missing("a toolchain"))?;
                Ok(PhaseWork::Build { command: self.build(planned, environment), site: plan.site().cloned() })
            }
            Phase::PreDeploy => Ok(PhaseWork::PreDeploy {
                image: self.image().cloned().ok_or(missing("an image"))?,
                command: settings.pre_deploy_command.clone().unwrap_or_default(),
                env: self.owner.variables.for_run(),
                limits: settings.run,
                timeout: settings.pre_deploy_timeout,
            }),
            _ => Err(missing("a worker, which it has none")),
        }
    }

    /// The service's ignore command. It decides about commits that come in: whoever uploads a directory or redeploys
    /// wants it deployed, and so does the owner of a service that has nothing live yet.
    fn ignore(&self, planned: &Planned) -> Option<CommandSpec> {
        let Planned { plan, settings } = planned;
        let command = settings.ignore_command.as_deref().filter(|command| !command.trim().is_empty())?;
        let commit = self.commit.as_ref().filter(|_| self.trigger == Trigger::Source)?;
        let Live::Source(live) = &self.live else { return None };
        let before = if is_commit(live) { live } else { commit };
        let mut env = self.build_env(plan);
        for (name, value) in [("COMMIT_REF", commit), ("CACHED_COMMIT_REF", before)] {
            env.insert(name.to_owned(), Secret::new(value.clone()));
        }
        Some(CommandSpec {
            layers: Vec::new(),
            command: command.to_owned(),
            cwd: plan.root.clone(),
            env,
            path: Vec::new(),
            key_files: Vec::new(),
            key_words: Vec::new(),
            cache_dirs: Vec::new(),
            on_older_tree: OnOlderTree::Never { why: String::new() },
            limits: settings.build,
            timeout: settings.build_timeout.min(DurationMs(slipway_pipeline::IGNORE_TIMEOUT_MS)),
        })
    }

    /// What is said when the ignore command ended with 0.
    pub(crate) fn ignored(&self) -> String {
        let command = self.planned.as_ref().and_then(|planned| planned.settings.ignore_command.as_deref());
        format!("ignored: `{}` exited with status 0; what is live stays", command.unwrap_or_default())
    }

    fn install(&self, planned: &Planned, environment: &Environment) -> CommandSpec {
        let Planned { plan, settings } = planned;
        let install = plan.install.clone();
        let (command, key_files) = install.map(|install| (install.command, install.key_files)).unwrap_or_default();
        let tools = plan.toolchains.iter().zip(&environment.runtime_versions);
        let mut key_words: Vec<String> =
            tools.flat_map(|(tool, version)| [tool.name.as_str().to_owned(), version.clone()]).collect();
        if let Some(manager) = &plan.package_manager {
            key_words.push(manager.name.as_str().to_owned());
            key_words.extend(environment.package_manager_version.clone());
        }
        let version = environment.package_manager_version.as_deref();
        let on_older_tree = slipway_build::on_older_tree(plan, settings, version);
        CommandSpec {
            layers: environment.layers.clone(),
            command,
            cwd: String::new(),
            env: self.build_env(plan),
            path: environment.path.clone(),
            key_files,
            key_words,
            cache_dirs: Vec::new(),
            on_older_tree,
            limits: settings.build,
            timeout: settings.build_timeout,
        }
    }

    fn build(&self, planned: &Planned, environment: &Environment) -> CommandSpec {
        let Planned { plan, settings } = planned;
        CommandSpec {
            layers: environment.layers.iter().chain(&self.dependencies).cloned().collect(),
            command: plan.build_command.clone().unwrap_or_default(),
            cwd: plan.root.clone(),
            env: self.build_env(plan),
            path: environment.path.clone(),
            key_files: Vec::new(),
            key_words: Vec::new(),
            cache_dirs: plan.cache_dirs.clone(),
            on_older_tree: OnOlderTree::Never { why: String::new() },
            limits: settings.build,
            timeout: settings.build_timeout,
        }
    }

    /// The plan's variables with the owner's over them.
    fn build_env(&self, plan: &Plan) -> Env {
        let planned = plan.build_env.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone())));
        planned.chain(self.owner.variables.for_build(&plan.public_prefixes)).collect()
    }

    /// Redirects and headers of what was built, and what is to be said about them.
    fn rules(&self) -> Option<(SiteRules, Vec<String>)> {
        let plan = &self.planned.as_ref()?.plan;
        Some(match &self.site {
            Some(site) => slipway_build::netlify::published_rules(site, &plan.rules),
            None => (plan.rules.clone(), Vec::new()),
        })
    }

    /// The image, once the build phase has ended.
    pub(crate) fn image(&self) -> Option<&Image> {
        self.image.as_ref()
    }

    fn built_image(&self, rules: SiteRules) -> Option<Image> {
        let plan = &self.planned.as_ref()?.plan;
        let environment = self.environment.as_ref()?;
        let built = self.built.as_ref()?;
        let cwd = match plan.root.trim_matches('/') {
            "" => SOURCE_DIR.to_owned(),
            root => format!("{SOURCE_DIR}/{root}"),
        };
        let Some(command) = plan.start_command() else {
            return Some(Image { layers: built.clone(), start: ImageStart::Site, rules });
        };
        Some(Image {
            rules,
            layers: environment.layers.iter().chain(&self.dependencies).chain(built).cloned().collect(),
            start: ImageStart::Process(StartConfig {
                command: command.to_owned(),
                cwd,
                env: run_env(plan, environment),
                path: environment.path.clone(),
            }),
        })
    }
}

/// The plan's, and what a script that its package manager starts finds of that: the start command runs without one.
fn run_env(plan: &Plan, environment: &Environment) -> BTreeMap<String, String> {
    let mut env = plan.run_env.clone();
    let is_node = plan.toolchains.first().is_some_and(|tool| tool.name == ToolchainName::Node);
    let runtime = environment.runtime_versions.first().filter(|_| is_node);
    if let (Some(node), Some(manager), Some(version)) =
        (runtime, &plan.package_manager, &environment.package_manager_version)
    {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
        let agent = format!("{}/{version} npm/? node/v{node} linux {architecture}", manager.name.as_str());
        env.insert("npm_config_user_agent".to_owned(), agent);
    }
    env
}

fn done(skipped: bool, note: Option<String>, output: Option<PhaseOutput>) -> Taken {
    Taken::Done { skipped, lines: Vec::new(), change: Box::new(Change { note, output, ..Change::default() }) }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
