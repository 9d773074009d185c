//! Keys of layers: equal inputs, equal key; any difference that can change the result, another key.

use crate::key_file::{KeyFile, Part};
use slipway_layers::LayerKey;
use slipway_types::host::CommandSpec;
use slipway_types::{DeploymentId, LayerKind, LayerRef, ServiceId, WrittenBy};
use std::collections::BTreeMap;

/// Rises when what a key stands for changes, so that older layers are never taken for newer ones.
const FORMAT: &str = "dependencies 3";
const FAMILY_FORMAT: &str = "family 1";
const LINE_FORMAT: &str = "line of dependencies 1";
/// Last words of the names of credentials with which packages are fetched: who fetches does not change what is fetched.
/// `AUTH_SECRET` or `VITE_AUTH_URL` are none of them: an install script may write those into what it makes.
const CREDENTIAL_WORDS: [&str; 6] = ["TOKEN", "PASSWORD", "PASSWD", "AUTH", "CREDENTIAL", "CREDENTIALS"];

/// What the install command makes of these files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependencies {
    /// Made from nothing: a function of the key alone, and so of use to all.
    pub(crate) layer: LayerRef,
    /// Equal where all is equal but what lockfile and manifests say: an install may go on from the tree of such a layer.
    pub(crate) family: String,
}

impl Dependencies {
    /// The same made on an older tree. It may hold what install scripts of that line left behind, so only that line uses it, and
    /// the lines that trust it.
    pub(crate) fn of_line(&self, service: &ServiceId, branch: &str) -> LayerRef {
        let line = format!("{service} {branch}");
        let key = LayerKey::new(LINE_FORMAT).part("layer", &self.layer.key).part("line", line);
        key.layer(LayerKind::Dependencies).written(self.layer.written_by())
    }
}

/// What a virtual machine writes has names and a family of its own: a server that changes its driver installs again, and never meets
/// what it can't mount.
pub(crate) fn dependencies(spec: &CommandSpec, files: &BTreeMap<String, KeyFile>, by: WrittenBy) -> Dependencies {
    let key = files.iter().fold(of_command(FORMAT, spec), |key, (path, file)| add_file(key, path, &file.key));
    let family = match by {
        WrittenBy::Host => of_command(FAMILY_FORMAT, spec),
        WrittenBy::Guest => of_command(FAMILY_FORMAT, spec).part("written by", "guest"),
    };
    let family = files.iter().fold(family, |key, (path, file)| add_file(key, path, &file.family));
    Dependencies { layer: key.layer(LayerKind::Dependencies).written(by), family: family.finish() }
}

fn add_file(key: LayerKey, path: &str, part: &Part) -> LayerKey {
    let key = key.part("file", path);
    match part {
        Part::Content(digest) => key.part("content", digest.as_bytes()),
        Part::Presence => key.part("present", ""),
        Part::Absent => key.part("absent", ""),
    }
}

/// Everything but the files.
fn of_command(format: &str, spec: &CommandSpec) -> LayerKey {
    let mut words = spec.key_words.clone();
    words.sort();
    let mut key = LayerKey::new(format)
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
        if !is_credential(name) {
            key = key.part("variable", name).part("value", without_user(value.expose()));
        }
    }
    key
}

fn is_credential(name: &str) -> bool {
    let last = name.rsplit('_').next().unwrap_or_default();
    CREDENTIAL_WORDS.iter().any(|word| last.eq_ignore_ascii_case(word))
}

/// An address without user and password: which index a package comes from counts, who asks it does not.
fn without_user(value: &str) -> String {
    let words = value.split(' ').map(|word| {
        let parts = word.split_once("://").and_then(|(scheme, rest)| {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            Some(format!("{scheme}://{}{path}", authority.rsplit_once('@')?.1))
        });
        parts.unwrap_or_else(|| word.to_owned())
    });
    words.collect::<Vec<_>>().join(" ")
}

pub(crate) fn source(deployment: &DeploymentId) -> LayerRef {
    LayerRef::new(LayerKind::Source, deployment.as_str())
}

pub(crate) fn output(deployment: &DeploymentId, by: WrittenBy) -> LayerRef {
    LayerRef::new(LayerKind::Output, deployment.as_str()).written(by)
}

