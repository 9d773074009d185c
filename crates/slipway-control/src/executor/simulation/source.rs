//! What the apps of the simulated people are made of.

use slipway_types::host::PhaseOutput;
use slipway_types::source::GitSource;
use slipway_types::{LayerKind, LayerRef, Phase, SourceSpec, TreeListing};
use std::collections::BTreeMap;

pub(super) fn spec() -> SourceSpec {
    SourceSpec::Git(GitSource { url: "https://git.example.org/shop.git".to_owned(), reference: None, credential: None })
}

pub(super) fn tree() -> TreeListing {
    let package = r#"{"name":"shop","version":"1.0.0","scripts":{"build":"node build.js","start":"node server.js"},"dependencies":{"left-pad":"1.3.0"}}"#;
    let lock = r#"{"name":"shop","version":"1.0.0","lockfileVersion":3,"packages":{"":{"name":"shop","version":"1.0.0","dependencies":{"left-pad":"1.3.0"}},"node_modules/left-pad":{"version":"1.3.0"}}}"#;
    let texts = [("package.json", package), ("package-lock.json", lock)];
    let texts: BTreeMap<_, _> = texts.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let mut paths: Vec<_> = texts.keys().cloned().chain(["build.js".to_owned(), "server.js".to_owned()]).collect();
    paths.sort();
    TreeListing { paths, texts, truncated: false }
}

pub(super) fn output(phase: Phase) -> PhaseOutput {
    match phase {
        Phase::Environment => PhaseOutput::Environment {
            layers: vec![LayerRef::new(LayerKind::Base, "b"), LayerRef::new(LayerKind::Toolchain, "t")],
            runtime_versions: vec!["24.1.0".to_owned()],
            package_manager_version: Some("11.0.0".to_owned()),
            path: vec!["/opt/slipway/node-24.1.0/bin".to_owned()],
        },
        Phase::Install => PhaseOutput::Install { layer: LayerRef::new(LayerKind::Dependencies, "d"), reused: false },
        Phase::Build => PhaseOutput::Build {
            layers: vec![LayerRef::new(LayerKind::Source, "s"), LayerRef::new(LayerKind::Output, "o")],
            site: None,
        },
        _ => PhaseOutput::PreDeploy,
    }
}
