//! Headers of answers: `_headers`, and `[[headers]]` of `netlify.toml`.
//!
//! ```text
//! /path
//!   Name: value
//! ```
//!
//! A name that stands twice under one path has both values in one line, with a comma between.

use super::text::{comma_list, is_blank, trim};
use super::warning::{RulePlace, RuleWarning};
use slipway_types::site::HeaderRule;
use std::collections::{BTreeMap, BTreeSet};
use toml::Value;

const FILE: &str = "_headers";
const LIST: &str = "headers";

/// A path with its headers, where it is written.
struct Draft {
    place: RulePlace,
    path: String,
    values: BTreeMap<String, String>,
}

/// The rules of a `_headers`, and a warning for each line that is none.
pub fn from_text(text: &str) -> (Vec<HeaderRule>, Vec<RuleWarning>) {
    let mut drafts: Vec<Draft> = Vec::new();
    let mut warnings = Vec::new();
    for (index, line) in text.split('\n').enumerate() {
        let line = trim(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = RulePlace::Line { file: FILE, line: index + 1 };
        if line.starts_with('/') {
            drafts.push(Draft { place, path: line.to_owned(), values: BTreeMap::new() });
        } else if let Err(why) = add_line(drafts.last_mut(), line) {
            warnings.push(place.left_out(line, why));
        }
    }
    for value in drafts.iter_mut().flat_map(|draft| draft.values.values_mut()) {
        *value = comma_list(value).join(", ");
    }
    finish(drafts, warnings)
}

/// `Name: value` to the path above it.
fn add_line(draft: Option<&mut Draft>, line: &str) -> Result<(), &'static str> {
    let (name, value) = line.split_once(':').ok_or("it is neither a path nor `Name: value`")?;
    let (name, value) = (trim(name), trim(value));
    if name.is_empty() {
        return Err("the name of the header is missing");
    }
    if value.is_empty() {
        return Err("the value of the header is missing");
    }
    let draft = draft.ok_or("a path comes before its headers")?;
    match draft.values.get_mut(name) {
        Some(values) => {
            values.push_str(", ");
            values.push_str(value);
        }
        None => drop(draft.values.insert(name.to_owned(), value.to_owned())),
    }
    Ok(())
}

/// The rules of the list, and a warning for each entry that is none.
pub(super) fn from_entries(list: &Value) -> (Vec<HeaderRule>, Vec<RuleWarning>) {
    let Some(entries) = list.as_array() else {
        let place = RulePlace::Entry { list: LIST, number: 1 };
        return (Vec::new(), vec![place.left_out(&list.to_string(), "`headers` is a list: write `[[headers]]`")]);
    };
    let (mut drafts, mut warnings) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let place = RulePlace::Entry { list: LIST, number: index + 1 };
        match parse(entry) {
            Ok((path, values)) => drafts.push(Draft { place, path, values }),
            Err(why) => {
                let path = entry.get("for").and_then(Value::as_str).unwrap_or_default();
                warnings.push(place.left_out(path, why));
            }
        }
    }
    finish(drafts, warnings)
}

fn parse(entry: &Value) -> Result<(String, BTreeMap<String, String>), String> {
    let table = entry.as_table().ok_or("it is no table")?;
    let path = table.get("for").ok_or("`for` is missing")?.as_str().ok_or("`for` is a path")?;
    let path = trim(path).to_owned();
    let Some(values) = table.get("values") else { return Ok((path, BTreeMap::new())) };
    let values = values.as_table().ok_or("`values` is a table")?;
    let mut headers = BTreeMap::new();
    for (name, value) in values {
        let refused = || format!("the value of `{name}` is a text or a list of texts");
        let value = match value {
            Value::String(text) => comma_list(trim(text)).join(", "),
            Value::Array(parts) => {
                let parts = parts.iter().map(|part| part.as_str().map(trim).ok_or_else(refused));
                parts.collect::<Result<Vec<_>, _>>()?.join(", ")
            }
            _ => return Err(refused()),
        };
        headers.insert(trim(name).to_owned(), value);
    }
    Ok((path, headers))
}

/// Each rule checked; of equal ones the last is kept.
fn finish(drafts: Vec<Draft>, mut warnings: Vec<RuleWarning>) -> (Vec<HeaderRule>, Vec<RuleWarning>) {
    let mut rules = Vec::new();
    for Draft { place, path, values } in drafts {
        match values.keys().find(|name| is_blank(name)) {
            Some(_) => warnings.push(place.left_out(&path, "the name of a header is missing")),
            None => rules.push((path.clone(), sendable(&place, &path, values, &mut warnings))),
        }
    }
    let mut seen = BTreeSet::new();
    let mut kept: Vec<HeaderRule> = rules
        .into_iter()
        .rev()
        .filter(|(_, values)| !values.is_empty())
        .filter(|rule| seen.insert(rule.clone()))
        .map(|(path, values)| HeaderRule { path, values: values.into_iter().map(|(n, v)| (n, vec![v])).collect() })
        .collect();
    kept.reverse();
    (kept, warnings)
}

/// Without those that no HTTP answer can carry.
fn sendable(
    place: &RulePlace,
    path: &str,
    values: BTreeMap<String, String>,
    warnings: &mut Vec<RuleWarning>,
) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (name, value) in values {
        if !name.bytes().all(is_token) {
            warnings.push(place.but(path, format!("`{}` is no name of a header", super::text::quoted(&name))));
        } else if value.chars().any(|c| c.is_control() && c != '\t') {
            warnings.push(place.but(path, format!("the value of `{name}` has a control character in it")));
        } else {
            kept.insert(name, value);
        }
    }
    kept
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
