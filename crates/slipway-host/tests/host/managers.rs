//! Every package manager through a life of installs on real packages: first, unchanged, one added, one removed, lockfile
//! rewritten; in a workspace, with a script at the install and a native module. At the end the tree must be the one of an install
//! from nothing.

use crate::bench::{Bench, layers_dir};
use slipway_layers::image;
use slipway_types::host::{CommandSpec, OnOlderTree, PhaseOutput, PhaseWork};
use slipway_types::plan::{PackageManager, PackageManagerName, Toolchain, ToolchainName};
use slipway_types::settings::{ByteSize, DurationMs};
use slipway_types::source::{Lineage, SourceSpec};
use slipway_types::{LayerKind, LayerRef, Secret, ServiceSettings};
use std::collections::BTreeMap;
use std::path::Path;

/// A package manager and what is special about it here.
#[derive(Clone, Copy)]
struct Case {
    number: u8,
    name: PackageManagerName,
    version: &'static str,
    lockfile: &'static str,
    /// Writes the lockfile and installs nothing.
    lock: &'static str,
    configuration: &'static [(&'static str, &'static str)],
    /// How a program of Node.js starts.
    node: &'static str,
    goes_on: bool,
    compiles: bool,
}

const NPM: Case = Case {
    number: 40,
    name: PackageManagerName::Npm,
    version: "11",
    lockfile: "package-lock.json",
    lock: "npm install --package-lock-only --ignore-scripts",
    configuration: &[],
    node: "node",
    goes_on: true,
    compiles: false,
};

const PNPM: Case = Case {
    name: PackageManagerName::Pnpm,
    lockfile: "pnpm-lock.yaml",
    lock: "pnpm install --lockfile-only --no-frozen-lockfile",
    configuration: &[(
        "pnpm-workspace.yaml",
        "packages:\n  - packages/*\nonlyBuiltDependencies:\n  - bufferutil\nallowBuilds:\n  bufferutil: true\n",
    )],
    ..NPM
};

const YARN: Case = Case {
    name: PackageManagerName::Yarn,
    lockfile: "yarn.lock",
    lock: "yarn install --mode=update-lockfile --no-immutable",
    ..NPM
};

/// What the manifests of a workspace ask for.
struct State {
    top: &'static [(&'static str, &'static str)],
    member: (&'static str, &'static str),
    /// As the check says it: versions, or `-` for what is not there.
    found: &'static str,
}

const STATES: [State; 4] = [
    State {
        top: &[("left-pad", "1.3.0"), ("is-odd", "3.0.0"), ("bufferutil", "4.0.8")],
        member: ("wrappy", "1.0.1"),
        found: "left-pad 1.3.0, is-odd 3.0.0, once -, wrappy 1.0.1, native ok",
    },
    State {
        top: &[("left-pad", "1.3.0"), ("is-odd", "3.0.0"), ("bufferutil", "4.0.8"), ("once", "1.4.0")],
        member: ("wrappy", "1.0.1"),
        found: "left-pad 1.3.0, is-odd 3.0.0, once 1.4.0, wrappy 1.0.1, native ok",
    },
    State {
        top: &[("is-odd", "3.0.0"), ("bufferutil", "4.0.8"), ("once", "1.4.0")],
        member: ("wrappy", "1.0.1"),
        found: "left-pad -, is-odd 3.0.0, once 1.4.0, wrappy 1.0.1, native ok",
    },
    State {
        top: &[("is-odd", "3.0.1"), ("bufferutil", "4.0.8"), ("once", "1.4.0")],
        member: ("wrappy", "1.0.2"),
        found: "left-pad -, is-odd 3.0.1, once 1.4.0, wrappy 1.0.2, native ok",
    },
];

const CHECK: &str = r#"
const { createRequire } = require("module");
const version = (from, name) => {
  try { return name + " " + from(name + "/package.json").version; } catch { return name + " -"; }
};
const member = createRequire(require("path").resolve("packages/a/package.json"));
const native = Buffer.alloc(2);
require("bufferutil").mask(Buffer.from("ab"), Buffer.from([1, 2, 3, 4]), native, 0, 2);
const found = ["left-pad", "is-odd", "once"].map((name) => version(require, name));
console.log("found", found.concat(version(member, "wrappy"), "native " + (native[0] === 96 ? "ok" : "broken")).join(", "));
console.log("script", require("fs").readFileSync(".svelte-kit/ran", "utf8"));
"#;

