//! Redirect rules: which of them decides, found without looking at each.
//!
//! Three places are looked at, and the rule that stands first of all found there counts: rules for exactly this path,
//! rules whose first part is literal, and the others.

use super::condition::Condition;
use super::destination::{Destination, Target, Value};
use super::path::AskedPath;
use super::pattern::{Captured, Pattern};
use crate::percent;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use slipway_types::site::Redirect;
use std::borrow::Cow;
use std::collections::HashMap;
use std::iter::{Copied, Peekable};
use std::slice::Iter;

/// What rules can ask of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Lower case, without port.
    pub(crate) host: &'a str,
    pub(crate) is_https: bool,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
}

/// What the first rule that matches says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision<'a> {
    /// Also where there is a file.
    pub(crate) force: bool,
    pub(crate) action: Action<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action<'a> {
    Redirect {
        status: StatusCode,
        location: HeaderValue,
    },
    /// Answer with what is at that path, as if it were asked for, or with this status.
    Rewrite {
        status: StatusCode,
        to: Target,
    },
    /// Answer with what another server says.
    Proxy {
        url: Target,
        headers: &'a [(HeaderName, HeaderValue)],
    },
}

#[derive(Debug)]
struct Rule {
    pattern: Pattern,
    /// Scheme is https, and the host.
    host: Option<(bool, String)>,
    /// Parameter, and the value it must have; None: any, captured under the name.
    query: Vec<(String, Wanted)>,
    conditions: Vec<Condition>,
    to: Destination,
    status: StatusCode,
    force: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

#[derive(Debug)]
enum Wanted {
    Exactly(String),
    Any { name: String },
}

/// All rules of a service.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    rules: Vec<Rule>,
    /// By the whole path, by the first part, and the rest; each list in order.
    by_path: HashMap<String, Vec<usize>>,
    by_first: HashMap<String, Vec<usize>>,
    others: Vec<usize>,
}

impl Redirects {
    pub(super) fn compile(redirects: &[Redirect]) -> Self {
        let mut compiled = Self::default();
        for redirect in redirects {
            let Some(rule) = Rule::compile(redirect) else {
                tracing::warn!(from = redirect.from, status = redirect.status, "a redirect that can match nothing");
                continue;
            };
            let index = compiled.rules.len();
            if let Some(path) = rule.pattern.literal() {
                compiled.by_path.entry(path).or_default().push(index);
            } else if let Some(first) = rule.pattern.first() {
                compiled.by_first.entry(first.to_owned()).or_default().push(index);
            } else {
                compiled.others.push(index);
            }
            compiled.rules.push(rule);
        }
        compiled
    }

    pub(super) fn decide(&self, question: &Question<'_>) -> Option<Decision<'_>> {
        if self.rules.is_empty() {
            return None;
        }
        let path = AskedPath::of(question.path)?;
        let parameters = question.query.map(parameters).unwrap_or_default();
        let mut lists = [
            list(self.by_path.get(&path.joined())),
            list(path.segments.first().and_then(|segment| self.by_first.get(&*segment.text))),
            list(Some(&self.others)),
        ];
        loop {
            let (index, next) =
                lists.iter_mut().filter_map(|list| Some((*list.peek()?, list))).min_by_key(|(index, _)| *index)?;
            next.next();
            if let Some(decision) = self.rules[index].decide(question, &path, &parameters) {
                return Some(decision);
            }
        }
    }
}

impl Rule {
    fn compile(redirect: &Redirect) -> Option<Self> {
        let (host, path) = split_host(&redirect.from)?;
        let pattern = Pattern::parse(path)?;
        let query: Vec<(String, Wanted)> =
            redirect.query.iter().map(|(name, value)| (name.clone(), Wanted::of(value))).collect();
        let mut names = pattern.names();
        names.extend(query.iter().filter_map(|(_, wanted)| match wanted {
            Wanted::Any { name } => Some(name.as_str()),
            Wanted::Exactly(_) => None,
        }));
        let to = Destination::parse(&redirect.to, &names);
        let status = StatusCode::from_u16(redirect.status).ok()?;
        let is_known = match redirect.status {
            200 | 301 | 302 | 303 | 307 | 308 => true,
            // A page of another server with an error's status is nothing that makes sense.
            400..=599 => !to.is_absolute,
            _ => false,
        };
        let headers =
            redirect.headers.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        is_known.then(|| Self {
            host,
            query,
            conditions: Condition::parse_all(&redirect.conditions),
            to,
            status,
            force: redirect.force,
            headers: headers.collect(),
            pattern,
        })
    }

