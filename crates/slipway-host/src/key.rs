//! Keys of layers: equal inputs, equal key; any difference that can change the result, another key.

use slipway_layers::LayerKey;
use slipway_types::host::CommandSpec;
use slipway_types::{DeploymentId, LayerKind, LayerRef};
use std::collections::BTreeMap;

/// Rises when what a key stands for changes, so that older layers are never taken for newer ones.
const FORMAT: &str = "dependencies 2";
/// In names of credentials: who fetches does not change what is fetched.
const CREDENTIAL_WORDS: [&str; 4] = ["TOKEN", "SECRET", "PASSWORD", "AUTH"];

/// The layer that the install command makes of these files.
pub(crate) fn dependencies(spec: &CommandSpec, files: &BTreeMap<String, Option<blake3::Hash>>) -> LayerRef {
    let mut words = spec.key_words.clone();
    words.sort();
    let mut key = LayerKey::new(FORMAT)
        .part("architecture", std::env::consts::ARCH)
        .part("command", &spec.command)
        .part("cwd", &spec.cwd);
    for word in words {
        key = key.part("word", word);
    }
    for layer in &spec.layers {
        key = key.part("layer", layer.to_string());
    }
    for (name, value) in &spec.env {
        // Install scripts may read any variable; layers are shared by all services, so none may be left out.
        let upper = name.to_ascii_uppercase();
        if !CREDENTIAL_WORDS.iter().any(|word| upper.contains(word)) {
            key = key.part("variable", name).part("value", value.expose());
        }
    }
    for (path, digest) in files {
        key = key.part("file", path);
        key = match digest {
            Some(digest) => key.part("content", digest.as_bytes()),
            None => key.part("absent", ""),
        };
    }
    key.layer(LayerKind::Dependencies)
}

pub(crate) fn source(deployment: &DeploymentId) -> LayerRef {
    LayerRef::new(LayerKind::Source, deployment.as_str())
}

pub(crate) fn output(deployment: &DeploymentId) -> LayerRef {
    LayerRef::new(LayerKind::Output, deployment.as_str())
}

pub(crate) fn site(deployment: &DeploymentId) -> LayerRef {
    LayerRef::new(LayerKind::Site, deployment.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_types::settings::DurationMs;
    use slipway_types::{Secret, ServiceSettings};

    fn spec() -> CommandSpec {
        CommandSpec {
            layers: vec![LayerRef::new(LayerKind::Base, "b"), LayerRef::new(LayerKind::Toolchain, "node-24.1.0")],
            command: "npm ci".into(),
            cwd: String::new(),
            env: [("NPM_TOKEN".to_owned(), Secret::new("t"))].into(),
            path: vec![],
            key_files: vec!["package-lock.json".into()],
            key_words: vec!["npm 11".into(), "node 24".into()],
            cache_dirs: vec![],
            limits: ServiceSettings::default().build,
            timeout: DurationMs::seconds(1),
        }
    }

    fn files(text: &str) -> BTreeMap<String, Option<blake3::Hash>> {
        [("package-lock.json".to_owned(), Some(blake3::hash(text.as_bytes()))), ("package.json".to_owned(), None)]
            .into()
    }

    #[test]
    fn what_changes_the_result_changes_the_key() {
        let key = dependencies(&spec(), &files("1"));
        type Change = fn(&mut CommandSpec);
        let changes: [Change; 6] = [
            |spec| spec.command = "npm install".into(),
            |spec| spec.cwd = "web".into(),
            |spec| spec.key_words[0] = "npm 10".into(),
            |spec| spec.layers[1].key = "node-24.1.1".into(),
            |spec| drop(spec.env.insert("NODE_ENV".into(), Secret::new("production"))),
            |spec| spec.key_words = vec!["npm".into(), "11".into(), "node 24".into()],
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut other = spec();
            change(&mut other);
            assert_ne!(dependencies(&other, &files("1")), key, "change {index}");
        }
        assert_ne!(dependencies(&spec(), &files("2")), key);
    }

    #[test]
    fn what_does_not_keeps_it() {
        let key = dependencies(&spec(), &files("1"));
        let mut other = spec();
        other.env.insert("NPM_TOKEN".into(), Secret::new("another"));
        other.key_words.reverse();
        other.timeout = DurationMs::seconds(9);
        assert_eq!(dependencies(&other, &files("1")), key);
    }
}