/// Runs at every install; what it wrote at the one before must be gone.
const SCRIPT: &str = r#"
const fs = require("fs");
fs.mkdirSync(".svelte-kit", { recursive: true });
fs.appendFileSync(".svelte-kit/ran", "once.");
"#;

impl State {
    fn files(&self) -> Vec<(&'static str, String)> {
        let list = |pairs: &[(&str, &str)]| {
            let pairs: Vec<String> = pairs.iter().map(|(name, version)| format!("\"{name}\":\"{version}\"")).collect();
            pairs.join(",")
        };
        let top = list(self.top);
        vec![
            (
                "package.json",
                format!(
                    r#"{{"name":"top","version":"1.0.0","private":true,"workspaces":["packages/*"],"scripts":{{"postinstall":"node ran.js"}},"dependencies":{{{top}}}}}"#
                ),
            ),
            (
                "packages/a/package.json",
                format!(r#"{{"name":"a","version":"1.0.0","dependencies":{{{}}}}}"#, list(&[self.member])),
            ),
            ("check.js", CHECK.to_owned()),
            ("ran.js", SCRIPT.to_owned()),
        ]
    }
}

/// A package manager in its sandbox, and the lockfiles that it made of all states.
struct Ground {
    case: Case,
    layers: Vec<LayerRef>,
    path: Vec<String>,
    version: String,
    lockfiles: Vec<String>,
}

impl Ground {
    async fn prepare(bench: &mut Bench, case: Case) -> Self {
        let toolchains = vec![Toolchain { name: ToolchainName::Node, version_range: "22".to_owned() }];
        let package_manager = Some(PackageManager { name: case.name, version: Some(case.version.to_owned()) });
        let output = bench.done(PhaseWork::Environment { toolchains, package_manager, ignore: None }).await;
        let PhaseOutput::Environment { layers, path, package_manager_version, .. } = output else {
            panic!("{output:?}")
        };
        let version = package_manager_version.unwrap();
        let mut ground = Self { case, layers, path, version, lockfiles: Vec::new() };
        let upload = bench.upload("empty", &[("README", "")]);
        bench.done(PhaseWork::Source { source: SourceSpec::Upload { upload }, wanted: vec![] }).await;
        ground.lockfiles = ground.lock(bench).await;
        ground
    }

    /// One sandbox for all states: they share the downloads.
    async fn lock(&self, bench: &mut Bench) -> Vec<String> {
        let mut script = "set -e".to_owned();
        for (index, state) in STATES.iter().enumerate() {
            script.push_str(&format!("\nmkdir -p /tmp/l{index}/packages/a; cd /tmp/l{index}"));
            let configuration = self.case.configuration.iter().map(|(path, text)| (*path, (*text).to_owned()));
            for (path, text) in state.files().into_iter().chain(configuration) {
                script.push_str(&format!("\ncat > {path} <<'END'\n{text}\nEND"));
            }
            let Case { lock, lockfile, .. } = &self.case;
            script.push_str(&format!("\n{lock} >&2; echo \"lockfile $(base64 -w 0 {lockfile})\""));
        }
        bench.log.clear();
        let build = self.command(&script, OnOlderTree::Never { why: String::new() });
        bench.done(PhaseWork::Build { command: build, site: None }).await;
        let encoded = bench.log.iter().filter_map(|line| line.strip_prefix("lockfile "));
        let lockfiles: Vec<String> = encoded.map(|text| String::from_utf8(base64(text)).unwrap()).collect();
        assert_eq!(lockfiles.len(), STATES.len(), "{}", bench.log.join("\n"));
        lockfiles
    }

    fn command(&self, command: &str, on_older_tree: OnOlderTree) -> CommandSpec {
        let mut limits = ServiceSettings::default().build;
        limits.memory = ByteSize::mebibytes(1536);
        limits.disk = ByteSize::mebibytes(1024);
        let mut env = slipway_types::host::Env::new();
        if self.case.compiles {
            // The headers of Node.js come with it; by itself the compiler's driver would fetch them from elsewhere.
            let node = self.path.iter().find_map(|path| path.strip_suffix("/bin").filter(|dir| dir.contains("/node-")));
            env.insert("npm_config_nodedir".to_owned(), Secret::new(node.unwrap()));
            env.insert("npm_config_build_from_source".to_owned(), Secret::new("true"));
        }
        CommandSpec {
            layers: self.layers.clone(),
            command: command.to_owned(),
            cwd: String::new(),
            env,
            path: self.path.clone(),
            key_files: Vec::new(),
            key_words: Vec::new(),
            cache_dirs: Vec::new(),
            on_older_tree,
            limits,
            timeout: DurationMs::seconds(100),
        }
    }

