//! `slipway.toml`: text to [`Manifest`], or a diagnosis with the line and the column.

use crate::diagnosis::entry::INVALID_SLIPWAY_TOML;
use crate::place::{line_and_column, quoted_line};
use serde::Deserialize;
use slipway_types::settings::{Manifest, ServiceSettings, SettingsError, SettingsPatch};
use slipway_types::{Diagnosis, ProjectName, ServiceName, TreeListing};

/// Name of the manifest, at the top of the source tree.
pub const MANIFEST_FILE: &str = "slipway.toml";

/// The parts of a manifest that are no settings. Read apart from them, because a flattened struct loses the
/// positions of its values.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Names {
    project: Option<ProjectName>,
    service: Option<ServiceName>,
}

/// Reads `slipway.toml` at the top of the tree; a tree without one has an empty manifest.
///
/// # Errors
/// A diagnosis `invalid-slipway-toml` for bad TOML, an unknown key, a value of the wrong type or out of its range.
pub fn manifest(tree: &TreeListing) -> Result<Manifest, Diagnosis> {
    let Some(text) = tree.texts.get(MANIFEST_FILE) else {
        return if tree.paths.iter().any(|path| path == MANIFEST_FILE) {
            Err(unreadable())
        } else {
            Ok(Manifest::default())
        };
    };
    let table: toml::Table = toml::from_str(text).map_err(|error| refused(text, &error))?;
    if let Err(error) = SettingsPatch::check_keys(table.keys().map(String::as_str)) {
        return Err(not_a_setting(text, &error));
    }
    let names: Names = toml::from_str(text).map_err(|error| refused(text, &error))?;
    let settings: SettingsPatch = toml::from_str(text).map_err(|error| refused(text, &error))?;
    ServiceSettings::resolve([&settings]).map_err(|error| not_a_setting(text, &error))?;
    Ok(Manifest { project: names.project, service: names.service, settings })
}

fn unreadable() -> Diagnosis {
    INVALID_SLIPWAY_TOML
        .diagnosis("`slipway.toml` can't be read")
        .at(MANIFEST_FILE)
        .because("it is not text, or larger than 8 MB")
        .hint("a `slipway.toml` is a few lines of TOML in UTF-8")
}

fn refused(text: &str, error: &toml::de::Error) -> Diagnosis {
    let offset = error.span().map_or(0, |span| span.start);
    let (line, column) = line_and_column(text, offset);
    let section = section_at(text, offset);
    let (why, hint) = friendly(error.message(), &section);
    let quoted = quoted_line(text, line);
    let why = if quoted.is_empty() { why } else { format!("{why}, in `{quoted}`") };
    invalid(line, column, why, hint)
}

/// A value that parsed but is no setting, or out of its range: found again by its key.
fn not_a_setting(text: &str, error: &SettingsError) -> Diagnosis {
    let (key, hint) = match error {
        SettingsError::OutOfRange { key, allowed, .. } => (*key, format!("set `{key}` to {allowed}")),
        SettingsError::NotUsable { key, allowed, .. } => (*key, (*allowed).to_owned()),
        SettingsError::Unknown { key, nearest } => (key.as_str(), nearest_hint(nearest.as_deref())),
    };
    let (line, column) = line_and_column(text, offset_of_key(text, key));
    invalid(line, column, error.to_string(), hint)
}

fn nearest_hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| "remove the line".to_owned(), |nearest| format!("write `{nearest}` instead"))
}

fn invalid(line: usize, column: usize, why: String, hint: String) -> Diagnosis {
    INVALID_SLIPWAY_TOML
        .diagnosis("`slipway.toml` is not valid")
        .at(format!("{MANIFEST_FILE}:{line}:{column}"))
        .because(why)
        .hint(hint)
}

/// The parser's message in the words of this project, and what to do.
fn friendly(message: &str, section: &str) -> (String, String) {
    let message = message.trim().replace('\n', ", ");
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (key, known) = rest.split_once('`').unwrap_or((rest, ""));
        let place = if section.is_empty() { String::new() } else { format!(" in `[{section}]`") };
        let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        let hint = match nearest(key, &known) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("the settings there are: {}", known.join(", ")),
        };
        return (format!("there is no setting `{key}`{place}"), hint);
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let (value, known) = rest.split_once('`').unwrap_or((rest, ""));
        let known: Vec<String> = known.split('`').skip(1).step_by(2).map(|name| format!("`\"{name}\"`")).collect();
        return (format!("`{value}` is no choice here"), format!("write {}", known.join(" or ")));
    }
    if message.starts_with("data did not match any variant") {
        return (
            "a size or a duration was expected".to_owned(),
            "write a size like `\"512MB\"` and a duration like `\"30s\"`".to_owned(),
        );
    }
    (message, "correct the line; texts stand in double quotes, numbers and `true` do not".to_owned())
}

