//! The rules of a site: those of the published directory, then those of the configuration file.

use super::warning::RuleWarning;
use super::{headers, redirects};
use slipway_types::site::{HeaderRule, SiteFacts, SiteRules};
use std::collections::BTreeSet;

/// Rules of each kind. Those for a certain path or below a certain first part are looked up.
const RULES_MAX: usize = 20_000;
/// Rules of headers that each request is held against, because their path says little about where they apply.
const WIDE_HEADERS_MAX: usize = 200;
/// Longest path of such a rule.
const WIDE_PATH_BYTES_MAX: usize = 200;
/// Not a header but a lock.
const BASIC_AUTH: &str = "basic-auth";
/// Of lines of warnings; the rest is a number.
const WARNINGS_MAX: usize = 50;

/// `_redirects` and `_headers` of what was published in front of `configured`, and what is to be said about them. A
/// rule that stands in both is kept where it comes last, as Netlify does it.
pub fn published_rules(facts: &SiteFacts, configured: &SiteRules) -> (SiteRules, Vec<String>) {
    let (own_redirects, of_redirects) = facts.redirects_text.as_deref().map(redirects).unwrap_or_default();
    let (own_headers, of_headers) = facts.headers_text.as_deref().map(headers).unwrap_or_default();
    let mut warnings = lines(of_redirects.into_iter().chain(of_headers));
    let rules = SiteRules {
        redirects: in_front(own_redirects, &configured.redirects),
        headers: in_front(own_headers, &configured.headers),
    };
    (bounded(rules, &mut warnings), warnings)
}

fn in_front<T: Clone + std::fmt::Debug>(own: Vec<T>, configured: &[T]) -> Vec<T> {
    // Written out, so that a set can hold them: two long lists are compared in no time.
    let known: BTreeSet<String> = configured.iter().map(|rule| format!("{rule:?}")).collect();
    let own = own.into_iter().filter(|rule| !known.contains(&format!("{rule:?}")));
    own.chain(configured.iter().cloned()).collect()
}

/// No more rules than each request can be held against.
pub(crate) fn bounded(mut rules: SiteRules, warnings: &mut Vec<String>) -> SiteRules {
    for (count, what) in [(rules.redirects.len(), "redirects"), (rules.headers.len(), "rules of headers")] {
        if count > RULES_MAX {
            warnings.push(format!("{count} {what} are too many: all after the first {RULES_MAX} are left out"));
        }
    }
    rules.redirects.truncate(RULES_MAX);
    rules.headers.truncate(RULES_MAX);
    bound_wide(&mut rules.headers, warnings);
    rules
}

/// Locks are kept before all others: without its rule a path would be open.
fn bound_wide(rules: &mut Vec<HeaderRule>, warnings: &mut Vec<String>) {
    let before = rules.len();
    rules.retain(|rule| rule.path.len() <= WIDE_PATH_BYTES_MAX || is_lock(rule) || !is_wide(&rule.path));
    let long = before - rules.len();
    if long > 0 {
        let what = "rules of headers with `*` or `:name` are left out: their paths are longer than";
        warnings.push(format!("{long} {what} {WIDE_PATH_BYTES_MAX} bytes"));
    }
    let (locks, others): (Vec<usize>, Vec<usize>) =
        (0..rules.len()).filter(|index| is_wide(&rules[*index].path)).partition(|index| is_lock(&rules[*index]));
    let left_out: BTreeSet<usize> = locks.iter().chain(&others).skip(WIDE_HEADERS_MAX).copied().collect();
    if left_out.is_empty() {
        return;
    }
    warnings.push(format!(
        "{} rules of headers have `*` before their end or no fixed first part, which is too many: {} are left out",
        locks.len() + others.len(),
        left_out.len()
    ));
    let open = locks.len().saturating_sub(WIDE_HEADERS_MAX);
    if open > 0 {
        warnings.push(format!("{open} of them have `Basic-Auth`: their paths are open to everyone"));
    }
    let mut index = 0..;
    rules.retain(|_| index.next().is_none_or(|index| !left_out.contains(&index)));
}

/// A star before the end, or a first part that could be any.
fn is_wide(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let before_end = path.strip_suffix('*').unwrap_or(path);
    before_end.contains('*') || first.contains('*') || first.starts_with(':')
}

fn is_lock(rule: &HeaderRule) -> bool {
    rule.values.keys().any(|name| name.eq_ignore_ascii_case(BASIC_AUTH))
}

/// Warnings as lines of a log, not more than fit in one.
pub(crate) fn lines(warnings: impl Iterator<Item = RuleWarning>) -> Vec<String> {
    let mut lines: Vec<String> = warnings.map(|warning| warning.to_string()).collect();
    if lines.len() > WARNINGS_MAX {
        let more = lines.len() - WARNINGS_MAX;
        lines.truncate(WARNINGS_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}