    /// Source and install of a state as control would ask for them; the layer, and whether it was there.
    async fn install(&self, bench: &mut Bench, number: usize, branch: &str) -> (LayerRef, bool) {
        bench.lineage = Lineage::of_git(Some(branch.to_owned()), None);
        let mut files = STATES[number].files();
        files.push((self.case.lockfile, self.lockfiles[number].clone()));
        files.extend(self.case.configuration.iter().map(|(path, text)| (*path, (*text).to_owned())));
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let upload = bench.upload("state", &files);
        let wanted = slipway_build::WANTED_FILES.iter().map(|name| (*name).to_owned()).collect();
        let output = bench.done(PhaseWork::Source { source: SourceSpec::Upload { upload }, wanted }).await;
        let PhaseOutput::Source(facts) = output else { panic!("{output:?}") };
        let settings =
            ServiceSettings { start_command: Some("node check.js".to_owned()), ..ServiceSettings::default() };
        let plan = slipway_build::plan(&facts.tree, &settings).unwrap();
        let plan = slipway_types::Plan {
            package_manager: plan.package_manager.map(|manager| PackageManager { name: self.case.name, ..manager }),
            ..plan
        };
        let install = plan.install.clone().unwrap();
        let on_older_tree = slipway_build::on_older_tree(&plan, &settings, Some(&self.version));
        let spec = CommandSpec {
            key_files: install.key_files,
            key_words: vec![bench.tag.clone(), branch.starts_with("fresh").to_string()],
            ..self.command(&install.command, on_older_tree)
        };
        bench.log.clear();
        let output = bench.done(PhaseWork::Install(spec)).await;
        let PhaseOutput::Install { layer, reused } = output else { panic!("{output:?}") };
        (layer, reused)
    }

    /// Requires the packages in a sandbox, as the app would.
    async fn check(&self, bench: &mut Bench, number: usize, layer: &LayerRef) {
        let log = std::mem::take(&mut bench.log);
        let mut command =
            self.command(&format!("{} check.js", self.case.node), OnOlderTree::Never { why: String::new() });
        command.layers.push(layer.clone());
        bench.done(PhaseWork::Build { command, site: None }).await;
        for said in [format!("found {}", STATES[number].found), "script once.".to_owned()] {
            assert!(bench.log.contains(&said), "{said} is missing\n{}\n{}", log.join("\n"), bench.log.join("\n"));
        }
        bench.log = log;
    }
}

async fn live(case: Case) {
    let mut bench = Bench::new(case.number).await;
    let ground = Ground::prepare(&mut bench, case).await;
    let (first, reused) = ground.install(&mut bench, 0, "main").await;
    assert!(!reused && said(&bench, "dependencies changed").is_none(), "{:#?}", bench.log);
    ground.check(&mut bench, 0, &first).await;
    let (again, reused) = ground.install(&mut bench, 0, "main").await;
    assert!(reused && again == first);
    let line = said(&bench, "dependencies are unchanged; nothing to install").unwrap();
    assert!(line.contains("ago by deployment") && !bench.log.iter().any(|line| line.starts_with("$ ")), "{line}");

    let mut layers = vec![first];
    for number in 1..STATES.len() {
        let (layer, reused) = ground.install(&mut bench, number, "main").await;
        let line = said(&bench, "dependencies changed").unwrap_or_else(|| panic!("{:#?}", bench.log));
        let goes_on = line.contains("beginning from") && said(&bench, "the install on earlier").is_none();
        assert!(!reused && goes_on == case.goes_on, "{number}: {:#?}", bench.log);
        ground.check(&mut bench, number, &layer).await;
        layers.push(layer);
    }
    let (fresh, reused) = ground.install(&mut bench, STATES.len() - 1, "fresh").await;
    assert!(!reused && said(&bench, "dependencies changed").is_none());
    assert_eq!(difference(&bench, layers.last().unwrap(), &fresh), Vec::<String>::new());
    layers.push(fresh);
    let own = [LayerKind::Source, LayerKind::Output].map(|kind| LayerRef::new(kind, bench.deployment().as_str()));
    layers.extend(own);
    bench.end(&layers).await;
}

fn said<'b>(bench: &'b Bench, begins: &str) -> Option<&'b String> {
    bench.log.iter().find(|line| line.starts_with(begins))
}