/// Of `known`, the key with the fewest differences from `key`, when at most a third of it differs.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (differences(key, candidate), *candidate))
        .min()
        .filter(|(differences, candidate)| *differences * 3 <= candidate.len().max(3))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance.
fn differences(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Name of the `[section]` that the byte at `offset` stands in.
fn section_at(text: &str, offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    before.lines().rev().find_map(section_name).unwrap_or_default().to_owned()
}

fn section_name(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.split(']').next().map(str::trim)
}

/// Where `key` (`port`, or `build.memory`) is written; the start of the text when it is not found.
pub(crate) fn offset_of_key(text: &str, key: &str) -> usize {
    let (wanted_section, wanted_key) = key.rsplit_once('.').unwrap_or(("", key));
    let mut section = "";
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if let Some(name) = section_name(line) {
            section = name;
            if name == key {
                return offset + indent;
            }
        }
        let written = line.split('=').next().unwrap_or_default().trim();
        if (section == wanted_section && written == wanted_key) || (section.is_empty() && written == key) {
            return offset + indent;
        }
        offset += line.len();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::tests::listing;

    fn check(text: &str, place: &str, why: &str, hint: &str) {
        let diagnosis = manifest(&listing(&[("slipway.toml", text)])).unwrap_err();
        assert_eq!(diagnosis.code, "invalid-slipway-toml");
        assert_eq!(
            (diagnosis.r#where.as_str(), diagnosis.why.as_str(), diagnosis.hints[0].as_str()),
            (place, why, hint)
        );
    }

    #[test]
    fn a_full_manifest_is_read() {
        let text = "project = \"shop\"\nservice = \"web\"\nkind = \"worker\"\nport = 8080\nstop_grace = \"5s\"\n\n[build]\nmemory = \"1GB\"\nnode_version = \"22\"\n\n[health]\npath = \"/up\"\n\n[resources]\ncpus = 0.5\n";
        let manifest = manifest(&listing(&[("slipway.toml", text)])).unwrap();
        assert_eq!(manifest.project.unwrap().as_str(), "shop");
        assert_eq!(manifest.service.unwrap().as_str(), "web");
        let settings = ServiceSettings::resolve([&manifest.settings]).unwrap();
        assert_eq!((settings.port, settings.stop_grace.0, settings.build.memory.0), (8080, 5000, 1 << 30));
        assert_eq!((settings.health.path.as_deref(), settings.run.cpus), (Some("/up"), 0.5));
    }

    #[test]
    fn no_manifest_says_nothing() {
        assert_eq!(manifest(&listing(&[("package.json", "{}")])).unwrap(), Manifest::default());
    }

    #[test]
    fn a_bad_manifest_is_refused_at_its_place() {
        check(
            "port = 8080\nreplica = 2\n",
            "slipway.toml:2:1",
            "there is no setting `replica`; did you mean `replicas`?",
            "write `replicas` instead",
        );
        check(
            "[build]\n  memroy = \"1GB\"\n",
            "slipway.toml:2:3",
            "there is no setting `memroy` in `[build]`, in `memroy = \"1GB\"`",
            "did you mean `memory`?",
        );
        check(
            "[build]\nmemory = \"lots\"\n",
            "slipway.toml:2:10",
            "`lots` is not a size: write it like `512MB` or `2GB`, in `memory = \"lots\"`",
            "correct the line; texts stand in double quotes, numbers and `true` do not",
        );
        check(
            "kind = \"site\"\n",
            "slipway.toml:1:8",
            "`site` is no choice here, in `kind = \"site\"`",
            "write `\"web\"` or `\"worker\"` or `\"static\"`",
        );
        check(
            "[resources]\nmemory = \"1MB\"\n",
            "slipway.toml:2:1",
            "`resources.memory = 1 MB` is out of range: 32 MB to 1024 GB",
            "set `resources.memory` to 32 MB to 1024 GB",
        );
        check(
            "replicas = 99",
            "slipway.toml:1:1",
            "`replicas = 99` is out of range: 1 to 32",
            "set `replicas` to 1 to 32",
        );
    }

    #[test]
    fn syntax_type_and_name_errors_have_a_place() {
        for (text, place) in [
            ("port = \n", "slipway.toml:1:8"),
            ("port = \"x\"\n", "slipway.toml:1:8"),
            ("a = 1\n[build\n", "slipway.toml:2:7"),
            ("project = \"My Shop\"\n", "slipway.toml:1:11"),
            ("port = 1\nport = 2\n", "slipway.toml:2:1"),
        ] {
            let diagnosis = manifest(&listing(&[("slipway.toml", text)])).unwrap_err();
            assert_eq!(
                (diagnosis.code.as_str(), diagnosis.r#where.as_str()),
                ("invalid-slipway-toml", place),
                "{text}"
            );
            assert!(!diagnosis.why.is_empty() && !diagnosis.why.contains('\n'), "{diagnosis:?}");
        }
    }
}
