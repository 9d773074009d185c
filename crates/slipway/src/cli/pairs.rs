//! `KEY=VALUE` arguments: settings, which become a patch, and variables.

use crate::failure::Failure;
use slipway_types::SettingsPatch;
use slipway_types::settings::{Manifest, ServiceSettings};
use toml::{Table, Value};

/// Settings that are text, whatever the text looks like: `build.node_version=24`, `start_command=true`.
const TEXT_KEYS: [&str; 10] = [
    "kind",
    "root",
    "start_command",
    "pre_deploy_command",
    "build.install_command",
    "build.command",
    "build.ignore",
    "build.node_version",
    "health.path",
    "health.liveness.path",
];

/// Makes `health.path=/healthz replicas=2` a patch, checked against what can be.
///
/// # Errors
/// When a pair is malformed, a key unknown, or a value out of range.
pub(super) fn settings(pairs: &[String]) -> Result<SettingsPatch, Failure> {
    let mut table = Table::new();
    for pair in pairs {
        let (key, value) = split(pair)?;
        if matches!(key, "project" | "service") {
            return Err(Failure::usage(format!("`{key}` is no setting")).hint(format!("choose it by `--{key}`")));
        }
        let value = match literal(value) {
            literal if literal.is_str() || !TEXT_KEYS.contains(&key) => literal,
            _ => Value::String(value.to_owned()),
        };
        insert(&mut table, key, value)?;
    }
    SettingsPatch::check_keys(table.keys().map(String::as_str)).map_err(|error| Failure::usage(error.to_string()))?;
    let manifest: Manifest = Value::Table(table).try_into().map_err(|error: toml::de::Error| {
        Failure::usage("the settings are not usable").caused_by(&std::io::Error::other(error.message().to_owned()))
    })?;
    ServiceSettings::resolve([&manifest.settings]).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(manifest.settings)
}

/// # Errors
/// When there is no `=`, or nothing in front of it.
pub(super) fn split(pair: &str) -> Result<(&str, &str), Failure> {
    match pair.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim(), value)),
        // Not echoed: what has no `=` may well be a secret.
        _ => Err(Failure::usage("an argument is not `KEY=VALUE`")),
    }
}

/// A TOML literal where it is one (`2`, `0.5`, `true`, `"text"`), else the text itself.
fn literal(text: &str) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok();
    let value = parsed.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    match value {
        Some(Value::Datetime(_)) | None => Value::String(text.to_owned()),
        Some(value) => value,
    }
}

/// `a.b` goes into the table `a`.
fn insert(table: &mut Table, key: &str, value: Value) -> Result<(), Failure> {
    let twice = || Failure::usage(format!("`{key}` is given twice"));
    match key.split_once('.') {
        None => table.insert(key.to_owned(), value).map_or(Ok(()), |_| Err(twice())),
        Some((head, rest)) => {
            let inner = table.entry(head).or_insert_with(|| Value::Table(Table::new()));
            insert(inner.as_table_mut().ok_or_else(twice)?, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(pairs: &[&str]) -> Result<SettingsPatch, String> {
        let pairs: Vec<String> = pairs.iter().map(ToString::to_string).collect();
        settings(&pairs).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn dotted_keys_nest_and_literals_count() {
        let patch = patch(&[
            "health.path=/healthz",
            "replicas=2",
            "resources.memory=512MB",
            "resources.cpus=0.5",
            "build.command=npm run build && echo a=b",
            "build.timeout=10m",
            "build.node_version=24",
            "start_command=",
            "kind=worker",
        ]);
        let json = serde_json::to_value(patch.unwrap()).unwrap();
        let expected = serde_json::json!({
            "kind": "worker",
            "start_command": "",
            "replicas": 2,
            "build": {"command": "npm run build && echo a=b", "node_version": "24", "timeout": 600_000},
            "health": {"path": "/healthz"},
            "resources": {"memory": 512 << 20, "cpus": 0.5},
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (pair, part) in [
            ("replicas", "not `KEY=VALUE`"),
            ("=1", "not `KEY=VALUE`"),
            ("replica=1", "did you mean `replicas`"),
            ("replicas=99", "1 to 32"),
            ("replicas=two", "invalid type"),
            ("health.pth=/", "unknown field `pth`"),
            ("replicas.x=1", "invalid type"),
            ("project=a", "--project"),
            ("health.path=x", "starts with `/`"),
        ] {
            let refusal = patch(&[pair]).unwrap_err();
            assert!(refusal.contains(part), "{pair}: {refusal}");
        }
        assert!(patch(&["port=1", "port=2"]).unwrap_err().contains("given twice"));
    }
}
