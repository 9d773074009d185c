//! `package.json`: the few fields that detection reads. Fields of an unexpected type are as good as absent, because
//! package managers are just as forgiving; only text that is no JSON object is refused.

use crate::diagnosis::entry::INVALID_PACKAGE_JSON;
use crate::place::quoted_line;
use crate::tree::Tree;
use serde_json::{Map, Value};
use slipway_types::Diagnosis;

pub(crate) const PACKAGE_JSON: &str = "package.json";

/// Dependency tables, in the order in which a version is looked up.
const DEPENDENCY_TABLES: [&str; 4] = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies"];

#[derive(Debug, Clone, Default)]
pub(crate) struct PackageJson {
    fields: Map<String, Value>,
}

impl PackageJson {
    /// The one in the tree's directory; None when there is none.
    ///
    /// # Errors
    /// A diagnosis `invalid-package-json` with line and column.
    pub(crate) fn read(tree: &Tree<'_>) -> Result<Option<Self>, Diagnosis> {
        let path = tree.path(PACKAGE_JSON);
        match tree.text(PACKAGE_JSON) {
            Some(text) => Self::parse(text, &path).map(Some),
            None if tree.has(PACKAGE_JSON) => Err(INVALID_PACKAGE_JSON
                .diagnosis(format!("`{path}` can't be read"))
                .at(path)
                .because("it is not text, or larger than 8 MB")),
            None => Ok(None),
        }
    }

    fn parse(text: &str, path: &str) -> Result<Self, Diagnosis> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        match serde_json::from_str(text) {
            Ok(Value::Object(fields)) => Ok(Self { fields }),
            Ok(_) => Err(invalid(path, 1, 1, "it is JSON, but no object in `{}`".to_owned())),
            Err(error) => {
                let (line, column) = (error.line().max(1), error.column().max(1));
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                let quoted = quoted_line(text, line);
                let near = if quoted.is_empty() { String::new() } else { format!(", in `{quoted}`") };
                Err(invalid(path, line, column, format!("{message}{near}")))
            }
        }
    }

    /// A text at a path of keys, such as `["engines", "node"]`.
    pub(crate) fn text(&self, keys: &[&str]) -> Option<&str> {
        let text = self.value(keys)?.as_str()?.trim();
        (!text.is_empty()).then_some(text)
    }

    pub(crate) fn script(&self, name: &str) -> Option<&str> {
        self.text(&["scripts", name])
    }

    /// Name and text of all scripts.
    pub(crate) fn scripts(&self) -> impl Iterator<Item = (&str, &str)> {
        let table = self.object(&["scripts"]);
        table.into_iter().flatten().filter_map(|(name, text)| Some((name.as_str(), text.as_str()?)))
    }

    /// Name and version of the tools in `devEngines`, which has one or a list of each kind.
    pub(crate) fn development_engines(&self, kind: &str) -> Vec<(&str, Option<&str>)> {
        let value = self.value(&["devEngines", kind]);
        let list: Vec<&Value> = match value.and_then(Value::as_array) {
            Some(list) => list.iter().collect(),
            None => value.into_iter().collect(),
        };
        list.into_iter().filter_map(engine).collect()
    }

    /// Names of all scripts.
    pub(crate) fn script_names(&self) -> Vec<&str> {
        self.object(&["scripts"]).map(|scripts| scripts.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// The version with which a package is asked for, in whichever table.
    pub(crate) fn dependency(&self, name: &str) -> Option<&str> {
        DEPENDENCY_TABLES.iter().find_map(|table| self.value(&[table, name])?.as_str())
    }

    /// Name and version of all dependencies.
    pub(crate) fn dependencies(&self) -> impl Iterator<Item = (&str, &str)> {
        DEPENDENCY_TABLES
            .iter()
            .filter_map(|table| self.object(&[table]))
            .flat_map(|table| table.iter().filter_map(|(name, version)| Some((name.as_str(), version.as_str()?))))
    }

    /// Globs of `workspaces`, in either of its two shapes.
    pub(crate) fn workspaces(&self) -> Vec<&str> {
        let list = self.value(&["workspaces"]).filter(|value| value.is_array());
        list.or_else(|| self.value(&["workspaces", "packages"]))
            .and_then(Value::as_array)
            .map(|globs| globs.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default()
    }

    /// Values of an object of texts, such as `pnpm.patchedDependencies`.
    pub(crate) fn texts_in(&self, keys: &[&str]) -> Vec<&str> {
        self.object(keys).map(|object| object.values().filter_map(Value::as_str).collect()).unwrap_or_default()
    }

    fn value(&self, keys: &[&str]) -> Option<&Value> {
        let (first, rest) = keys.split_first()?;
        rest.iter().try_fold(self.fields.get(*first)?, |value, key| value.get(key))
    }

    fn object(&self, keys: &[&str]) -> Option<&Map<String, Value>> {
        self.value(keys)?.as_object()
    }
}

fn engine(value: &Value) -> Option<(&str, Option<&str>)> {
    let version = value.get("version").and_then(Value::as_str).map(str::trim);
    Some((value.get("name")?.as_str()?, version.filter(|version| !version.is_empty())))
}

fn invalid(path: &str, line: usize, column: usize, why: String) -> Diagnosis {
    INVALID_PACKAGE_JSON
        .diagnosis(format!("`{path}` is not valid JSON"))
        .at(format!("{path}:{line}:{column}"))
        .because(why)
        .hint("JSON has no comments, no single quotes and no comma before a closing bracket")
        .hint(format!("`node -e \"JSON.parse(require('fs').readFileSync('{path}','utf8'))\"` shows the same place"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_has_a_place() {
        for (text, place, why) in [
            ("{ \"name\": \"g\", }\n", "package.json:1:16", "trailing comma, in `{ \"name\": \"g\", }`"),
            ("{\n  \"a\": 1\n  \"b\": 2\n}", "package.json:3:3", "expected `,` or `}`, in `\"b\": 2`"),
            ("", "package.json:1:1", "EOF while parsing a value"),
            ("[]", "package.json:1:1", "it is JSON, but no object in `{}`"),
        ] {
            let diagnosis = PackageJson::parse(text, "package.json").unwrap_err();
            assert_eq!(diagnosis.code, "invalid-package-json");
            assert_eq!((diagnosis.r#where.as_str(), diagnosis.why.as_str()), (place, why));
        }
    }

    #[test]
    fn fields_of_another_type_are_absent() {
        let package = PackageJson::parse(
            "\u{feff}{\"scripts\": [], \"engines\": {\"node\": 22}, \"workspaces\": {\"packages\": [\"a/*\", 1]}, \"dependencies\": {\"x\": \"1\", \"y\": null}}",
            "package.json",
        )
        .unwrap();
        assert_eq!(package.script("build"), None);
        assert_eq!(package.text(&["engines", "node"]), None);
        assert_eq!(package.workspaces(), ["a/*"]);
        assert_eq!(package.dependencies().collect::<Vec<_>>(), [("x", "1")]);
    }
}
