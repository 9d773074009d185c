//! `_redirects`: one rule a line.

use super::{Draft, Finished, condition_values, is_url, unique};
use crate::netlify::text::{parse_int, trim, words};
use crate::netlify::warning::{RulePlace, RuleWarning};
use slipway_types::site::Redirect;
use std::collections::BTreeMap;

pub(crate) const FILE: &str = "_redirects";

/// The rules of a `_redirects`, and a warning for each line that is none.
pub fn from_text(text: &str) -> (Vec<Redirect>, Vec<RuleWarning>) {
    let (mut rules, mut warnings) = (Vec::new(), Vec::new());
    for (index, line) in text.split('\n').enumerate() {
        let line = trim(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = RulePlace::Line { file: FILE, line: index + 1 };
        match parse(line).and_then(Draft::finish) {
            Ok(Finished { rule, notes }) => {
                warnings.extend(notes.into_iter().map(|note| place.but(line, note)));
                rules.push(rule);
            }
            Err(why) => warnings.push(place.left_out(line, why)),
        }
    }
    (unique(rules), warnings)
}

fn parse(line: &str) -> Result<Draft, String> {
    let mut parts: Vec<&str> = words(line).take_while(|word| !word.starts_with('#')).collect();
    if parts.len() < 2 {
        return Err("it does not say where to".to_owned());
    }
    let from = parts.remove(0).to_owned();
    let (query, to, last) = split(&parts)?;
    let (status, conditions) = match last.split_first() {
        Some((status, conditions)) => (Some((*status).to_owned()), conditions),
        None => (None, last),
    };
    let mut conditions: BTreeMap<String, &str> = pairs(conditions).collect();
    let signed = conditions.remove("signed");
    let signed = conditions.remove("Sign").map_or(signed, |sign| signed.or(Some(sign)));
    Ok(Draft {
        from,
        query: pairs(query).map(|(name, value)| (name, value.to_owned())).collect(),
        to: to.map(str::to_owned),
        force: status.as_deref().is_some_and(|status| parse_int(status).is_some() && status.ends_with('!')),
        status,
        conditions: conditions
            .into_iter()
            .map(|(name, value)| (name.clone(), condition_values(&name, value)))
            .collect(),
        signed: signed.map(str::to_owned),
        ..Draft::default()
    })
}

/// Query, destination, and what comes after it. A number in the place of the query says that the destination is left
/// out.
type Split<'l> = (&'l [&'l str], Option<&'l str>, &'l [&'l str]);

fn split<'l>(parts: &'l [&'l str]) -> Result<Split<'l>, String> {
    if parse_int(parts[0]).is_some() {
        return Ok((&[], None, parts));
    }
    let Some(at) = parts.iter().position(|part| part.starts_with('/') || is_url(part)) else {
        return Err("where it leads to starts with `/`, `http://` or `https://`".to_owned());
    };
    Ok((&parts[..at], Some(parts[at]), &parts[at + 1..]))
}

/// `name=value`, without what follows a second `=`. A name without a value says nothing.
fn pairs<'l>(words: &'l [&'l str]) -> impl Iterator<Item = (String, &'l str)> {
    words.iter().filter_map(|word| {
        let mut parts = word.split('=');
        let name = parts.next()?;
        Some((name.to_owned(), parts.next()?))
    })
}
