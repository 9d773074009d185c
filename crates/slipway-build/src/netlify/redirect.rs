//! Redirects: lines of `_redirects`, entries of `[[redirects]]`, and what both become.
//!
//! ```text
//! from [query=value …] [to] [status[!]] [Condition=value …]    # a comment
//! ```
//!
//! Both are read into a [`Draft`] and finished alike, as Netlify's own parser does it.

mod entry;
mod line;

pub(super) use entry::from_entries;
pub use line::from_text;

use super::text::{comma_list, parse_int, trim};
use slipway_types::site::Redirect;
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// Without a status a rule redirects for good.
const STATUS_DEFAULT: u16 = 301;
/// Netlify's own paths: no rule may answer for them.
const RESERVED_PATHS: &str = "/.netlify";
/// Of which several values stand in one text, with commas between.
const LIST_CONDITIONS: [&str; 4] = ["Role", "Language", "Country", "Cookie"];

/// A rule as it is written.
#[derive(Debug, Default)]
struct Draft {
    from: String,
    query: BTreeMap<String, String>,
    to: Option<String>,
    status: Option<String>,
    force: bool,
    conditions: BTreeMap<String, Vec<String>>,
    headers: BTreeMap<String, String>,
    /// Name of the variable with the key that requests to another server are signed with.
    signed: Option<String>,
    rate_limit: bool,
}

/// A rule whose parts fit together. Ordered, so that equal ones are found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Checked {
    from: String,
    query: BTreeMap<String, String>,
    to: String,
    /// None and the default mean the same, but make two rules different.
    status: Option<u16>,
    force: bool,
    conditions: BTreeMap<String, Vec<String>>,
    headers: BTreeMap<String, String>,
    signed: Option<String>,
}

/// A rule, and what of it is not done here.
struct Finished {
    rule: Checked,
    notes: Vec<&'static str>,
}

impl Draft {
    fn finish(self) -> Result<Finished, String> {
        let status = self.status.as_deref().map(status).transpose()?;
        let to = match self.to {
            Some(to) => to,
            None => forwarded(&self.from, status)?,
        };
        check_from(&self.from)?;
        let mut notes = Vec::new();
        if self.signed.is_some() {
            notes.push("requests to the other server are not signed here");
        }
        if self.rate_limit {
            notes.push("`rate_limit` is not applied here");
        }
        if to.starts_with("/.netlify/functions/") || to.starts_with("/.netlify/builders/") {
            notes.push("functions are not run here, so nothing answers there");
        }
        let Draft { from, query, force, headers, signed, .. } = self;
        let conditions = normal_conditions(self.conditions);
        Ok(Finished { rule: Checked { from, query, to, status, force, conditions, headers, signed }, notes })
    }
}

/// Only as much of it as a number needs is read: `200!` is 200.
fn status(text: &str) -> Result<u16, String> {
    let number = parse_int(text).ok_or_else(|| format!("`{text}` is no status"))?;
    u16::try_from(number)
        .ok()
        .filter(|status| (200..=599).contains(status))
        .ok_or_else(|| format!("`{text}` is no status that an answer can have: 200 to 599"))
}

/// `/app/* 200` means `/app/* /app/:splat 200`.
fn forwarded(from: &str, status: Option<u16>) -> Result<String, String> {
    match (from.strip_suffix("/*"), status) {
        (Some(start), Some(200..=299)) => Ok(format!("{start}/:splat")),
        _ => Err("it does not say where to: `to` is missing".to_owned()),
    }
}

fn check_from(from: &str) -> Result<(), String> {
    let reserved = if is_url(from) {
        let url = Url::parse(from).map_err(|error| format!("`{}` is no URL: {error}", super::text::quoted(from)))?;
        url.path().starts_with(RESERVED_PATHS)
    } else {
        from.starts_with(RESERVED_PATHS)
    };
    if reserved { Err(format!("no rule may answer for `{RESERVED_PATHS}`")) } else { Ok(()) }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// `country` and `Country` are the same; the first is the one that counts when both are there.
fn normal_conditions(written: BTreeMap<String, Vec<String>>) -> BTreeMap<String, Vec<String>> {
    let mut conditions = written;
    for name in ["Role", "Language", "Country"] {
        if let Some(values) = conditions.remove(&name.to_ascii_lowercase()) {
            conditions.insert(name.to_owned(), values);
        }
    }
    conditions
}

/// The values of a condition that is written as one text.
fn condition_values(name: &str, value: &str) -> Vec<String> {
    let is_list = LIST_CONDITIONS.iter().any(|list| name.eq_ignore_ascii_case(list));
    if !is_list {
        return vec![value.to_owned()];
    }
    comma_list(trim(value)).into_iter().map(str::to_owned).collect()
}

impl Checked {
    fn into_redirect(self) -> Redirect {
        Redirect {
            from: self.from,
            query: self.query,
            to: self.to,
            status: self.status.unwrap_or(STATUS_DEFAULT),
            force: self.force,
            conditions: self.conditions,
            headers: self.headers,
        }
    }
}

/// Of equal rules the last one is kept.
fn unique(rules: Vec<Checked>) -> Vec<Redirect> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<Redirect> =
        rules.into_iter().rev().filter(|rule| seen.insert(rule.clone())).map(Checked::into_redirect).collect();
    kept.reverse();
    kept
}
