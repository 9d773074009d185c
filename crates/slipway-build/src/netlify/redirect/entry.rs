//! `[[redirects]]` of `netlify.toml`.

use super::{Draft, Finished, condition_values, unique};
use crate::netlify::warning::{RulePlace, RuleWarning};
use slipway_types::site::Redirect;
use std::collections::BTreeMap;
use toml::{Table, Value};

const LIST: &str = "redirects";

/// The rules of the list, and a warning for each entry that is none.
pub(in crate::netlify) fn from_entries(list: &Value) -> (Vec<Redirect>, Vec<RuleWarning>) {
    let Some(entries) = list.as_array() else {
        let place = RulePlace::Entry { list: LIST, number: 1 };
        return (Vec::new(), vec![place.left_out(&list.to_string(), "`redirects` is a list: write `[[redirects]]`")]);
    };
    let (mut rules, mut warnings) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        let place = RulePlace::Entry { list: LIST, number: index + 1 };
        let parsed = entry.as_table().ok_or_else(|| "it is no table".to_owned()).and_then(parse);
        match parsed.and_then(Draft::finish) {
            Ok(Finished { rule, notes }) => {
                warnings.extend(notes.into_iter().map(|note| place.but(&first_words(entry), note)));
                rules.push(rule);
            }
            Err(why) => warnings.push(place.left_out(&first_words(entry), why)),
        }
    }
    (unique(rules), warnings)
}

fn first_words(entry: &Value) -> String {
    entry.as_table().and_then(|table| text(table, &["from", "origin"]).ok().flatten()).unwrap_or_default()
}

fn parse(table: &Table) -> Result<Draft, String> {
    let from = text(table, &["from", "origin"])?.ok_or_else(|| "`from` is missing".to_owned())?;
    let force = match table.get("force") {
        None => false,
        Some(value) => value.as_bool().ok_or_else(|| "`force` is `true` or `false`".to_owned())?,
    };
    let status = match table.get("status") {
        None => None,
        Some(value) => Some(scalar(value).ok_or_else(|| "`status` is a number".to_owned())?),
    };
    Ok(Draft {
        from,
        query: texts(table, &["query", "params", "parameters"])?,
        to: text(table, &["to", "destination"])?,
        status,
        force,
        conditions: conditions(table)?,
        headers: texts(table, &["headers"])?,
        signed: text(table, &["signed", "signing", "sign"])?,
        rate_limit: table.contains_key("rate_limit"),
    })
}

/// The first of the names that is there.
fn first<'t>(table: &'t Table, names: &[&str]) -> Option<(String, &'t Value)> {
    names.iter().find_map(|name| Some(((*name).to_owned(), table.get(*name)?)))
}

fn text(table: &Table, names: &[&str]) -> Result<Option<String>, String> {
    let Some((name, value)) = first(table, names) else { return Ok(None) };
    value.as_str().map(|text| Some(text.to_owned())).ok_or_else(|| format!("`{name}` is a text"))
}

fn texts(table: &Table, names: &[&str]) -> Result<BTreeMap<String, String>, String> {
    let Some((name, value)) = first(table, names) else { return Ok(BTreeMap::new()) };
    let table = value.as_table().ok_or_else(|| format!("`{name}` is a table"))?;
    let text = |(key, value): (&String, &Value)| {
        let text = scalar(value).ok_or_else(|| format!("`{name}.{key}` is a text"))?;
        Ok((key.clone(), text))
    };
    table.iter().map(text).collect()
}

fn conditions(table: &Table) -> Result<BTreeMap<String, Vec<String>>, String> {
    let Some((_, value)) = first(table, &["conditions"]) else { return Ok(BTreeMap::new()) };
    let table = value.as_table().ok_or_else(|| "`conditions` is a table".to_owned())?;
    let values = |(name, value): (&String, &Value)| {
        let refused = || format!("`conditions.{name}` is a text or a list of texts");
        let values = match value {
            Value::Array(values) => {
                values.iter().map(|value| scalar(value).ok_or_else(refused)).collect::<Result<_, _>>()?
            }
            value => condition_values(name, &scalar(value).ok_or_else(refused)?),
        };
        Ok((name.clone(), values))
    };
    table.iter().map(values).collect()
}

/// A text, or a number or boolean as it would be written.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}