    fn decide(
        &self,
        question: &Question<'_>,
        path: &AskedPath<'_>,
        parameters: &[(Cow<'_, str>, Cow<'_, str>)],
    ) -> Option<Decision<'_>> {
        let here = self.host.as_ref().is_none_or(|(is_https, host)| {
            // Whoever asks for https may have been asked here in plain text: not every edge is told.
            host == question.host && (*is_https || !question.is_https)
        });
        if !here {
            return None;
        }
        let Captured { names, splat } = self.pattern.matches(path)?;
        let mut values: Vec<(String, Value<'_>)> =
            names.into_iter().map(|(name, value)| (name, Value::Path(value))).collect();
        values.extend(splat.map(|splat| ("splat".to_owned(), Value::Path(splat))));
        for (parameter, wanted) in &self.query {
            // Of several the last one, as at Netlify.
            let (_, value) = parameters.iter().rev().find(|(name, _)| name == parameter)?;
            match wanted {
                Wanted::Exactly(expected) if value != expected => return None,
                Wanted::Exactly(_) => {}
                Wanted::Any { name } => values.push((name.clone(), Value::Query(value.clone().into_owned()))),
            }
        }
        if !self.conditions.iter().all(|condition| condition.holds(question.headers)) {
            return None;
        }
        let to = self.to.expand(&values, question.query);
        Some(Decision { force: self.force, action: self.action(question, to)? })
    }

    /// None: a redirect to where the request already is.
    fn action(&self, question: &Question<'_>, to: Target) -> Option<Action<'_>> {
        if !self.status.is_redirection() {
            let absolute = self.to.is_absolute;
            return Some(match absolute {
                true => Action::Proxy { url: to, headers: &self.headers },
                false => Action::Rewrite { status: self.status, to },
            });
        }
        let scheme = if question.is_https { "https" } else { "http" };
        let here = format!("{scheme}://{}", question.host);
        let path =
            to.base.strip_prefix(&here).filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(&to.base);
        let same_query = to.query.as_deref().unwrap_or_default() == question.query.unwrap_or_default();
        if same_query && path.trim_end_matches('/') == question.path.trim_end_matches('/') {
            return None;
        }
        let location = HeaderValue::try_from(to.location()).ok()?;
        Some(Action::Redirect { status: self.status, location })
    }
}

impl Wanted {
    fn of(value: &str) -> Self {
        match value.strip_prefix(':').filter(|name| !name.is_empty()) {
            Some(name) => Self::Any { name: name.to_owned() },
            None => Self::Exactly(value.to_owned()),
        }
    }
}

/// Scheme and host of a full URL, and the path.
fn split_host(from: &str) -> Option<(Option<(bool, String)>, &str)> {
    let Some((scheme, rest)) = from.split_once("://") else { return Some((None, from)) };
    let is_https = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    Some((Some((is_https, crate::host::name(host).to_ascii_lowercase())), path))
}

/// The decoded pairs of a query; what has no `=` is no pair.
fn parameters(query: &str) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
    fn decoded(text: &str) -> Cow<'_, str> {
        if !text.contains(['+', '%']) {
            return Cow::Borrowed(text);
        }
        let spaced = text.replace('+', " ");
        Cow::Owned(percent::decode_or_keep(&spaced).into_owned())
    }
    query.split('&').filter_map(|pair| pair.split_once('=')).map(|(n, v)| (decoded(n), decoded(v))).collect()
}

fn list(found: Option<&Vec<usize>>) -> Peekable<Copied<Iter<'_, usize>>> {
    found.map_or(&[][..], Vec::as_slice).iter().copied().peekable()
}

#[cfg(test)]
mod tests;