pub(crate) fn site(deployment: &DeploymentId) -> LayerRef {
    LayerRef::new(LayerKind::Site, deployment.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use slipway_types::host::OnOlderTree;
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
            on_older_tree: OnOlderTree::Never { why: String::new() },
            limits: ServiceSettings::default().build,
            timeout: DurationMs::seconds(1),
        }
    }

    fn files(text: &str) -> BTreeMap<String, KeyFile> {
        let lockfile = KeyFile { key: Part::Content(blake3::hash(text.as_bytes())), family: Part::Presence };
        let manifest = KeyFile { key: Part::Absent, family: Part::Absent };
        [("package-lock.json".to_owned(), lockfile), ("package.json".to_owned(), manifest)].into()
    }

    #[test]
    fn what_changes_the_result_changes_the_key() {
        let key = dependencies(&spec(), &files("1"), WrittenBy::Host);
        type Change = fn(&mut CommandSpec);
        let changes: [Change; 8] = [
            |spec| spec.command = "npm install".into(),
            |spec| spec.cwd = "web".into(),
            |spec| spec.key_words[0] = "npm 10".into(),
            |spec| spec.layers[1].key = "node-24.1.1".into(),
            |spec| drop(spec.env.insert("VITE_AUTH_URL".into(), Secret::new("https://id.example"))),
            |spec| drop(spec.env.insert("AUTH_SECRET".into(), Secret::new("written by an install script"))),
            |spec| drop(spec.env.insert("NODE_ENV".into(), Secret::new("production"))),
            |spec| spec.key_words = vec!["npm".into(), "11".into(), "node 24".into()],
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let mut other = spec();
            change(&mut other);
            let other = dependencies(&other, &files("1"), WrittenBy::Host);
            assert!(other.layer != key.layer && other.family != key.family, "change {index}");
        }
        let other = dependencies(&spec(), &files("2"), WrittenBy::Host);
        assert!(other.layer != key.layer && other.family == key.family);
    }

    #[test]
    fn what_was_made_on_an_older_tree_is_of_its_line() {
        let [one, other] = ["1", "2"].map(|text| dependencies(&spec(), &files(text), WrittenBy::Host));
        let [web, api] = ["web", "api"].map(|id| ServiceId::parse(id).unwrap());
        let mut layers = vec![one.layer.clone(), other.layer.clone(), other.of_line(&web, "main")];
        layers.extend([one.of_line(&web, "main"), one.of_line(&web, "next"), one.of_line(&api, "main")]);
        assert_eq!(one.of_line(&web, "main"), layers[3]);
        assert_eq!(layers.iter().collect::<std::collections::BTreeSet<_>>().len(), layers.len());
    }

    #[test]
    fn the_index_counts_and_who_asks_it_does_not() {
        let key = |url: &str| {
            let env = [("PIP_EXTRA_INDEX_URL".to_owned(), Secret::new(url))].into();
            dependencies(&CommandSpec { env, ..spec() }, &files("1"), WrittenBy::Host)
        };
        let plain = key("https://a.example/simple https://b.example/simple");
        assert_eq!(plain, key("https://me:pw@a.example/simple https://x:y@b.example/simple"));
        assert_ne!(plain, key("https://a.example/simple https://c.example/simple"));
    }

    #[test]
    fn what_a_machine_wrote_is_another_layer_of_another_family() {
        let [host, guest] = [WrittenBy::Host, WrittenBy::Guest].map(|by| dependencies(&spec(), &files("1"), by));
        assert!(host.layer != guest.layer && host.family != guest.family);
        assert_eq!([host.layer.written_by(), guest.layer.written_by()], [WrittenBy::Host, WrittenBy::Guest]);
        let deployment = DeploymentId::parse("dpl-1").unwrap();
        let outputs = [WrittenBy::Host, WrittenBy::Guest].map(|by| output(&deployment, by));
        let all: Vec<LayerRef> = slipway_types::cache::layers_of(&deployment).collect();
        assert!(outputs.iter().all(|output| all.contains(output)), "{all:?}");
    }

    #[test]
    fn what_does_not_keeps_it() {
        let key = dependencies(&spec(), &files("1"), WrittenBy::Host);
        let mut other = spec();
        other.env.insert("NPM_TOKEN".into(), Secret::new("another"));
        other.key_words.reverse();
        other.timeout = DurationMs::seconds(9);
        other.env.insert("GIT_CREDENTIALS".into(), Secret::new("https://me:token@git.example"));
        assert_eq!(dependencies(&other, &files("1"), WrittenBy::Host), key);
    }
}
