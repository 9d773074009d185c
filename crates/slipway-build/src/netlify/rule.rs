//! The rules of a site: those of the published directory, then those of the configuration file.

use super::warning::RuleWarning;
use super::{headers, redirects};
use slipway_types::site::{SiteFacts, SiteRules};
use std::collections::BTreeSet;

/// Rules of each kind. Each request is held against them one by one.
const RULES_MAX: usize = 20_000;
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
    rules
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
