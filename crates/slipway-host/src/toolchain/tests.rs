//! Against a site on loopback with the layout of nodejs.org, and against the npm registry.

use super::*;
use flate2::{Compression, write::GzEncoder};
use slipway_layers::image;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;

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
        let toolchains = Toolchains::new(store, dir.path().join("versions"), sources);
        Self { dir, toolchains, lines: Lines::default() }
    }

    async fn ensure(&self, range: &str, manager: Option<PackageManager>) -> Result<Resolved, ToolchainError> {
        let scratch = self.dir.path().join("scratch");
        let cancel = CancellationToken::new();
        let work = Work { scratch: &scratch, cancel: &cancel, sink: &self.lines };
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

#[tokio::test]
async fn an_archive_with_another_digest_is_refused() {
    let (base_url, _) = site_of_node(&"0".repeat(64));
    let bench = Bench::new(NodeSource::NodejsOrg { base_url });
    let error = bench.ensure("24", None).await.unwrap_err();
    assert!(matches!(error, ToolchainError::Digest { .. }), "{error:?}");
    assert!(bench.toolchains.store.list().unwrap().is_empty());
}

#[tokio::test]
async fn a_site_that_does_not_answer_is_named() {
    let bench = Bench::new(NodeSource::NodejsOrg { base_url: "http://127.0.0.1:1".into() });
    let error = bench.ensure("24", None).await.unwrap_err();
    assert_eq!(error.code(), "toolchain-unavailable");
    assert!(error.to_string().contains("http://127.0.0.1:1/index.json"), "{error}");
}