/// Paths that differ between the trees of two layers.
fn difference(bench: &Bench, one: &LayerRef, other: &LayerRef) -> Vec<String> {
    let [one, other] = [(one, "one"), (other, "other")].map(|(layer, name)| {
        let at = bench.dir.path().join(name);
        let mounted = image::mount(&layers_dir().join(format!("{layer}.img")), &at, image::ReadOnly).unwrap();
        let mut found = BTreeMap::new();
        walk(&mounted.upper().join("app"), "", &mut found);
        mounted.unmount().unwrap();
        found
    });
    let paths: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let differing = paths.into_iter().filter(|path| one.get(*path) != other.get(*path));
    differing.map(|path| format!("{path}: {:?} and {:?}", one.get(path), other.get(path))).collect()
}

/// When and how it was installed, not what; what a compiler leaves beside its result.
const NOTES: [&str; 6] = [
    ".modules.yaml",
    ".pnpm-workspace-state",
    ".yarn-integrity",
    "install-state.gz",
    "bufferutil/build",
    ".yarn-state.yml",
];

fn walk(directory: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{prefix}/{}", entry.file_name().to_str().unwrap());
        if NOTES.iter().any(|note| path.contains(note)) {
            continue;
        }
        let kind = entry.file_type().unwrap();
        // Directories show in what is in them.
        if kind.is_dir() {
            walk(&entry.path(), &path, found);
        } else if kind.is_symlink() {
            found.insert(path, format!("-> {}", std::fs::read_link(entry.path()).unwrap().display()));
        } else {
            let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
            let mut bytes = std::fs::read(entry.path()).unwrap();
            if path.contains("/.bin/") && bytes.starts_with(b"#!/bin/sh") {
                // pnpm 10 gives its starters of programs more places to look in when it writes them again.
                bytes = String::from_utf8(bytes)
                    .unwrap()
                    .lines()
                    .filter(|line| line.contains("exec"))
                    .collect::<String>()
                    .into();
            }
            // Small ones as they are, to tell what differs.
            let content = match String::from_utf8(bytes) {
                Ok(text) if text.len() < 4096 => text,
                other => blake3::hash(&other.map_or_else(|error| error.into_bytes(), String::into_bytes)).to_string(),
            };
            found.insert(path, format!("{mode:o} {content}"));
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

#[tokio::test]
async fn npm() {
    live(Case { compiles: true, ..NPM }).await;
}

#[tokio::test]
async fn npm_of_older_runtimes() {
    live(Case { number: 41, version: "9", ..NPM }).await;
}

#[tokio::test]
async fn pnpm_8() {
    live(Case { number: 42, version: "8", ..PNPM }).await;
}

#[tokio::test]
async fn pnpm_9() {
    live(Case { number: 43, version: "9", ..PNPM }).await;
}

#[tokio::test]
async fn pnpm_10() {
    live(Case { number: 44, version: "10", ..PNPM }).await;
}

#[tokio::test]
async fn pnpm_11() {
    live(Case { number: 45, version: "11", ..PNPM }).await;
}

#[tokio::test]
async fn pnpm_12() {
    live(Case { number: 46, version: "12", ..PNPM }).await;
}

#[tokio::test]
async fn yarn_1() {
    let lock = "yarn install --ignore-scripts --non-interactive";
    live(Case { number: 47, version: "1", lock, goes_on: false, ..YARN }).await;
}

#[tokio::test]
async fn yarn_berry_with_node_modules() {
    let configuration = &[(".yarnrc.yml", "nodeLinker: node-modules\n")];
    live(Case { number: 48, version: "4", configuration, ..YARN }).await;
}

#[tokio::test]
async fn yarn_berry_with_plug_and_play() {
    live(Case { number: 49, version: "4", node: "yarn node", ..YARN }).await;
}

#[tokio::test]
async fn bun() {
    let lock = "bun install --lockfile-only";
    let case = Case { number: 50, name: PackageManagerName::Bun, version: "1", lockfile: "bun.lock", lock, ..NPM };
    live(Case { goes_on: false, ..case }).await;
}
