//! What of a `package.json` counts for an install.
//!
//! Two views of it: what decides the result, for the key of a layer, and what must be equal for an older tree to be of use, for
//! its family. The lists of what is left out are short on purpose: a field too many in a key costs an install, one too few a
//! wrong result. Where any lifecycle script runs, scripts may read everything, so everything counts.

use serde_json::{Map, Value};

/// Larger ones count as they are written.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 1 << 20;

/// Scripts that some package manager runs at an install.
const LIFECYCLE_SCRIPTS: [&str; 13] = [
    "preinstall",
    "install",
    "postinstall",
    "prepublish",
    "preprepare",
    "prepare",
    "postprepare",
    "predependencies",
    "dependencies",
    "postdependencies",
    "pnpm:devPreinstall",
    "prepack",
    "postpack",
];

/// Read by people, registries, linters and test runners, and by no package manager or install script.
const WITHOUT_EFFECT: [&str; 22] = [
    "description",
    "keywords",
    "author",
    "contributors",
    "maintainers",
    "license",
    "homepage",
    "bugs",
    "repository",
    "funding",
    "scripts",
    "eslintConfig",
    "eslintIgnore",
    "prettier",
    "stylelint",
    "commitlint",
    "lint-staged",
    "jest",
    "mocha",
    "ava",
    "nyc",
    "c8",
];

/// What a package manager brings an older tree in step with.
const DEPENDENCIES: [&str; 4] = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];

/// One manifest, parsed.
#[derive(Debug, Clone)]
pub(crate) struct Manifest(Map<String, Value>);

impl Manifest {
    /// None: it counts as it is written.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        match serde_json::from_slice(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)) {
            Ok(Value::Object(fields)) => Some(Self(fields)),
            _ => None,
        }
    }

    pub(crate) fn runs_scripts(&self) -> bool {
        let scripts = self.0.get("scripts").and_then(Value::as_object);
        scripts.is_some_and(|scripts| LIFECYCLE_SCRIPTS.iter().any(|name| scripts.contains_key(*name)))
    }

    /// What decides the result of an install that runs no script of the tree.
    pub(crate) fn without_effect_left_out(mut self) -> Self {
        self.0.retain(|field, _| !WITHOUT_EFFECT.contains(&field.as_str()));
        self
    }

    /// What must be equal for an older tree to be of use.
    pub(crate) fn dependencies_left_out(mut self) -> Self {
        self.0.retain(|field, _| !DEPENDENCIES.contains(&field.as_str()) && field != "version");
        self
    }

    /// The same for the same fields, however they are written.
    pub(crate) fn digest(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        add_object(&mut hasher, &self.0);
        hasher.finalize()
    }
}

/// Depth is bounded by the parser. Every part is written with its length or its end, so that no two values look alike.
fn add(hasher: &mut blake3::Hasher, value: &Value) {
    match value {
        Value::Object(fields) => add_object(hasher, fields),
        Value::Array(items) => {
            hasher.update(b"[");
            items.iter().for_each(|item| add(hasher, item));
            hasher.update(b"]");
        }
        Value::String(text) => add_text(hasher, text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            hasher.update(b"v");
            add_text(hasher, &value.to_string());
        }
    }
}

fn add_object(hasher: &mut blake3::Hasher, fields: &Map<String, Value>) {
    let mut names: Vec<&String> = fields.keys().collect();
    names.sort();
    hasher.update(b"{");
    for name in names {
        add_text(hasher, name);
        add(hasher, &fields[name]);
    }
    hasher.update(b"}");
}

fn add_text(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(b"\"").update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(text: &str) -> [blake3::Hash; 2] {
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        [manifest.clone().without_effect_left_out().digest(), manifest.dependencies_left_out().digest()]
    }

    #[test]
    fn how_it_is_written_does_not_count() {
        let plain = digests(r#"{"name":"a","dependencies":{"x":"1","y":"2"}}"#);
        assert_eq!(plain, digests("{ \"dependencies\": {\"y\": \"2\", \"x\": \"1\"},\n\t\"name\": \"a\" }"));
        assert_eq!(plain, digests("\u{feff}{\"name\":\"a\",\"dependencies\":{\"x\":\"1\",\"y\":\"2\"}}"));
    }

    #[test]
    fn only_what_cannot_change_an_install_is_left_out() {
        let [plain, _] = digests(r#"{"name":"a","dependencies":{"x":"1"}}"#);
        for same in [
            r#"{"name":"a","dependencies":{"x":"1"},"description":"b","keywords":["c"],"author":{"name":"d"}}"#,
            r#"{"name":"a","dependencies":{"x":"1"},"scripts":{"build":"vite build"},"jest":{},"eslintConfig":{}}"#,
        ] {
            assert_eq!(plain, digests(same)[0], "{same}");
        }
        for other in [
            r#"{"name":"b","dependencies":{"x":"1"}}"#,
            r#"{"name":"a","dependencies":{"x":"2"}}"#,
            r#"{"name":"a","devDependencies":{"x":"1"}}"#,
            r#"{"name":"a","dependencies":{"x":1}}"#,
            r#"{"name":"a","dependencies":{"x":"1"},"overrides":{"y":"1"}}"#,
            r#"{"name":"a","dependencies":{"x":"1"},"workspaces":["b"]}"#,
            r#"{"name":"a","dependencies":{"x":"1"},"pnpm":{}}"#,
            r#"{"name":"a","dependencies":{"x":"1"},"version":"2.0.0"}"#,
            r#"{"name":"a","dependencies":{"x":"1"},"unknown":true}"#,
        ] {
            assert_ne!(plain, digests(other)[0], "{other}");
        }
    }

    #[test]
    fn a_family_is_everything_but_the_dependencies() {
        let [_, plain] = digests(r#"{"name":"a","version":"1.0.0","dependencies":{"x":"1"}}"#);
        let [_, more] = digests(r#"{"name":"a","version":"1.0.1","devDependencies":{"y":"1"}}"#);
        assert_eq!(plain, more);
        for other in [
            r#"{"name":"a","overrides":{"x":"1"}}"#,
            r#"{"name":"a","scripts":{"postinstall":"node x.js"}}"#,
            r#"{"name":"a","pnpm":{"patchedDependencies":{}}}"#,
        ] {
            assert_ne!(plain, digests(other)[1], "{other}");
        }
    }

    #[test]
    fn a_lifecycle_script_is_found_and_what_is_no_object_counts_as_written() {
        let runs = |text: &str| Manifest::parse(text.as_bytes()).unwrap().runs_scripts();
        assert!(runs(r#"{"scripts":{"prepare":"husky"}}"#));
        assert!(!runs(r#"{"scripts":{"build":"x","postbuild":"y"}}"#));
        for text in ["", "[]", "{", "\"a\""] {
            assert!(Manifest::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
