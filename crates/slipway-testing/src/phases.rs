//! What the phases of a small app of npm's come to, where no host runs them.

use slipway_types::host::PhaseOutput;
use slipway_types::{LayerKind, LayerRef, Phase, TreeListing};
use std::collections::BTreeMap;

const PACKAGE: &str = r#"{"name":"shop","version":"1.0.0","engines":{"node":">=22"},
    "scripts":{"build":"node build.js","start":"node server.js"},"dependencies":{"left-pad":"1.3.0"}}"#;
const LOCK: &str = r#"{"name":"shop","version":"1.0.0","lockfileVersion":3,"packages":{
    "":{"name":"shop","version":"1.0.0","dependencies":{"left-pad":"1.3.0"}},
    "node_modules/left-pad":{"version":"1.3.0"}}}"#;

/// The source, with more files that are read: name and text.
pub fn tree<'a>(more: impl IntoIterator<Item = (&'a str, &'a str)>) -> TreeListing {
    let texts = [("package.json", PACKAGE), ("package-lock.json", LOCK)].into_iter().chain(more);
    let texts: BTreeMap<_, _> = texts.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    let mut paths: Vec<_> = texts.keys().cloned().chain(["server.js".to_owned(), "build.js".to_owned()]).collect();
    paths.sort();
    TreeListing { paths, texts, truncated: false }
}

/// Of the phases that have layers; of all others that there is nothing to say.
pub fn output(phase: Phase) -> PhaseOutput {
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
